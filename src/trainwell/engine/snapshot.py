"""Copies of live tensors that can be put back: the best weights, and the state before a block of steps."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from trainwell.engine.step import Step


class Snapshot:
    """A copy of some live tensors; `take` refreshes it in place, `restore` writes it back."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._pairs = [(t, t.detach().clone()) for t in tensors]

    @torch.no_grad()
    def take(self) -> None:
        for live, copy in self._pairs:
            copy.copy_(live)

    @torch.no_grad()
    def restore(self) -> None:
        for live, copy in self._pairs:
            live.copy_(copy)

    @property
    def num_bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t, _ in self._pairs)


def model_tensors(step: Step, model: nn.Module) -> list[Tensor]:
    """Return what decides the outputs of a model in training: the flat weights and the buffers."""
    return [step.params.flat, *(b for b in model.buffers() if b is not None)]


def training_tensors(step: Step, model: nn.Module) -> list[Tensor]:
    """Return what a step changes: weights, buffers and the states of the techniques."""
    states = [t for state in step.states.values() for k, t in state.items() if not k.startswith("_")]
    return [*model_tensors(step, model), *states]
