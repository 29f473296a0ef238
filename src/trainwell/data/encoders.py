"""What becomes of a column: scaled numbers, one-hot columns or a code; fitted on the training part."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from trainwell.data.cells import Cells
from trainwell.data.columns import CATEGORY, DATE, NUMERIC, ColumnType

MAX_ONEHOT = 9
"""Largest number of values, missing counted, that is one-hot. Source: arXiv 2407.04491, appendix A.1."""
CLIP = 3.0
LARGEST = 1e150
"""Numbers are cut at this size so that no difference or square overflows."""
DAY_S, YEAR_DAYS = 86400, 365


@dataclasses.dataclass(frozen=True)
class Scale:
    """Robust scaling with smooth clipping: z = (x - center) / width, then z / sqrt(1 + (z / 3)^2).

    Args:
        center: the median.
        width: distance of the quartiles; half the range where they coincide.
    Source: RealMLP, arXiv 2407.04491, section 3 and appendix A.1.
    """

    center: float
    width: float

    @classmethod
    def fit(cls, values: np.ndarray) -> Scale | None:
        """Return the scale of the values that are not NaN, or None when they do not vary."""
        kept = np.clip(values[~np.isnan(values)], -LARGEST, LARGEST)
        if not len(kept) or kept.min() == kept.max():
            return None
        low, middle, high = np.percentile(kept, (25, 50, 75))
        width = high - low if high != low else (kept.max() - kept.min()) / 2
        return cls(float(middle), float(width)) if width > 0 else None

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return the scaled values, in (-3, 3); NaN becomes 0, the median."""
        with np.errstate(over="ignore"):  # a width near 0 sends far values to infinity, where the cut waits
            z = np.clip((np.clip(values, -LARGEST, LARGEST) - self.center) / self.width, -LARGEST, LARGEST)
        z /= np.hypot(1.0, z / CLIP)
        return np.asarray(np.nan_to_num(z, copy=False, nan=0.0))


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Arrays of length N, in the order of the matrix: scaled numbers, one-hot columns, codes."""

    numbers: list[np.ndarray]
    onehot: list[np.ndarray]
    codes: list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class NumericColumn:
    """One scaled number, and a flag where the training part had missing cells."""

    type: ColumnType
    scale: Scale | None
    flag: bool

    @classmethod
    def fit(cls, kind: ColumnType, cells: Cells) -> NumericColumn:
        return cls(kind, Scale.fit(cells.values), bool(cells.missing.any()))

    def encode(self, cells: Cells) -> Encoded:
        numbers = [] if self.scale is None else [self.scale.apply(cells.values)]
        return Encoded(numbers, [cells.missing.astype(np.float32)] if self.flag else [], [])

    def names(self) -> tuple[list[str], list[str], list[str]]:
        flag = [f"{self.type.name} is missing"] if self.flag else []
        return [] if self.scale is None else [self.type.name], flag, []

    @property
    def fate(self) -> str:
        number = "scaled number" if self.scale else ""
        return " + ".join(filter(None, (number, "missing flag" if self.flag else "")))

    @classmethod
    def from_dict(cls, kind: ColumnType, data: dict[str, Any]) -> NumericColumn:
        return cls(kind, Scale(**data["scale"]) if data["scale"] else None, data["flag"])


def _cycle(
    part: Callable[[np.ndarray], np.ndarray], period: float, wave: Any
) -> Callable[[np.ndarray], np.ndarray]:
    return lambda seconds: np.asarray(wave(2 * np.pi * part(seconds) / period))


def _days(moments: np.ndarray) -> np.ndarray:
    return _number(moments, "s") / DAY_S


def _number(moments: np.ndarray, unit: str) -> np.ndarray:
    whole = moments.astype(f"datetime64[{unit}]")
    return np.where(np.isnat(moments), np.nan, whole.astype(np.int64).astype(np.float64))


def _month(moments: np.ndarray) -> np.ndarray:
    return _number(moments, "M") % 12


def _weekday(moments: np.ndarray) -> np.ndarray:
    return (_number(moments, "D") + 3) % 7


def _hour(moments: np.ndarray) -> np.ndarray:
    return (_number(moments, "s") / 3600) % 24


DATE_PARTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "days": _days,
    "year": lambda moments: _number(moments, "Y") + 1970,
    "month sin": _cycle(_month, 12, np.sin),
    "month cos": _cycle(_month, 12, np.cos),
    "weekday sin": _cycle(_weekday, 7, np.sin),
    "weekday cos": _cycle(_weekday, 7, np.cos),
    "hour sin": _cycle(_hour, 24, np.sin),
    "hour cos": _cycle(_hour, 24, np.cos),
}
TREND_PARTS = ("days", "year")
"""Parts that never come back; they are left out where the rows are split by time."""


@dataclasses.dataclass(frozen=True)
class DateColumn:
    """Several scaled numbers of one date, and a flag where the training part had missing cells."""

    type: ColumnType
    parts: tuple[tuple[str, Scale], ...]
    flag: bool

    @classmethod
    def fit(cls, kind: ColumnType, cells: Cells, without: tuple[str, ...] = ()) -> DateColumn:
        """Take the parts that vary: a month only if the dates span a year, a weekday two weeks."""
        span = np.nan_to_num(np.ptp(_days(cells.values[~cells.missing]))) if not cells.missing.all() else 0
        parts = []
        for part, read in DATE_PARTS.items():
            least = {"year": YEAR_DAYS, "month": YEAR_DAYS, "weekday": 14}.get(part.split()[0], 0)
            scale = Scale.fit(read(cells.values)) if part not in without and span >= least else None
            if scale is not None:
                parts.append((part, scale))
        return cls(kind, tuple(parts), bool(cells.missing.any()))

    def encode(self, cells: Cells) -> Encoded:
        numbers = [scale.apply(DATE_PARTS[part](cells.values)) for part, scale in self.parts]
        return Encoded(numbers, [cells.missing.astype(np.float32)] if self.flag else [], [])

    def names(self) -> tuple[list[str], list[str], list[str]]:
        flag = [f"{self.type.name} is missing"] if self.flag else []
        return [f"{self.type.name} {part}" for part, _ in self.parts], flag, []

    @property
    def fate(self) -> str:
        parts = ", ".join(dict.fromkeys(part.split()[0] for part, _ in self.parts))
        return " + ".join(filter(None, (parts, "missing flag" if self.flag else "")))

    @classmethod
    def from_dict(cls, kind: ColumnType, data: dict[str, Any]) -> DateColumn:
        return cls(kind, tuple((p, Scale(**s)) for p, s in data["parts"]), data["flag"])


def _positions(cells: Cells, values: tuple[str, ...]) -> np.ndarray:
    """Return the position of each cell in `values`, -1 for unseen, -2 for missing."""
    index = {v: i for i, v in enumerate(values)}
    return np.asarray(np.array([*(index.get(w, -1) for w in cells.words), -2], np.int64)[cells.values])


@dataclasses.dataclass(frozen=True)
class OneHotColumn:
    """Few values: one column of -1 and 1 for two of them, else one column each; unseen is all zero."""

    type: ColumnType
    values: tuple[str, ...]
    flag: bool

    @property
    def is_sign(self) -> bool:
        return len(self.values) == 2 or (len(self.values) == 1 and self.flag)

    def encode(self, cells: Cells) -> Encoded:
        at = _positions(cells, self.values)
        if self.is_sign:
            # indices -2 and -1 are missing and unseen; a single value is 1, and missing its opposite
            signs = [-1.0, 1.0, 0.0, 0.0] if len(self.values) == 2 else [1.0, -1.0, 0.0]
            return Encoded([], [np.array(signs, np.float32)[at]], [])
        columns = [(at == i).astype(np.float32) for i in range(len(self.values))]
        return Encoded([], columns + ([(at == -2).astype(np.float32)] if self.flag else []), [])

    def names(self) -> tuple[list[str], list[str], list[str]]:
        name = self.type.name
        if self.is_sign:
            return [], [f"{name} = {self.values[-1]}"], []
        return [], [f"{name} = {v}" for v in self.values] + ([f"{name} is missing"] if self.flag else []), []

    @property
    def fate(self) -> str:
        return "-1 or 1" if self.is_sign else f"one-hot, {len(self.values) + self.flag} columns"

    @classmethod
    def from_dict(cls, kind: ColumnType, data: dict[str, Any]) -> OneHotColumn:
        return cls(kind, tuple(data["values"]), data["flag"])


@dataclasses.dataclass(frozen=True)
class CodeColumn:
    """Many values: a code for an embedding; 0 stands for missing, unseen, and values seen once in training.

    The latter give the row of code 0 something to learn from: what an unseen value means.
    """

    type: ColumnType
    values: tuple[str, ...]

    def encode(self, cells: Cells) -> Encoded:
        return Encoded([], [], [np.maximum(_positions(cells, self.values) + 1, 0)])

    def names(self) -> tuple[list[str], list[str], list[str]]:
        return [], [], [self.type.name]

    @property
    def cardinality(self) -> int:
        return len(self.values) + 1

    @property
    def fate(self) -> str:
        return f"embedding, {self.cardinality} codes"

    @classmethod
    def from_dict(cls, kind: ColumnType, data: dict[str, Any]) -> CodeColumn:
        return cls(kind, tuple(data["values"]))


Encoder = NumericColumn | DateColumn | OneHotColumn | CodeColumn


def fit_categories(kind: ColumnType, cells: Cells) -> OneHotColumn | CodeColumn:
    """Choose one-hot or codes by the number of values in the training part."""
    counts = dict(zip(cells.words, cells.counts().tolist(), strict=True))
    values = tuple(sorted(w for w, n in counts.items() if n))
    flag = bool(cells.missing.any())
    if len(values) + flag <= MAX_ONEHOT:
        return OneHotColumn(kind, values, flag)
    return CodeColumn(kind, tuple(w for w in values if counts[w] > 1))


def fit_encoder(kind: ColumnType, cells: Cells, without: tuple[str, ...] = ()) -> Encoder:
    """Fit the encoder of a column on the typed cells of the training part."""
    if kind.kind == NUMERIC:
        return NumericColumn.fit(kind, cells)
    if kind.kind == DATE:
        return DateColumn.fit(kind, cells, without)
    assert kind.kind in (CATEGORY, "boolean")
    return fit_categories(kind, cells)
