"""Moves copies of a training's weights as the training itself would, from where its optimizer stands."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainwell.engine.step import Step


class Twin:
    """The update of a step, with copies of its states, on copies of its parameters.

    Args:
        step: whose update it is; nothing of it is touched.
        model: its network.
        own: copies of all parameters of the network, in their order; they carry gradients as those of an optimizer of
            torch do.

    Attributes:
        param_groups: one group, whose `lr` is that of the next step.
    """

    def __init__(self, step: Step, model: nn.Module, own: Sequence[Tensor]) -> None:
        sites = step.sites
        self.params, self.grads = step.params.like(), step.grads.like()
        named = dict(zip((name for name, _ in model.named_parameters()), own, strict=True))
        self.copies = [named[slot.name] for slot in step.params.slots]
        self.states, self.count = copy.deepcopy(step.states), step.count
        self.param_groups: list[dict[str, Any]] = [{"lr": 0.0}]
        self._edits = [(m.grads, self.states.get(m.name)) for m in sites.at("grads")]
        self._updates = [m.update for m in (*sites.members, sites.optimizer) if hasattr(m, "update")]
        self._direction, self._state = sites.optimizer.direction, self.states.get(sites.optimizer.name)
        self._spans = self.params.lr_spans()

    @torch.no_grad()
    def step(self) -> None:
        """Move the copies by one step along the gradients that they carry."""
        lr, params, grads = self.param_groups[0]["lr"], self.params, self.grads
        self.count = self.count + 1
        grads.flat.zero_()
        for own, param, grad in zip(self.copies, params.views, grads.views, strict=True):
            param.copy_(own)
            if own.grad is not None:
                grad.copy_(own.grad)
        for edit, state in self._edits:
            edit(grads, params, state)
        for update in self._updates:
            update(params, lr)
        direction = self._direction(grads, self._state, self.count)
        for span, factor in self._spans:
            params.flat[span].sub_(direction[span], alpha=lr * factor)
        for own, param in zip(self.copies, params.views, strict=True):
            own.copy_(param)
