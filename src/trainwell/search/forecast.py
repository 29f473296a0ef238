"""What a training that was paused is expected to reach at its end, learned from those that ran in full."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

PRIOR_ROWS = 2.0
"""Made-up trainings by which the slope is drawn to 1 and the spread to that of the ends: few curves show little."""


def best_until(curve: Sequence[float], epoch: int) -> float:
    """Return the least finite value of the first epochs; infinite where there is none."""
    return min((v for v in curve[:epoch] if math.isfinite(v)), default=math.inf)


class Forecast:
    """Regresses the result at the end on the best value until an epoch.

    Args:
        curves: the values of trainings in full, one per epoch.
    """

    def __init__(self, curves: Sequence[Sequence[float]]) -> None:
        self._curves = curves
        ends = np.array([best_until(c, len(c)) for c in curves])
        self._good = np.isfinite(ends)
        self._ends = ends[self._good]
        self._known: dict[int, tuple[float, float, float, float]] = {}

    def at(self, curve: Sequence[float]) -> tuple[float, float]:
        """Return what a training with this curve is expected to reach, and the standard deviation of that."""
        now = best_until(curve, len(curve))
        if len(self._ends) < 3 or not np.isfinite(now):
            return now, 0.0
        x_mean, y_mean, slope, spread = self._line(len(curve))
        return float(min(now, y_mean + slope * (now - x_mean))), spread

    def _line(self, epoch: int) -> tuple[float, float, float, float]:
        """Return the means of both results, the slope and the spread around the line; robust against wild curves."""
        if epoch not in self._known:
            x = np.array([best_until(c, epoch) for c in self._curves])[self._good]
            y = self._ends
            near = x <= np.median(x) + 2 * (
                np.median(x) - x.min()
            )  # the bad ones tell nothing of the good ones
            x, y = x[near], y[near]
            dx, dy = x - x.mean(), y - y.mean()
            held = PRIOR_ROWS * float(dx @ dx) / len(x)
            slope = float(dx @ dy + held) / max(float(dx @ dx) + held, 1e-300)
            rest = float(np.square(dy - slope * dx).sum() + PRIOR_ROWS * dy.var())
            self._known[epoch] = (
                float(x.mean()),
                float(y.mean()),
                slope,
                (rest / (len(x) + PRIOR_ROWS)) ** 0.5,
            )
        return self._known[epoch]
