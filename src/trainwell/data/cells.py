"""One column of a table in one of three forms: numbers, words or moments. Everything else works on these."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

NUMBERS, WORDS, MOMENTS, OTHER = "numbers", "words", "moments", "other"


@dataclasses.dataclass(frozen=True)
class Cells:
    """The cells of one column.

    Args:
        form: `numbers`, `words`, `moments` (dates) or `other` (lists, bytes: no use to a table model).
        values: float64, NaN for missing; int64 index into `words`, -1 for missing; datetime64[s], NaT.
        words: the distinct words; some may not occur in `values`.
        dtype: the name of the dtype it came with.
        integral: the dtype counts in whole numbers.
    """

    form: str
    values: np.ndarray
    words: tuple[str, ...] = ()
    dtype: str = ""
    integral: bool = False

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: np.ndarray) -> Cells:
        """Return the cells of these rows."""
        return dataclasses.replace(self, values=self.values[rows])

    @property
    def missing(self) -> np.ndarray:
        """Which cells are missing, (N,) bool."""
        if self.form == NUMBERS:
            return np.asarray(np.isnan(self.values))
        return np.asarray(np.isnat(self.values) if self.form == MOMENTS else self.values < 0)

    def counts(self) -> np.ndarray:
        """Return how often each word occurs, (len(words),)."""
        return np.bincount(self.values[self.values >= 0], minlength=len(self.words))


def cells_of(column: Any, na: Sequence[str] = ()) -> Cells:
    """Bring a pandas Series or a numpy array into one of the forms.

    Args:
        na: words and numbers that stand for a missing cell, next to empty text, None and NaN.
    """
    dtype = str(column.dtype)
    if isinstance(column, np.ndarray) and column.dtype.kind in "biufM":
        return _from_numeric(column, dtype, na)
    import pandas as pd

    series = column if isinstance(column, pd.Series) else pd.Series(column)
    if isinstance(series.dtype, pd.CategoricalDtype):
        return _from_categorical(series, dtype, na)
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    if pd.api.types.is_datetime64_dtype(series.dtype):
        return _from_numeric(series.to_numpy("datetime64[s]"), dtype, na)
    if pd.api.types.is_timedelta64_dtype(series.dtype):
        return _from_numeric(series.dt.total_seconds().to_numpy(np.float64), dtype, na)
    if pd.api.types.is_bool_dtype(series.dtype):
        return _from_bool(series, dtype)
    if pd.api.types.is_complex_dtype(series.dtype):
        return Cells(OTHER, np.zeros(len(series), np.int64), dtype=dtype)
    if pd.api.types.is_numeric_dtype(series.dtype):
        integral = pd.api.types.is_integer_dtype(series.dtype)
        values = series.to_numpy(np.float64, na_value=np.nan)
        return _without(Cells(NUMBERS, values, dtype=dtype, integral=integral), na)
    return _from_objects(series, dtype, na)


def _from_numeric(values: np.ndarray, dtype: str, na: Sequence[str]) -> Cells:
    if values.dtype.kind == "M":
        return Cells(MOMENTS, values.astype("datetime64[s]"), dtype=dtype)
    if values.dtype.kind == "b":
        return Cells(WORDS, values.astype(np.int64), ("False", "True"), dtype)
    numbers = values.astype(np.float64, copy=False)
    return _without(Cells(NUMBERS, numbers, dtype=dtype, integral=values.dtype.kind in "iu"), na)


def _from_bool(series: Any, dtype: str) -> Cells:
    codes = series.astype("float64" if not series.hasnans else "Float64").to_numpy(np.float64, na_value=-1)
    return Cells(WORDS, codes.astype(np.int64), ("False", "True"), dtype)


def _from_categorical(series: Any, dtype: str, na: Sequence[str]) -> Cells:
    words = tuple(word_of(c) for c in series.cat.categories)
    kind = f"category[{series.cat.categories.dtype}]"
    return _tidy(series.cat.codes.to_numpy(np.int64), words, kind, na)


def _from_objects(series: Any, dtype: str, na: Sequence[str]) -> Cells:
    """Read text, and objects of mixed kinds cell by cell."""
    import pandas as pd

    if isinstance(series.dtype, pd.ArrowDtype) and not dtype.startswith(("string", "large_string")):
        series = series.astype(object)
    try:
        codes, distinct = pd.factorize(series)
    except TypeError:  # unhashable: lists, arrays, dictionaries
        return Cells(OTHER, np.zeros(len(series), np.int64), dtype=dtype)
    distinct = np.asarray(distinct, dtype=object)
    kinds = {type(v) for v in distinct}
    if kinds and all(k.__name__ in ("date", "datetime", "Timestamp", "datetime64") for k in kinds):
        moments = pd.to_datetime(pd.Series(distinct), utc=True).dt.tz_localize(None).to_numpy("datetime64[s]")
        return Cells(MOMENTS, _looked_up(moments, codes, np.datetime64("NaT", "s")), dtype=dtype)
    if kinds and all(k.__name__ in ("int", "float", "Decimal", "int64", "float64", "float32") for k in kinds):
        numbers = _looked_up(distinct.astype(np.float64), codes, np.float64("nan"))
        integral = all(k.__name__.startswith("int") for k in kinds)
        return _without(Cells(NUMBERS, numbers, dtype=dtype, integral=integral), na)
    if kinds and all(k.__name__ in ("timedelta", "Timedelta") for k in kinds):
        seconds = np.array([v.total_seconds() for v in distinct])
        return Cells(NUMBERS, _looked_up(seconds, codes, np.float64("nan")), dtype=dtype)
    if any(k in (bytes, bytearray, tuple, frozenset) for k in kinds):
        return Cells(OTHER, np.zeros(len(series), np.int64), dtype=dtype)
    return _tidy(codes.astype(np.int64), tuple(word_of(v) for v in distinct), dtype, na)


def _looked_up(distinct: np.ndarray, codes: np.ndarray, missing: Any) -> np.ndarray:
    return np.asarray(np.append(distinct, missing)[codes])


def word_of(value: Any) -> str:
    """Write a value the same way whatever dtype it came with: 3 and 3.0 as `3`, True as `True`."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    return str(value)


def _tidy(codes: np.ndarray, words: tuple[str, ...], dtype: str, na: Sequence[str]) -> Cells:
    """Turn empty and na words into missing cells, and join words that are written alike."""
    gone = {"", *na}
    if len(set(words)) == len(words) and not any(w in gone or w.isspace() for w in words):
        return Cells(WORDS, codes, words, dtype)
    index: dict[str, int] = {}
    to = [-1 if w in gone or w.isspace() else index.setdefault(w, len(index)) for w in words]
    return Cells(WORDS, np.array([*to, -1], np.int64)[codes], tuple(index), dtype)


def _without(cells: Cells, na: Sequence[str]) -> Cells:
    """Turn the numbers named in `na` into missing cells."""
    gone = []
    for word in na:
        try:
            gone.append(float(word))
        except ValueError:
            continue
    if not gone:
        return cells
    return dataclasses.replace(cells, values=np.where(np.isin(cells.values, gone), np.nan, cells.values))


def as_words(cells: Cells) -> Cells:
    """Return the column as words, as a declared category is read."""
    if cells.form in (WORDS, OTHER):
        return cells
    missing = cells.missing
    distinct, codes = np.unique(cells.values[~missing], return_inverse=True)
    out = np.full(len(cells), -1, np.int64)
    out[~missing] = codes
    return dataclasses.replace(cells, form=WORDS, values=out, words=tuple(word_of(v) for v in distinct))
