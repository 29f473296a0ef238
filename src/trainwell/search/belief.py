"""What the trials of a study are expected to give if they were trained again with another seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trainwell.search.codec import Codec, Floats
from trainwell.search.gaussian import Hypers, Process, fit, matern, standardised
from trainwell.search.searcher import Told
from trainwell.search.space import Space

LEAST_TRIALS = 8
"""Results below which a model of them has nothing to add to what was seen."""

MOST_CALLS, FEW_ENOUGH = 60, 400
"""Steps of the fit of the hyperparameters, and the results that they are fitted to: of more, the best ones."""


ALIKE = 0.9
"""Correlation from which two configurations are one: to judge both shows no more than to judge one."""


def expected(space: Space, told: Sequence[Told]) -> Floats:
    """Return for each trial the loss that a Gaussian process expects of it, which knows how noisy the results are.

    Helps where the best of many noisy results is the luckiest; without noise it is what was seen.

    Args:
        told: trials with a finite value; of `FEW_ENOUGH` and more the worst keep what was seen.
    """
    return _believed(space, told)[0]


def promising(space: Space, told: Sequence[Told], count: int) -> list[int]:
    """Return the trials that are worth judging, by index: the one that looked best, then those of which most is expected.

    Of such as are alike only the first is among them, as long as there are others.
    """
    losses, top, alike = _believed(space, told)
    values = np.array([t.value for t in told], dtype=np.float64)
    order = [i for i in np.argsort(losses, kind="stable") if i != values.argmin()] if len(told) else []
    place = {int(i): k for k, i in enumerate(top)}
    chosen, left = [int(values.argmin())] if len(told) else [], list[int]()
    for i in map(int, order):
        near = i in place and any(j in place and alike[place[i], place[j]] > ALIKE for j in chosen)
        (left if near else chosen).append(i)
        if len(chosen) == count:
            break
    return (chosen + left)[:count]


def _believed(space: Space, told: Sequence[Told]) -> tuple[Floats, npt.NDArray[np.int64], Floats]:
    """Return the expected losses; the best trials, by index; and how those are correlated."""
    values = np.array([math.nan if t.value is None else t.value for t in told], dtype=np.float64)
    if len(values) < LEAST_TRIALS or not len(space) or np.ptp(values) == 0:
        return values, np.zeros(0, dtype=np.int64), np.zeros((0, 0))
    top = np.argsort(values, kind="stable")[:FEW_ENOUGH]
    codec = Codec(space)
    features = codec.features(codec.codes([told[i].config for i in top]))
    y, centre, scale = standardised(values[top])
    if scale == 0:
        return values, np.zeros(0, dtype=np.int64), np.zeros((0, 0))
    extra = np.array([told[i].spread for i in top]) ** 2 / scale**2
    hypers = fit(features, y, codec.owners, Hypers.start(len(space)), MOST_CALLS, extra)
    mean = Process(features, y, codec.owners, hypers, extra).seen_mean
    found = values.copy()
    drawn_in = y * scale + centre < values[top] - 1e-12 * np.abs(values[top])
    found[top] = np.where(drawn_in, values[top], mean * scale + centre)
    scaled = features / np.exp(hypers.lengths)[codec.owners]
    return found, top, matern(scaled, scaled)[0]
