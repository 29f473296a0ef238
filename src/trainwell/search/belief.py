"""What the trials of a study are expected to give if they were trained again with another seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from trainwell.search.codec import Codec, Floats
from trainwell.search.gaussian import Hypers, Process, fit, standardised
from trainwell.search.searcher import Told
from trainwell.search.space import Space

LEAST_TRIALS = 8
"""Results below which a model of them has nothing to add to what was seen."""

MOST_CALLS, FEW_ENOUGH = 60, 400
"""Steps of the fit of the hyperparameters, and the results that they are fitted to: of more, the best ones."""


def expected(space: Space, told: Sequence[Told]) -> Floats:
    """Return for each trial the loss that a Gaussian process expects of it, which knows how noisy the results are.

    Helps where the best of many noisy results is the luckiest; without noise it is what was seen.

    Args:
        told: trials with a finite value; of `FEW_ENOUGH` and more the worst keep what was seen.
    """
    values = np.array([math.nan if t.value is None else t.value for t in told], dtype=np.float64)
    if len(values) < LEAST_TRIALS or not len(space) or np.ptp(values) == 0:
        return values
    top = np.argsort(values, kind="stable")[:FEW_ENOUGH]
    codec = Codec(space)
    features = codec.features(codec.codes([told[i].config for i in top]))
    y, centre, scale = standardised(values[top])
    extra = np.array([told[i].spread for i in top]) ** 2 / scale**2
    hypers = fit(features, y, codec.owners, Hypers.start(len(space)), MOST_CALLS, extra)
    mean = Process(features, y, codec.owners, hypers, extra).seen_mean
    found = values.copy()
    drawn_in = y * scale + centre < values[top] - 1e-12 * np.abs(values[top])
    found[top] = np.where(drawn_in, values[top], mean * scale + centre)
    return found
