"""Which steps are looked at: all at first, then ever fewer, then only what the budget of time allows."""

from __future__ import annotations

import math

from trainwell.watch.ledger import BLOCK

DENSITY = 8
"""A look every `step / 8` steps: 39 in the first 400 steps, 18 more in the next 4,000."""

FREE_S = 0.045
"""CPU-seconds of looks that every run may cost, so that short ones are looked at as well: the first 40 looks of a
network whose look takes a millisecond, so that what is found in a small run does not vary with the machine's load."""

SHARE = 0.01
"""Share of the running time that looks may cost once it is more than that (issue 3 allows 3 % in all)."""


class Schedule:
    """Choose the steps at which everything is measured."""

    def __init__(self, share: float = SHARE, free_s: float = FREE_S) -> None:
        self.share, self.free_s = share, free_s
        self.next, self.looks, self.cost_s = 0, 0, 0.0

    def event(self, step: int, per_epoch: int) -> int:
        """Return the next step count at which there is more to do than to count: a look, the end of an epoch of so many
        steps (0: it does not matter), or so many losses that they are to be fetched."""
        events = [self.next, step + BLOCK]
        if per_epoch > 0:
            events.append((step // per_epoch + 1) * per_epoch)
        return min(events)

    def has_room(self, cost_s: float, elapsed_s: float) -> bool:
        """Whether so much more may be spent now."""
        return self.cost_s + cost_s <= max(self.free_s, self.share * elapsed_s)

    def done(self, step: int, cost_s: float, elapsed_s: float) -> None:
        """Note the cost of the look at `step` and choose the next.

        Args: cost_s, elapsed_s: of the look, and since the start; in CPU time, which other processes do not change.
        """
        self.looks += 1
        self.cost_s += cost_s
        gap = max(1, step // DENSITY)
        owed_s = self.cost_s / self.share - elapsed_s
        if self.cost_s > self.free_s and owed_s > 0 and elapsed_s > 0:
            # wait until the share is kept again, at the pace so far; but look again before the run is three times as long
            gap = max(gap, min(math.ceil(owed_s * step / elapsed_s), max(2 * step, 1)))
        self.next = step + gap
