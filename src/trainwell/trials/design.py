"""The plan of a trial: how many seeds, when the results are looked at, and what error each look may spend."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

from trainwell.trials.estimate import Array, least_score, moments, score_of
from trainwell.trials.spending import SPENDING, bounds, upper_tail
from trainwell.values.errors import UsageError, did_you_mean

GROUP = 8
"""Seeds that are added at a time. Source: benchmarks/trials.py simulate: a look at 4 of 8 seeds saves a tenth of the
pairs at an effect of 2.5 spreads, none at one spread, and costs a little power."""

MIN_SEEDS = 2

DRAWS = 20_000
"""Trials that are simulated for a power: its standard error is 0.003 at 0.8."""


@dataclasses.dataclass(frozen=True)
class Design:
    """The plan of a trial.

    Args:
        seeds: pairs at most, >= 2.
        group: pairs that are added before each look.
        alpha: probability that a change without effect is declared proved or refuted, over all looks and changes.
        spending: how alpha is shared out among the looks: `obrien_fleming` or `pocock`. Both keep alpha;
            O'Brien-Fleming keeps the power of the last look (benchmarks/trials.py).

    Raises:
        UsageError: a number is out of range.
    """

    seeds: int = GROUP
    group: int = GROUP
    alpha: float = 0.05
    spending: str = "obrien_fleming"

    def __post_init__(self) -> None:
        if self.seeds < MIN_SEEDS:
            raise UsageError(
                f"--seeds must be >= {MIN_SEEDS}, got {self.seeds}: one pair says nothing of chance."
            )
        if self.group < 1:
            raise UsageError(f"a group of pairs (--look-every) must be >= 1, got {self.group}.")
        if not 0 < self.alpha < 1:
            raise UsageError(f"alpha must lie in (0, 1), got {self.alpha!r}.")
        if self.spending not in SPENDING:
            hint = did_you_mean(self.spending, SPENDING)
            raise UsageError(f"spending must be one of {', '.join(SPENDING)}, got '{self.spending}'.{hint}")

    @property
    def looks(self) -> tuple[int, ...]:
        """The numbers of pairs after which the results are looked at."""
        first = max(MIN_SEEDS, self.group)
        return (*range(first, self.seeds, self.group), self.seeds) if first < self.seeds else (self.seeds,)

    def levels(
        self, sizes: Sequence[int], *, final: bool, alpha: float | None = None, shares: int = 1
    ) -> list[float]:
        """Return the two-sided level that each of these looks may use, (looks,).

        Args:
            sizes: pairs at the looks so far, ascending.
            final: the last of them ends the trial, and spends what is left of alpha.
            alpha: another total error than the design's.
            shares: changes among which alpha is divided evenly.
        """
        fractions = [size / self.seeds for size in sizes]
        if final:
            fractions[-1] = 1.0
        limits = bounds(tuple(fractions), (self.alpha if alpha is None else alpha) / shares, self.spending)
        return [float(2 * upper_tail(limit)) for limit in limits]

    def power(self, effect: float, changes: int = 1) -> float:
        """Return the least probability of proving an effect of this size with all seeds.

        It is that of one look at the level of the last one, found by simulation: earlier looks only add to it.

        Args:
            effect: the mean difference over the standard deviation of the differences.
            changes: compared at once; each then has a part of the error.
        """
        level = self.levels(self.looks, final=True, shares=changes)[-1]
        mean, spread, skew = _normal_moments(self.seeds)
        found = least_score(mean + effect, spread, skew, self.seeds) >= score_of(level, self.seeds)
        return float((found & (mean + effect > 0)).mean())

    def detectable(self, power: float = 0.8, changes: int = 1) -> float:
        """Return the smallest effect, in standard deviations of the differences, that is proved so often."""
        from scipy.optimize import brentq

        @functools.cache  # the search asks for its ends again
        def lacking(effect: float) -> float:
            return self.power(effect, changes) - power

        top = 1.0
        while lacking(top) < 0 and top < 512:
            top *= 2
        return float(brentq(lacking, 0.0, top, xtol=1e-3)) if lacking(top) > 0 else math.inf

    def least_seeds(self, changes: int = 1) -> int:
        """Return the seeds from which ranks can decide: with fewer not even gains on every seed would.

        Ranks assume nothing of the shape of the gains, and are what remains where a run diverges.
        """
        return 1 + math.ceil(math.log2(changes / self.alpha))


@functools.lru_cache(maxsize=64)
def _normal_moments(seeds: int) -> tuple[Array, Array, Array]:
    """Return moments of normal differences of spread 1, `DRAWS` times; always the same."""
    return moments(np.random.default_rng(seeds).normal(size=(DRAWS, seeds)))
