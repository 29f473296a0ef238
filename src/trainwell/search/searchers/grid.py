"""All combinations of a few values of each parameter."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from trainwell.search.draws import generator
from trainwell.search.searcher import Searcher, Told
from trainwell.search.space import Config, Space, same

POINTS = 5
"""Values of a number on the grid, evenly over its scale."""

MOST = 200_000
"""Combinations that are listed at most."""


class Grid(Searcher):
    """Go through all combinations, in an order that is shuffled by the seed.

    Helps one or two parameters, and tables that are to be shown whole.
    Harms more: the number of combinations explodes, and each parameter is only tried at a few values.
    """

    name = "grid"

    def __init__(self, space: Space, seed: int = 0, batch: int | None = None) -> None:
        super().__init__(space, seed, batch)
        combinations = itertools.islice(self._combinations(), MOST)
        self._configs = list({same(c): c for c in combinations}.values())
        order = generator(seed, "grid").permutation(len(self._configs))
        self._configs = [self._configs[i] for i in order]

    def _combinations(self) -> Iterator[Config]:
        axes = [p.grid(POINTS) for p in self.space]
        names = [p.name for p in self.space]
        return (self.space.active(dict(zip(names, row, strict=True))) for row in itertools.product(*axes))

    def __len__(self) -> int:
        return len(self._configs)

    def propose(self, told: Sequence[Told], start: int, count: int) -> list[Config]:
        """A combination that was tried otherwise (the default) is passed over where it would come twice."""
        known = {same(t.config) for t in told}
        left = [c for c in self._configs if same(c) not in known]
        return left[:count]
