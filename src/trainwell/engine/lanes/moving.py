"""Carries lanes from one stack to the next, as lanes end and others come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from trainwell.engine.lanes.stack import Stack


class Move:
    """Which lanes of a new stack stood where in the old one."""

    def __init__(self, stack: Stack, old: Stack | None) -> None:
        self.stack, self.old = stack, old
        places = {id(lane): j for j, lane in enumerate(old.lanes)} if old is not None else {}
        kept = [(k, places[id(lane)]) for k, lane in enumerate(stack.lanes) if id(lane) in places]
        self.new = [k for k, lane in enumerate(stack.lanes) if id(lane) not in places]
        self.to, self.source = (torch.tensor([p[i] for p in kept], dtype=torch.int64) for i in (0, 1))

    def copy(self, target: Tensor, source: Tensor) -> None:
        target.index_copy_(
            0, self.to.to(target.device), source.index_select(0, self.source.to(source.device))
        )

    @torch.no_grad()
    def carry_over(self, old: Stack) -> None:
        """Put the states of the lanes that were there before into the new stack."""
        stack = self.stack
        for name, state in stack.step.states.items():
            before = old.step.states.get(name, {})
            for key in state.keys() & before.keys():
                self.copy(state[key], before[key])
        self.copy(stack.best, old.best)
        for name in stack.buffers:
            self.copy(stack.best_buffers[name], old.best_buffers[name])
        stack.at, stack._clock = old.at, old._clock
        assert not old._losses or not self.new
        stack._losses = [loss.index_select(0, self.source.to(loss.device)) for loss in old._losses]
