"""How much of the gradient of its loss a loop gives to its optimizer.

A loop may divide its loss for accumulation, sum it over a batch, scale it and take the scale off again, and clip what
comes. What is left of all that is one number, by which a continuation on a copy steps as the loop does.
"""

from __future__ import annotations

import statistics
from collections import deque

import torch
from torch import Tensor, nn

KEPT = 9
"""The last looks, of which the median is taken: a clipped gradient has another share at every step."""

LARGEST = 8
"""Parameters that are compared: the largest."""

SAME = 0.02
"""A number so near to one is one: the copy rounds otherwise."""


class Strength:
    """Compares the gradients of the loss, which the copy has, with those that the optimizer was given."""

    def __init__(self) -> None:
        self._seen: deque[Tensor] = deque(maxlen=KEPT)

    @torch.no_grad()
    def note(self, copies: list[nn.Parameter], originals: list[nn.Parameter]) -> None:
        """Take the gradients of a step."""
        both = [
            (c.grad, o.grad) for c, o in zip(copies, originals, strict=True)
            if c.grad is not None and o.grad is not None and c.grad.layout == o.grad.layout == torch.strided
        ]  # fmt: skip
        both = sorted(both, key=lambda pair: -pair[0].numel())[:LARGEST]
        if both and len({g.device for pair in both for g in pair}) == 1:
            own, given = ([pair[i].float() for pair in both] for i in (0, 1))
            along = torch.stack([p.sum() for p in torch._foreach_mul(own, given)]).sum()
            self._seen.append(torch.stack([along, torch.stack(torch._foreach_norm(own)).norm() ** 2]))

    @property
    def value(self) -> float:
        """By how much the gradient that the optimizer is given is more than that of the loss; one if unknown."""
        pairs = [seen.tolist() for seen in self._seen]
        shares = [along / size for along, size in pairs if size > 0 and abs(along) < float("inf")]
        found = statistics.median(shares) if shares else 1.0
        return found if found and abs(found - 1) > SAME else 1.0
