"""All combinations of a few values of each parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence

from trainwell.search.draws import generator
from trainwell.search.searcher import Searcher, Told
from trainwell.search.space import Config, Space, same

POINTS = 5
"""Values of a number on the grid, evenly over its scale."""

MOST = 200_000
"""Combinations that are gone through at most; of more, so many are drawn."""


class Grid(Searcher):
    """Go through all combinations, in an order that is shuffled by the seed.

    Helps one or two parameters, and tables that are to be shown whole.
    Harms more: the number of combinations explodes, and each parameter is only tried at a few values.
    """

    name = "grid"

    def __init__(self, space: Space, seed: int = 0, batch: int | None = None) -> None:
        super().__init__(space, seed, batch)
        self._axes = [p.grid(POINTS) for p in space]
        total, rng = math.prod(map(len, self._axes)), generator(seed, "grid")
        self._order = rng.permutation(total) if total <= MOST else rng.integers(total, size=MOST)

    def propose(self, told: Sequence[Told], start: int, count: int) -> list[Config]:
        """A combination that was tried before is passed over."""
        known = {same(t.config) for t in told}
        found: list[Config] = []
        for index in self._order:
            if len(found) == count:
                break
            config = self._at(int(index))
            if same(config) not in known:
                known.add(same(config))
                found.append(config)
        return found

    def _at(self, index: int) -> Config:
        """Return the combination of this number."""
        values = {}
        for p, axis in zip(self.space, self._axes, strict=True):
            index, at = divmod(index, len(axis))
            values[p.name] = axis[at]
        return self.space.active(values)
