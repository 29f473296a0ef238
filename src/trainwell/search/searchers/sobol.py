"""Scrambled Sobol points: draws from the prior that fill the space evenly."""

from __future__ import annotations

from collections.abc import Sequence

from trainwell.search.draws import generator
from trainwell.search.searcher import Searcher, Told
from trainwell.search.space import Config, Space, same

LEAP = 8
"""Points that are looked through for one trial before the space counts as exhausted."""


class Sobol(Searcher):
    """Take the points of a scrambled Sobol sequence, through the prior.

    Helps as a first batch, and where nothing can be learned from results: no corner is left out by chance.
    Harms nothing; from some twenty parameters on it is no better than random draws.
    Source:  Sobol 1967; Owen 1998 for the scrambling; Bousquet et al. 2017, arXiv:1706.03200, for trainings.
    """

    name = "sobol"

    def __init__(self, space: Space, seed: int = 0, batch: int | None = None) -> None:
        super().__init__(space, seed, batch)
        self._points: list[Config] = []

    def propose(self, told: Sequence[Told], start: int, count: int) -> list[Config]:
        """A point that was tried before is passed over, so the sequence depends on the configurations told."""
        known = {same(t.config) for t in told}
        found: list[Config] = []
        at = start
        for _ in range(LEAP * count + LEAP * 64):
            if len(found) == count:
                break
            config = self._point(at)
            at += 1
            if same(config) not in known:
                known.add(same(config))
                found.append(config)
        return found

    def _point(self, index: int) -> Config:
        while index >= len(self._points):
            self._extend()
        return self._points[index]

    def _extend(self) -> None:
        """Make the first 64 points, then twice as many each time."""
        from scipy.stats import qmc

        power = max(6, len(self._points).bit_length())
        sampler = qmc.Sobol(len(self.space), scramble=True, rng=generator(self.seed, "sobol"))
        points = sampler.random_base2(power)
        self._points = [self.space.draw(p) for p in points]
