"""Independent draws from the prior."""

from __future__ import annotations

from collections.abc import Sequence

from trainwell.search.draws import generator
from trainwell.search.searcher import Searcher, Told
from trainwell.search.space import Config, same

MOST_TRIES = 200
"""Draws for one trial before the space counts as exhausted."""


class Random(Searcher):
    """Draw every configuration from the prior, independently.

    Helps as the yardstick, and where many trials run at once; each trial tries another value of every parameter.
    Harms where a trial is dear: nothing is learned from the results.
    Source:  Bergstra, Bengio 2012, JMLR 13.
    """

    name = "random"

    def propose(self, told: Sequence[Told], start: int, count: int) -> list[Config]:
        known = {same(t.config) for t in told}
        found: list[Config] = []
        for number in range(start, start + count):
            rng = generator(self.seed, "random", number)
            for _ in range(MOST_TRIES):
                config = self.space.draw(rng.random(len(self.space)))
                if same(config) not in known:
                    known.add(same(config))
                    found.append(config)
                    break
            else:
                break
        return found
