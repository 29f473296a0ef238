"""A user's own `torch.optim` optimizer in the place of ours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainwell.techniques.given import Given


class ForeignOptimizer:
    """Steps a `torch.optim.Optimizer` over parameters that are views of the flat buffer.

    The schedule multiplies the learning rate of each of its parameter groups.
    """

    name = Given.name

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self._rates = [group["lr"] for group in optimizer.param_groups]

    def move(self, factor: float) -> None:
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        self.optimizer.step()
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate  # the user's own again, so that a second training begins from it

    def tensors(self) -> dict[str, Tensor]:
        """Return the state as named tensors, `<parameter number>.<key>`."""
        state: dict[int, dict[str, Any]] = self.optimizer.state_dict()["state"]
        return {
            f"{i}.{k}": v for i, entry in state.items() for k, v in entry.items() if isinstance(v, Tensor)
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `tensors` returned."""
        whole = self.optimizer.state_dict()
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            number, _, key = name.partition(".")
            state.setdefault(int(number), {})[key] = tensor
        self.optimizer.load_state_dict({**whole, "state": state})
