"""Formulas that hold for a number (one network) and for a tensor (K, 1) of doses (a stack of K lanes)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def per_lane(dose: Any, ndim: int) -> Any:
    """Return the dose so that it broadcasts against tensors (*lanes, *shape) with `ndim` axes in `shape`."""
    return dose.view(-1, *(1,) * ndim) if hasattr(dose, "view") else dose


def at_least(dose: Any, bound: float) -> Any:
    """Return the larger of the two, lane by lane."""
    return dose.clamp(min=bound) if hasattr(dose, "clamp") else max(dose, bound)


def add_scaled(target: Tensor, source: Tensor, factor: Any) -> None:
    """Add `factor * source` to `target` in one pass over the memory."""
    if hasattr(factor, "view"):
        target.addcmul_(source, factor)
    else:
        target.add_(source, alpha=factor)


def uniform(generator: torch.Generator | Sequence[torch.Generator], count: int, like: Tensor) -> Tensor:
    """Draw `count` numbers in [0, 1) for every lane, (count, *lanes, 1), on the device of `like`.

    A stack gives one generator per lane, so that lane k draws what its lone run would draw.
    """
    import torch

    if isinstance(generator, torch.Generator):
        return torch.rand(count, 1, generator=generator, device=like.device, dtype=like.dtype)
    return torch.stack([uniform(g, count, like) for g in generator], dim=1)
