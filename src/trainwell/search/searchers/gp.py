"""Bayesian search: a Gaussian process and expected improvement, made for batches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trainwell.search.codec import Codec, Floats, keys
from trainwell.search.draws import generator
from trainwell.search.gaussian import Hypers, Points, Process, fit, log_expected_improvement, standardised
from trainwell.search.searcher import Searcher, Told
from trainwell.search.searchers.sobol import Sobol
from trainwell.search.space import Config, Space

DRAWN = 512
"""Candidates drawn from the prior for one generation."""

ELITES = 8
"""Best points so far whose neighbours are candidates."""

CLIMBS = 2
"""Rounds in which the neighbours of the most promising candidates become candidates too."""

CLIMBERS = 4
"""Candidates whose neighbours are added in a round."""

MOST_SEEN = 800
"""Results that the process knows at most: half of them the best, and the newest of the others."""

FITTED_TO = 256
"""Results that the hyperparameters are fitted to at most, chosen likewise."""


class GP(Searcher):
    """Fit a Gaussian process to the results and try where it expects the greatest improvement.

    Helps most where a trial is dear or the space is smooth; a batch costs little more than one proposal.
    Harms spaces of many dozen parameters, where `random` is as good and faster.
    Source:  Snoek, Larochelle, Adams 2012, arXiv:1206.2944; batches by believing in the mean: Ginsbourger et al. 2010.
    """

    name = "gp"

    def __init__(self, space: Space, seed: int = 0, batch: int | None = None) -> None:
        super().__init__(space, seed, batch)
        self._codec = Codec(space)
        self._sobol = Sobol(space, seed, batch)
        self._hypers = Hypers.start(len(space))
        self._fitted = 0
        self._fitted_at = -1

    @property
    def first(self) -> int:
        """Trials of the first design, taken from a Sobol sequence."""
        return max(self.batch if self.batch > 1 else 0, min(16, len(self.space) + 2))

    @property
    def state(self) -> dict[str, Any]:
        vector = [float(v) for v in self._hypers.vector()]
        return {"hypers": vector, "fitted": self._fitted, "at": self._fitted_at}

    def restore(self, state: Mapping[str, Any]) -> None:
        if state:
            self._hypers = Hypers.of(np.array(state["hypers"], dtype=np.float64))
            self._fitted, self._fitted_at = int(state["fitted"]), int(state["at"])

    def propose(self, told: Sequence[Told], start: int, count: int) -> list[Config]:
        good = [t for t in told if t.is_good]
        if start < self.first or len(good) < 2:
            return self._sobol.propose(told, start, count)
        done = [t for t in told if t.value is not None]
        codes = self._codec.codes([t.config for t in done])
        values, _, scale = standardised([math.nan if t.value is None else t.value for t in done])
        extra = np.array([t.spread for t in done]) ** 2 / max(scale, 1e-12) ** 2
        if len(values) > MOST_SEEN:
            kept = _bounded(values, MOST_SEEN)
            codes, values, extra = codes[kept], values[kept], extra[kept]
        features = self._codec.features(codes)
        self._refit(features, values, extra, start)
        process = Process(features, values, self._codec.owners, self._hypers, extra)
        running = self._codec.codes([t.config for t in told if t.value is None])
        every = self._codec.codes([t.config for t in told])
        return self._batch(process, codes, every, running, start, count)

    def _refit(self, features: Floats, values: Floats, extra: Floats, start: int) -> None:
        """Fit the hyperparameters again where a tenth more is known; from the last ones, so that few steps do."""
        count = len(values)
        if self._fitted_at == start or (self._fitted_at < start and count < 1.1 * self._fitted):
            return
        if count > FITTED_TO:
            kept = _bounded(values, FITTED_TO)
            features, values, extra = features[kept], values[kept], extra[kept]
        calls = max(6, min(40, int(4e5 / len(values) ** 2)))
        self._hypers = fit(features, values, self._codec.owners, self._hypers, calls, extra)
        self._fitted, self._fitted_at = count, start

    def _batch(
        self, process: Process, codes: Floats, every: Floats, running: Floats, start: int, count: int
    ) -> list[Config]:
        """Take the most promising candidate, believe in what is expected of it, take the next."""
        best = float(process.seen_mean.min())
        rng = generator(self.seed, "gp", start)
        elites = codes[np.argsort(process.seen_mean, kind="stable")[:ELITES]]
        pool = np.concatenate([self._around(elites, rng), self._drawn(rng)])
        pool, points = self._climbed(process, pool, best, set(keys(every)))
        if len(running):
            points = points.joined(process.at(self._codec.features(running)))
            for index in range(len(pool), len(pool) + len(running)):
                points.believe(index)
        # to believe only shrinks variances and with them gains: whoever promises little now never leads
        gain = log_expected_improvement(points.mean, points.variance, best)[: len(pool)]
        top = np.argsort(-gain, kind="stable")[: 4 * self.batch + 64]
        pool, points = pool[top], points.taken(top)
        chosen: list[int] = []
        for _ in range(min(count, len(pool))):
            gain = log_expected_improvement(points.mean, points.variance, best)
            gain[chosen] = -np.inf
            chosen.append(int(gain.argmax()))
            if len(chosen) < count:
                points.believe(chosen[-1])
        return [self._codec.config(pool[i]) for i in chosen]

    def _drawn(self, rng: np.random.Generator) -> Floats:
        return self._codec.drawn(rng.random((DRAWN, len(self.space))))

    def _around(self, elites: Floats, rng: np.random.Generator) -> Floats:
        """Return what differs from the elites in one parameter, and mixtures of them with few changes."""
        near = [self._codec.neighbours(row) for row in elites]
        fresh = self._codec.drawn(rng.random((DRAWN, len(self.space))))
        parents = elites[rng.integers(len(elites), size=DRAWN)]
        others = elites[rng.integers(len(elites), size=DRAWN)]
        mixed = np.where(rng.random(parents.shape) < 0.5, parents, others)
        changed = rng.random(parents.shape) < 2 / max(2, len(self.space))
        near.append(self._codec.settled(np.where(changed, fresh, mixed)))
        return np.concatenate(near)

    def _fresh(self, codes: Floats, known: set[bytes]) -> Floats:
        """Return the codes that were not tried, each once, in their order."""
        first: dict[bytes, int] = {}
        for i, key in enumerate(keys(codes)):
            if key not in known:
                first.setdefault(key, i)
        return codes[list(first.values())]

    def _climbed(
        self, process: Process, pool: Floats, best: float, known: set[bytes]
    ) -> tuple[Floats, Points]:
        """Return the untried candidates, the neighbours of the most promising ones, and theirs."""
        pool = self._fresh(pool, known)
        points = process.at(self._codec.features(pool))
        for _ in range(CLIMBS if len(pool) else 0):
            gain = log_expected_improvement(points.mean, points.variance, best)
            top = pool[np.argsort(-gain, kind="stable")[:CLIMBERS]]
            more = self._fresh(
                np.concatenate([self._codec.neighbours(row) for row in top]), known.union(keys(pool))
            )
            pool = np.concatenate([pool, more])
            points = points.joined(process.at(self._codec.features(more)))
        return pool, points


def _bounded(values: Floats, most: int) -> npt.NDArray[np.int64]:
    """Return at most so many results, by index: half of them the best, and of the others the newest."""
    order: npt.NDArray[np.int64] = np.argsort(values, kind="stable")
    half = most // 2
    return np.sort(np.concatenate([order[:half], np.sort(order[half:])[half - most :]]))
