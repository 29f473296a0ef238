"""How much of the gradient of its loss a loop gives to its optimizer.

A loop may divide its loss for accumulation, sum it over a batch, scale it and take the scale off again, and clip what
comes. What is left of all that is a factor and a limit, by which a continuation on a copy steps as the loop does.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainwell.signals.scene import ENOUGH, thinned

KEPT = 24
"""The last looks, from which both are taken."""

PARALLEL = 0.98
"""Cosine of two gradients of which one is the other times a factor; that of several processes together is none."""

SAME = 0.02
"""A factor so near to one is one: the copy rounds otherwise."""

ALIKE, OFTEN, VARY = 0.01, 3, 0.05
"""Norms that differ by less than the first share are one; so many of that size, the largest that there are, are those of
a clipped gradient, where what was clipped varies by more than the third. Of fewer, factors must be smaller by it."""


@dataclasses.dataclass(frozen=True)
class Strength:
    """What the optimizer is given of the gradient of the loss.

    Args:
        factor: by how much it is more.
        limit: of its norm.
    """

    factor: float = 1.0
    limit: float = math.inf

    def clip(self, grads: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Return gradients of no larger norm than the limit; they themselves where none is known."""
        there = [g for g in grads if g is not None]
        if math.isinf(self.limit) or not there:
            return list(grads)
        norm = torch.stack(torch._foreach_norm(there)).norm()
        share = (self.limit / norm.clamp(min=1e-30)).clamp(max=1.0)
        return [None if g is None else g * share for g in grads]


class Strengths:
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
        if not both or len({g.device for pair in both for g in pair}) > 1:
            return
        some, count = [], 0
        for own, given in both:  # a factor shows in a part of them
            some.append((thinned(own).float(), thinned(given).float()))
            count += some[-1][0].numel()
            if count >= ENOUGH:
                break
        along, size, other = (
            torch.stack([(a * b).sum() for a, b in pairs]).sum()
            for pairs in (some, [(a, a) for a, _ in some], [(b, b) for _, b in some])
        )
        norm = torch.stack(torch._foreach_norm([own for own, _ in both])).norm().float()
        self._seen.append(torch.stack([along / size, along.abs() / (size * other).sqrt(), norm]))

    @property
    def found(self) -> Strength:
        """What the last looks show: a factor, and the norm that many gradients have and none exceeds."""
        seen = [look.tolist() for look in self._seen]
        known = [(f, own) for f, along, own in seen if f and along > PARALLEL and math.isfinite(own)]
        looks = [(f, own, abs(f) * own) for f, own in known]
        if not looks:
            return Strength()
        limit = max(given for *_, given in looks)
        clipped = [(factor, own) for factor, own, given in looks if given >= (1 - ALIKE) * limit]
        owns = [own for _, own in clipped]
        is_clipped = len(clipped) >= OFTEN and max(owns) > (1 + VARY) * min(owns)
        # a single one tells, too, if all that were smaller than what is left of it were given as they are
        others = [factor for factor, _, given in looks if given < (1 - ALIKE) * limit]
        is_clipped = is_clipped or (
            len(others) >= OFTEN
            and max(others) <= (1 + SAME) * min(others)
            and max(factor for factor, _ in clipped) < (1 - VARY) * min(others)
        )
        free = [factor for factor, _, given in looks if not is_clipped or given < (1 - ALIKE) * limit]
        factor = statistics.median(free) if free else max(1.0, *(f for f, _ in clipped))
        factor = factor if factor and abs(factor - 1) > SAME else 1.0
        return Strength(factor, limit if is_clipped else math.inf)
