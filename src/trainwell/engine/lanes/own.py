"""The tensors of one module of K networks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Own:
    """The tensors of one module.

    Args:
        name: of the module, with a dot behind it. weights, buffers, grads: of all modules, (K, *shape) by name.
        compute: dtype of its products; None for that of the weights.
    """

    def __init__(
        self, name: str, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor],
        grads: Mapping[str, Tensor], compute: torch.dtype | None,
    ) -> None:  # fmt: skip
        self._name, self._weights, self._buffers, self._grads = name, weights, buffers, grads
        self.compute = compute

    def weight(self, name: str) -> Tensor | None:
        return self._weights.get(self._name + name)

    def given(self, name: str) -> Tensor:
        """Return a weight that the module always has."""
        return self._weights[self._name + name]

    def buffer(self, name: str) -> Tensor:
        return self._buffers[self._name + name]

    def grad(self, name: str) -> Tensor | None:
        return self._grads.get(self._name + name)

    def both(self) -> tuple[Tensor | None, Tensor | None]:
        """Return where the gradients of `weight` and `bias` lie; None where there is none."""
        return self._grads.get(f"{self._name}weight"), self._grads.get(f"{self._name}bias")
