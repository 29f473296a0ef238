"""Configurations as rows of numbers, many at once: what a searcher that measures distances works on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trainwell.search.parameter import OFF_SHARE, Parameter
from trainwell.search.space import Config, Space

Floats = npt.NDArray[np.float64]

MOST_LEVELS = 64
"""A whole number with more values than this is searched as a real one and rounded at the end."""

SHARES = 1024
"""Steps of the table by which the likely range of a real parameter is drawn."""


class Codec:
    """Turns configurations of a space into codes and features, and back.

    A code has one number per parameter: the place on its scale, or the index of a category. Features add what
    distances need: a category becomes one column per option, at distance 1 from each other.

    Attributes:
        owners: for each column of the features the index of its parameter.
        levels: for each parameter its codes, ascending, or None where it is a real number.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.levels = [_levels(p) for p in space]
        self.values = [_values(p) for p in space]
        self.categorical = np.array([p.is_categorical for p in space], dtype=bool)
        self.neutral = np.array([0.0 if p.is_categorical else 0.5 for p in space])
        owners: list[int] = []
        for j, p in enumerate(space):
            owners += [j] * (len(p.options) if p.is_categorical else 1)
        self.owners = np.array(owners, dtype=np.int64)
        self._tables = [
            None if lv is not None else _table(p) for p, lv in zip(space, self.levels, strict=True)
        ]
        index = {p.name: j for j, p in enumerate(space)}
        self._conditions = [
            (j, index[p.when[0]], [space[p.when[0]].place(v) for v in p.when[1]])
            for j, p in enumerate(space)
            if p.when is not None
        ]

    def code(self, config: Config) -> Floats:
        """Return the code of one configuration, (P,)."""
        row = self.neutral.copy()
        for j, p in enumerate(self.space):
            if p.name in config:
                row[j] = p.place(config[p.name])
        return row

    def codes(self, configs: Sequence[Config]) -> Floats:
        """Return the codes of configurations, (N, P)."""
        return np.array([self.code(c) for c in configs]).reshape(len(configs), len(self.space))

    def config(self, row: Floats) -> Config:
        """Return the configuration of a code; places between two allowed values go to the nearer one."""
        found: Config = {}
        for j, p in enumerate(self.space):
            levels, values = self.levels[j], self.values[j]
            if levels is not None and values is not None:
                found[p.name] = values[int(np.abs(levels - row[j]).argmin())]
            elif p.off is not None and not 0 <= row[j] <= 1:
                found[p.name] = p.off
            else:
                found[p.name] = p.at(float(row[j]))
        return self.space.active(found)

    def drawn(self, shares: Floats) -> Floats:
        """Return the codes at points of the unit cube, (N, P) -> (N, P), as `Parameter.draw` draws them."""
        columns = []
        for j, p in enumerate(self.space):
            u, levels, table = shares[:, j], self.levels[j], self._tables[j]
            if levels is None:
                assert table is not None
                columns.append(_real(p, u, table))
            elif p.options or p.off is None:
                columns.append(levels[np.minimum((u * len(levels)).astype(np.int64), len(levels) - 1)])
            else:
                columns.append(np.array([p.place(p.draw(float(s))) for s in u]))
        return self.settled(np.stack(columns, 1)) if columns else np.zeros((len(shares), 0))

    def settled(self, codes: Floats) -> Floats:
        """Return the codes with places moved to the nearest level, and those that do not count to the neutral one."""
        codes = codes.copy()
        for j, p in enumerate(self.space):
            levels, column = self.levels[j], codes[:, j]
            if levels is not None:
                middles = (levels[1:] + levels[:-1]) / 2
                codes[:, j] = levels[np.searchsorted(middles, column)]
            elif p.off is None:
                codes[:, j] = column.clip(0, 1)
            else:
                off = p.place(p.off)
                gone = column < off / 2 if off < 0 else column > (1 + off) / 2
                codes[:, j] = np.where(gone, off, column.clip(0, 1))
        for j, parent, allowed in self._conditions:
            codes[~np.isin(codes[:, parent], allowed), j] = self.neutral[j]
        return codes

    def features(self, codes: Floats) -> Floats:
        """Return the features of codes, (N, P) -> (N, F)."""
        columns: list[Floats] = []
        for j, p in enumerate(self.space):
            if p.is_categorical:
                hot = codes[:, j, None] == np.arange(len(p.options))
                columns.append(hot * math.sqrt(0.5))
            else:
                columns.append(codes[:, j, None])
        return np.concatenate(columns, 1) if columns else np.zeros((len(codes), 0))

    def neighbours(self, row: Floats) -> Floats:
        """Return the codes that differ from this one in one parameter by one level, (N, P).

        Every other category counts as a level; a real parameter has neighbours at 4 distances on both sides.
        """
        found = []
        for j in range(len(self.space)):
            levels = self.levels[j]
            if levels is None:
                off = self.space.parameters[j].off
                others = row[j] + np.array([-0.2, -0.07, -0.02, -0.005, 0.005, 0.02, 0.07, 0.2])
                if off is not None:
                    others = np.append(others, self.space.parameters[j].place(off))
            elif self.categorical[j]:
                others = levels[levels != row[j]]
            else:
                at = int(np.abs(levels - row[j]).argmin())
                others = levels[[i for i in (at - 2, at - 1, at + 1, at + 2) if 0 <= i < len(levels)]]
            block = np.repeat(row[None], len(others), 0)
            block[:, j] = others
            found.append(block)
        return self.settled(np.concatenate(found)) if found else row[None]


def keys(codes: Floats) -> list[bytes]:
    """Return for each code something that equals that of an equal code."""
    rounded = np.ascontiguousarray(np.round(codes, 9) + 0.0)
    return [row.tobytes() for row in rounded]


def _levels(p: Parameter) -> Floats | None:
    values = _values(p)
    return None if values is None else np.array([p.place(v) for v in values])


def _values(p: Parameter) -> list[object] | None:
    """Return the values of a parameter that has few, in the order of their places."""
    if p.options:
        return list(p.options)
    if p.size > MOST_LEVELS:
        return None
    whole: list[object] = list(range(math.ceil(p.low), math.floor(p.high) + 1)) if p.integer else [p.low]
    if p.off is not None:
        whole.append(p.off)
    return sorted(whole, key=p.place)


def _table(p: Parameter) -> Floats:
    """Return the places at evenly spaced shares of the range, its likely part included."""
    plain = Parameter(p.name, p.low, p.high, p.log, likely=p.likely)
    return np.array([plain.place(plain.draw(i / SHARES)) for i in range(SHARES + 1)])


def _real(p: Parameter, shares: Floats, table: Floats) -> Floats:
    inside = shares
    if p.off is not None:
        inside = ((shares - OFF_SHARE) / (1 - OFF_SHARE)).clip(0, 1)
    places = np.interp(inside, np.linspace(0, 1, len(table)), table)
    return places if p.off is None else np.where(shares < OFF_SHARE, p.place(p.off), places)
