"""Long series for a picture: fewer points, with the extremes kept, and no number that JSON cannot hold."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from trainwell.values.signal import Array

POINTS = 1200
"""A picture of 1,000 pixels shows no more of a series."""


def thin(x: Array, y: Array, points: int = POINTS) -> tuple[Array, Array]:
    """Return at most about `points` of a series: of every stretch its smallest and its largest value, in order.

    Shapes: x, y: (T,).
    """
    if len(x) <= points:
        return x, y
    edges = np.linspace(0, len(x), points // 2 + 1).astype(int)
    filled = np.where(np.isfinite(y), y, np.nan)
    keep = {0, len(x) - 1}
    for low, high in itertools.pairwise(edges):
        part = filled[low:high]
        if np.isnan(part).all():
            keep.add(int(low))
        else:
            keep.update((int(low + np.nanargmin(part)), int(low + np.nanargmax(part))))
    at = np.array(sorted(keep))
    return x[at], y[at]


def means(x: Array, y: Array, points: int = 300) -> tuple[Array, Array]:
    """Return the mean of `points` stretches of a series, each at its middle; a short series as it is."""
    if len(x) <= points:
        return x, y
    edges = np.linspace(0, len(x), points + 1).astype(int)
    size = np.diff(edges)
    return np.add.reduceat(x.astype(float), edges[:-1]) / size, np.add.reduceat(y, edges[:-1]) / size


def plain(values: Iterable[Any], digits: int = 5) -> list[Any]:
    """Return numbers as JSON holds them, rounded to significant digits; what is not finite becomes None."""
    return [_rounded(v, digits) for v in values]


def _rounded(value: Any, digits: int) -> Any:
    if isinstance(value, str) or value is None:
        return value
    number = float(value)
    if not math.isfinite(number):
        return None
    if number == int(number) and abs(number) < 1e15:
        return int(number)
    return float(f"{number:.{digits}g}")
