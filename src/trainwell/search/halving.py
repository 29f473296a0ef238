"""Successive halving without waiting: a training that is behind at a rung is ended, and its place given away."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from trainwell.search.forecast import Forecast, best_until

KEPT = 3
"""One of so many goes on at a rung. Source: Li et al. 2020, arXiv:1810.05934 (ASHA), section 4 (3 or 4)."""

LEAST_CORRELATION = 0.75
"""Rank correlation with the end from which an early result counts. Source: docs/log-search.md."""

PILOTS = 16
"""Trainings that run in full before rungs are laid."""


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Return Spearman's rank correlation; not finite values are the worst."""
    from scipy.stats import rankdata

    x, y = (
        rankdata(np.where(np.isfinite(v), v, np.inf)) for v in (np.asarray(a, float), np.asarray(b, float))
    )
    if x.std() == 0 or y.std() == 0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])


def first_rung(curves: Sequence[Sequence[float]]) -> tuple[int, str]:
    """Return the first epoch at which results tell the order at the end, 0 for never, and what was measured.

    Args:
        curves: the values of trainings in full, one per epoch.
    """
    length = min((len(c) for c in curves), default=0)
    if length < 3:
        return 0, f"{length} {'epoch is' if length == 1 else 'epochs are'} too few for rungs"
    if len(curves) < PILOTS // 2:
        return 0, f"{len(curves)} full trainings are too few to see whether early results predict"
    ends = [best_until(c, len(c)) for c in curves]
    for epoch in range(1, length // 2 + 1):
        correlation = rank_correlation([best_until(c, epoch) for c in curves], ends)
        if correlation >= LEAST_CORRELATION:
            return epoch, f"rank correlation {correlation:.2f} between epoch {epoch} and the end"
    return 0, f"even at half of the training the rank correlation with the end is below {LEAST_CORRELATION}"


class Halving:
    """Decides at rungs which trainings go on. A rung is a prefix of the full schedule.

    A training that is behind is paused, not lost: it goes on once those that came after it have shown that it is
    among the best third after all.

    Args:
        epochs: of a full training.

    Attributes:
        rungs: epochs at which is decided; empty before the pilots have ended, and where early results do not predict.
        why: what the first rung was chosen by.

    Source: Li et al. 2020, arXiv:1810.05934 (ASHA), algorithm 2.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs, self.rungs, self.why = epochs, list[int](), ""
        self._at: dict[int, list[float]] = {}
        self._paused: dict[int, dict[int, float]] = {}
        self._curves: list[list[float]] = []
        self._forecast = Forecast([])
        self._laid = False

    def end(self, curve: Sequence[float]) -> None:
        """Learn from a training that ran in full; after the pilots the rungs are laid."""
        if self._laid:
            return
        self._curves.append(list(curve))
        if len(self._curves) < PILOTS:
            return
        self._laid, self._forecast = True, Forecast(self._curves)
        first, self.why = first_rung(self._curves)
        rung = first
        while 0 < rung <= self.epochs / 2:
            self.rungs.append(rung)
            self._at[rung] = [best_until(c, rung) for c in self._curves]
            self._paused[rung] = {}
            rung *= KEPT

    def learn(self, curve: Sequence[float], *, in_full: bool) -> None:
        """Learn from a training of an earlier go or of another process, of which `goes_on` was not asked here."""
        if in_full and not self._laid:
            self.end(curve)
            return
        for rung in self.rungs:
            if len(curve) >= rung:
                self._at[rung].append(best_until(curve, rung))

    def forecast(self, curve: Sequence[float]) -> tuple[float, float]:
        """Return what a training is expected to reach at its end, and the standard deviation of that."""
        return self._forecast.at(curve)

    def goes_on(self, epoch: int, curve: Sequence[float], number: int | None = None) -> bool:
        """Whether a training that has ended this epoch is among the best third of those that came so far.

        Args:
            number: of a trial that is paused if it is not; None for one that ends.
        """
        if epoch not in self._at:
            return True
        value = best_until(curve, epoch)
        self._at[epoch].append(value)
        if value <= self._limit(epoch):
            return True
        if number is not None and math.isfinite(value):
            self._paused[epoch][number] = value
        return False

    def promoted(self) -> int | None:
        """Return the paused trial that is to go on, those of the last rung first; None if all stay behind."""
        for rung in reversed(self.rungs):
            paused = self._paused[rung]
            number = min(paused, key=lambda n: paused[n], default=None)
            if number is not None and paused[number] <= self._limit(rung):
                del paused[number]
                return number
        return None

    def forget(self, number: int) -> None:
        """Leave a paused trial where it is: its state is not kept."""
        for paused in self._paused.values():
            paused.pop(number, None)

    def worst_paused(self) -> int | None:
        """Return the paused trial of which least is to be hoped: of the first rung that has one, the worst."""
        paused = next((self._paused[r] for r in self.rungs if self._paused[r]), {})
        return max(paused, key=lambda n: paused[n], default=None)

    def _limit(self, rung: int) -> float:
        others = sorted(self._at[rung])
        return others[max(0, math.ceil(len(others) / KEPT) - 1)]
