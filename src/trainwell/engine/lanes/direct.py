"""The step of a stack of chains, whose links write the gradients: autograd sees the loss alone, and not always that."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainwell.engine.lanes.bits import DropoutBits
from trainwell.engine.lanes.chain import Chain
from trainwell.engine.lanes.objective import WithGradient, of_members
from trainwell.engine.parts import Batch
from trainwell.engine.step import Step


class DirectStep(Step):
    """The one step, with the gradients of a chain.

    Args:
        chain: bound to the weights and gradients of the step.
        with_gradient: the loss with its derivative, where the task has one.
        bits: of the dropout layers, drawn by whoever calls the step.
        arguments: of `Step`.
    """

    def __init__(
        self, chain: Chain, with_gradient: WithGradient | None, bits: DropoutBits | None, *arguments: Any
    ) -> None:
        super().__init__(*arguments)
        self._chain, self._bits = chain, bits
        bare = not self._batch and not self.sites.at("loss")
        members = arguments[-1]
        if with_gradient is not None and members > 1:
            with_gradient = of_members(with_gradient)
        self._with_gradient = with_gradient if bare else None

    def gradients(self, x: tuple[Tensor, ...], y: Tensor) -> Tensor:
        """Write the gradients of all lanes; return the mean losses, (K,)."""
        with torch.no_grad():
            if self.plan.micro_batches == 1:
                return self._pass(x, y, 1.0, adds=False)
            rows = y.shape[1]
            size = -(-rows // self.plan.micro_batches)
            total: Any = 0.0
            parts = zip(*(t.split(size, 1) for t in (*x, y)), strict=True)
            for i, (*part_x, part_y) in enumerate(parts):
                share = part_y.shape[1] / rows
                total = total + share * self._pass(tuple(part_x), part_y, share, adds=i > 0)
            return total

    def _pass(self, x: tuple[Tensor, ...], y: Tensor, share: float, *, adds: bool) -> Tensor:
        """Go forward and back with a (micro-)batch that is so large a share of the batch."""
        batch = self.edited(x, y) if self._batch else None
        outputs = self._chain.forward(x if batch is None else batch.x, self._bits, training=True, adds=adds)
        if self._with_gradient is not None:
            loss, gradient = self._with_gradient(outputs, y)
        else:
            loss, gradient = self._by_autograd(outputs, batch or Batch(x, y))
        self._chain.backward(gradient if share == 1.0 else gradient * share)
        return loss

    def _by_autograd(self, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf = outputs.mT.detach().requires_grad_()
            loss = self.loss_of(leaf, batch)
            (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        return loss.detach(), gradient.mT
