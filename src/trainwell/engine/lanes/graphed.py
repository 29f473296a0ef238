"""The step of a stack as one CUDA graph: its hundred small kernels are then one launch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from trainwell.engine.lanes.bits import DropoutBits
from trainwell.engine.step import Step

WARM_UPS = 3
"""Steps before a capture, in which the libraries choose their kernels. Source: torch.cuda.graphs, notes."""


class GraphedStep:
    """Calls a step by replaying it: one capture for each size of batch.

    The step must read nothing but its inputs and tensors that stay where they are, and draw no random numbers. One
    that cannot be captured is called as it is.

    Args:
        step: of a stack on a CUDA device, whose `count` is a tensor.
        live: all that a step changes; put back after the steps before a capture.
        bits: of the dropout layers, drawn for one step at a time, so that they lie at one place.
    """

    def __init__(self, step: Step, live: Sequence[Tensor], bits: DropoutBits | None) -> None:
        self._step, self._live, self._bits = step, [*live, step.count], bits
        self._captured: dict[tuple[int, ...], Any] = {}

    def __call__(self, x: tuple[Tensor, ...], y: Tensor, lr: Tensor) -> Tensor:
        """Take a step; return the mean losses, (K,)."""
        key = (*y.shape, 0 if self._bits is None else self._bits.address)
        if key not in self._captured:
            try:
                self._captured[key] = self._capture(x, y, lr)
            except RuntimeError:  # something in the step waits for the device
                self._captured[key] = None
        if self._captured[key] is None:
            return self._step(x, y, lr)
        graph, held_x, held_y, held_lr, loss = self._captured[key]
        for held, given in zip((*held_x, held_y, held_lr), (*x, y, lr), strict=True):
            held.copy_(given)
        graph.replay()
        return loss.clone()

    def _capture(self, x: tuple[Tensor, ...], y: Tensor, lr: Tensor) -> Any:
        x, y, lr = tuple(t.clone() for t in x), y.clone(), lr.clone()
        before = [t.clone() for t in self._live]
        try:
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(WARM_UPS):
                    self._take(x, y, lr)
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                loss = self._take(x, y, lr)
        finally:
            with torch.no_grad():
                for tensor, saved in zip(self._live, before, strict=True):
                    tensor.copy_(saved)
            self._rewind()
        return graph, x, y, lr, loss

    def _take(self, x: tuple[Tensor, ...], y: Tensor, lr: Tensor) -> Tensor:
        self._rewind()
        return self._step(x, y, lr)

    def _rewind(self) -> None:
        if self._bits is not None:
            self._bits.rewind()


def can_be_captured(step: Step) -> bool:
    """Tell whether a step can be a graph: on CUDA, without random numbers drawn in it."""
    return step.params.flat.is_cuda and not step.sites.at("batch") and step.plan.micro_batches == 1
