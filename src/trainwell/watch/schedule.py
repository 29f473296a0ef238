"""Which steps are looked at: all at first, then ever fewer, then only what the budget of time allows."""

from __future__ import annotations

DENSITY = 10
"""A look every `step / 10` steps: 46 in the first 400 steps, 24 more in the next 4,000."""

FREE_LOOKS = 45
"""Looks that are taken whatever they cost: with fewer the statistics of a short run are too thin."""

SHARE = 0.01
"""Share of the running time that later looks may cost (issue 3 allows 3 % in all)."""


class Schedule:
    """Choose the steps at which everything is measured."""

    def __init__(self, share: float = SHARE, free: int = FREE_LOOKS) -> None:
        self.share, self.free = share, free
        self.next, self.looks, self.cost_s = 0, 0, 0.0

    def done(self, step: int, cost_s: float, elapsed_s: float) -> None:
        """Note the cost of the look at `step` and choose the next."""
        self.looks += 1
        self.cost_s += cost_s
        gap = max(1, step // DENSITY)
        if self.looks >= self.free and elapsed_s > 0:
            own = max(1e-9, elapsed_s - self.cost_s)
            if self.cost_s > self.share * own:
                # wait until the share is kept again, at the pace so far
                gap = max(gap, int(step * (self.cost_s / (self.share * own) - 1)) + 1)
                gap = min(gap, max(step, 1))
        self.next = step + gap
