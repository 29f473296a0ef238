"""How much of what the results differ by is due to each parameter."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from trainwell.search.codec import Codec, Floats
from trainwell.search.draws import generator
from trainwell.search.gaussian import Hypers, Process, fit, standardised
from trainwell.search.searcher import Told
from trainwell.search.space import Space

POINTS, RESAMPLES, MOST, FEWEST = 256, 24, 200, 12


@dataclasses.dataclass(frozen=True)
class Importance:
    """Share of the variance that is due to a parameter, alone or with others; with its 90 % interval."""

    name: str
    share: float
    low: float
    high: float


def importances(space: Space, told: Sequence[Told], seed: int = 0) -> list[Importance]:
    """Return the importance of each parameter, the greatest first; empty where too few trials are known.

    Total Sobol indices of a Gaussian process over the prior, its interval from resampled trials.
    Source:  Sobol 2001; Jansen 1999, equation of the total index; Saltelli et al. 2010.
    """
    done = [t for t in told if t.is_good][-MOST:]
    if len(done) < FEWEST or not len(space):
        return []
    codec, rng = Codec(space), generator(seed, "importance")
    features = codec.features(codec.codes([t.config for t in done]))
    values = standardised([float(t.value or 0.0) for t in done])[0]
    hypers = fit(features, values, codec.owners, Hypers.start(len(space)), 40)
    mixes = _mixes(codec, rng)
    shares = []
    for _ in range(RESAMPLES):
        rows = np.unique(rng.integers(len(done), size=len(done)))
        shares.append(_shares(Process(features[rows], values[rows], codec.owners, hypers), mixes))
    table = np.array(shares)
    low, middle, high = np.quantile(table, (0.05, 0.5, 0.95), axis=0).clip(
        0, 1
    )  # of a sample above 1 by chance
    found = [
        Importance(p.name, float(m), float(a), float(b))
        for p, m, a, b in zip(space, middle, low, high, strict=True)
    ]
    return sorted(found, key=lambda i: -i.share)


def _mixes(codec: Codec, rng: np.random.Generator) -> list[Floats]:
    """Return the features of random points, and for each parameter of those points with that parameter redrawn."""
    count = len(codec.space)
    shares, others = rng.random((POINTS, count)), rng.random((POINTS, count))
    found = [codec.features(codec.drawn(shares))]
    for j in range(count):
        mixed = shares.copy()
        mixed[:, j] = others[:, j]
        found.append(codec.features(codec.drawn(mixed)))
    return found


def _shares(process: Process, mixes: list[Floats]) -> Floats:
    base = process.mean_at(mixes[0])
    variance = max(float(base.var()), 1e-12)
    return np.array([float(((process.mean_at(m) - base) ** 2).mean()) / (2 * variance) for m in mixes[1:]])
