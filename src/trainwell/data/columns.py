"""What kind of column each one is, and its cells read as that kind."""

from __future__ import annotations

import dataclasses
import re
import shlex

import numpy as np

from trainwell.data.cells import MOMENTS, NUMBERS, OTHER, WORDS, Cells, as_words
from trainwell.data.numerals import date_format, number_format, parse_dates, parse_numbers
from trainwell.data.read import Table
from trainwell.values.errors import DataError

NUMERIC, BOOLEAN, CATEGORY, DATE = "numeric", "boolean", "category", "date"
FEATURE_KINDS = (NUMERIC, BOOLEAN, CATEGORY, DATE)
MOSTLY = 0.95
"""Share of the cells that must read as numbers (dates) for the rest to be an error, not categories."""
NEARLY_DISTINCT = 0.95
FEW_ROWS = 20
"""Below this many rows a run of integers may well be a measurement."""
TEXT_WORDS, TEXT_CHARS = 5, 40
"""Mean words or characters of a cell above which a mostly distinct column is prose."""
UUID = re.compile(r"\{?[0-9a-fA-F]{8}(-?)([0-9a-fA-F]{4}\1){3}[0-9a-fA-F]{12}\}?")
ID_NAME = re.compile(
    r"(^|[\W_])(id|uuid|guid|key)$|(Id|ID|Uuid|UUID|Guid|GUID)$|^(ID|Unnamed: \d+|unnamed_\d+)$"
)
REMARKS = {
    "1.234,5": "the comma is read as the decimal point",
    "1,234.5": "commas are read as parting thousands",
}
"""What is said of numbers that are written so."""
YES_NO = frozenset({"true", "false", "yes", "no", "t", "f", "y", "n"})


@dataclasses.dataclass(frozen=True)
class ColumnType:
    """What a column was found to be, from the rows of the training part.

    Args:
        kind: `numeric`, `boolean`, `category`, `date`, or why it is left out: `constant`, `identifier`,
            `text`, `empty`, `unsupported`.
        written: how numbers or dates are written in it.
        missing: share of missing cells.
        distinct: distinct values.
        remark: what the user should know, e.g. an ambiguity; empty when there is nothing.
    """

    name: str
    kind: str
    written: str = ""
    missing: float = 0.0
    distinct: int = 0
    remark: str = ""

    @property
    def is_feature(self) -> bool:
        return self.kind in FEATURE_KINDS


def infer(name: str, cells: Cells, rows: np.ndarray, declared: str = "") -> ColumnType:
    """Find the kind of a column.

    Args:
        rows: the rows of the training part, ascending; the kind is judged on these alone.
        declared: `numeric` or `category` when the user said so.
    """
    train = cells.take(rows)
    gone = train.missing
    found = ColumnType(name, "unsupported", missing=float(gone.mean()) if len(gone) else 0.0)
    if train.form == OTHER:
        return dataclasses.replace(found, remark="its cells are neither numbers, text nor dates")
    if train.form == WORDS:
        found = dataclasses.replace(found, distinct=int((train.counts() > 0).sum()))
    else:
        found = dataclasses.replace(found, distinct=len(np.unique(train.values[~gone])))
    if found.distinct == 0:
        return dataclasses.replace(found, kind="empty")
    if found.distinct == 1 and not gone.any():
        return dataclasses.replace(found, kind="constant")
    if declared == CATEGORY:
        return dataclasses.replace(found, kind=CATEGORY)
    if train.form == MOMENTS:
        return dataclasses.replace(found, kind=DATE)
    if train.form == NUMBERS:
        counts = not declared and _is_counter(train, found, len(cells))
        return dataclasses.replace(found, kind="identifier" if counts else NUMERIC, written="plain")
    return _infer_words(found, train, declared)


def _is_counter(train: Cells, found: ColumnType, num_rows: int) -> bool:
    """Whether distinct whole numbers count the rows: without gaps, ascending in the file, or called an id."""
    values = train.values
    if len(values) < FEW_ROWS or found.distinct != len(values) or not (values == np.floor(values)).all():
        return False
    if not train.integral and not ID_NAME.search(found.name):
        return False
    dense = values.max() - values.min() < 1.1 * num_rows
    steps = np.diff(values)
    ordered = bool((steps > 0).all() or (steps < 0).all())
    return bool(dense or ordered or ID_NAME.search(found.name))


def _infer_words(found: ColumnType, train: Cells, declared: str) -> ColumnType:
    counts = train.counts()
    words = tuple(w for w, n in zip(train.words, counts, strict=True) if n)
    counts = counts[counts > 0]
    if declared == NUMERIC:
        written = "plain" if _is_bool(train) else number_format(words, counts)[0]
        return dataclasses.replace(found, kind=NUMERIC, written=written)
    if len(words) <= 2 and {w.lower() for w in words} <= YES_NO:
        return dataclasses.replace(found, kind=BOOLEAN)
    written, share = number_format(words, counts)
    zip_codes = any(len(w) > 1 and w[0] == "0" and w.isdigit() for w in words)
    if share >= MOSTLY and not zip_codes:
        return _numeric_words(found, words, written)
    date, date_share, ambiguous = date_format(words, counts)
    if date_share >= MOSTLY:
        remark = f"day and month cannot be told apart; read as {date}" if ambiguous else ""
        return dataclasses.replace(found, kind=DATE, written=date, remark=remark)
    remark = ""
    if max(share, date_share) >= 0.5 and not zip_codes:
        what = "numbers" if share >= date_share else "dates"
        odd = _odd_word(words, counts, written if what == "numbers" else date, what)
        most = max(share, date_share)
        remark = f"{most:.0%} of it are {what}, but not e.g. '{odd}'; if that means missing: --na '{odd}'"
    return dataclasses.replace(found, kind=_kind_of_words(found, words, counts), remark=remark)


def _numeric_words(found: ColumnType, words: tuple[str, ...], written: str) -> ColumnType:
    remark = "" if written == "plain" else REMARKS.get(written, f"numbers written like {written}")
    if written == "1,234.5" and not np.isnan(parse_numbers(words, "1.234,5")).any():
        remark = "',' is read as the separator of thousands; if it is a decimal comma, write a point instead"
    return dataclasses.replace(found, kind=NUMERIC, written=written, remark=remark)


def _kind_of_words(found: ColumnType, words: tuple[str, ...], counts: np.ndarray) -> str:
    """Tell categories from prose and from identifiers."""
    share = len(words) / counts.sum()
    if len(words) > 1 and all(UUID.fullmatch(w) for w in words):
        return "identifier"
    if share >= 0.5:
        mean_words = np.mean([w.count(" ") + 1 for w in words])
        if mean_words >= TEXT_WORDS or np.mean([len(w) for w in words]) >= TEXT_CHARS:
            return "text"
    return "identifier" if share >= NEARLY_DISTINCT and len(words) > 2 else CATEGORY


def _odd_word(words: tuple[str, ...], counts: np.ndarray, written: str, what: str) -> str:
    read = parse_numbers(words, written) if what == "numbers" else parse_dates(words, written)
    odd = np.flatnonzero(np.isnan(read) if what == "numbers" else np.isnat(read))
    return words[int(odd[np.argmax(counts[odd])])]


def _is_bool(cells: Cells) -> bool:
    return cells.words == ("False", "True") and cells.dtype.startswith("bool")


def typed(kind: ColumnType, cells: Cells, table: Table) -> Cells:
    """Read the cells as numbers, moments or words, as the kind asks.

    Raises:
        DataError: text among numbers or dates, or an infinite number; names file, column, row and how many.
    """
    if cells.form != OTHER and cells.missing.all():  # a dtype says nothing about cells that are not there
        cells = Cells(WORDS, np.full(len(cells), -1, np.int64))
    if kind.kind == NUMERIC:
        numbers = _as_numbers(kind, cells, table)
        endless = np.isinf(numbers.values)
        if endless.any():
            raise DataError(
                f"{_place(kind.name, table, endless)}: the number is infinite ({endless.sum()} such "
                f"cell{'s' if endless.sum() > 1 else ''}). Remove the rows, or declare it missing: --na inf"
            )
        return numbers
    if kind.kind == DATE:
        return _as_moments(kind, cells, table)
    if cells.form == OTHER:
        raise DataError(
            f"{table.where}, column '{kind.name}': expected categories, found {cells.dtype} values."
        )
    return as_words(cells)


def _place(name: str, table: Table, bad: np.ndarray) -> str:
    return f"{table.where}, {table.row(int(np.argmax(bad)))}, column '{name}'"


def _as_numbers(kind: ColumnType, cells: Cells, table: Table) -> Cells:
    if cells.form == NUMBERS:
        return cells
    if cells.form != WORDS:
        what = "dates" if cells.form == MOMENTS else f"{cells.dtype} values"
        raise DataError(f"{table.where}, column '{kind.name}': expected numbers, found {what}.")
    if _is_bool(cells):
        return Cells(NUMBERS, np.where(cells.values < 0, np.nan, cells.values.astype(np.float64)))
    numbers = np.append(parse_numbers(cells.words, kind.written or "plain"), np.nan)
    _refuse_words(kind, cells, np.isnan(numbers), table, "a number")
    return Cells(NUMBERS, numbers[cells.values])


def _as_moments(kind: ColumnType, cells: Cells, table: Table) -> Cells:
    if cells.form == MOMENTS:
        return cells
    if cells.form != WORDS:
        what = "numbers" if cells.form == NUMBERS else f"{cells.dtype} values"
        raise DataError(f"{table.where}, column '{kind.name}': expected dates, found {what}.")
    written = kind.written or "ISO8601"
    moments = np.append(parse_dates(cells.words, written), np.datetime64("NaT", "s"))
    _refuse_words(kind, cells, np.isnat(moments), table, f"a date ({written})")
    return Cells(MOMENTS, moments[cells.values])


def _refuse_words(kind: ColumnType, cells: Cells, bad: np.ndarray, table: Table, expected: str) -> None:
    """Refuse the words that could not be read."""
    wrong = bad[cells.values] & (cells.values >= 0)
    if not wrong.any():
        return
    word = cells.words[cells.values[np.argmax(wrong)]]
    said = (
        f"{_place(kind.name, table, wrong)}: expected {expected}, got '{word}' "
        f"({wrong.sum()} of {len(wrong)} cells hold such text)."
    )
    written, share = number_format(cells.words, cells.counts())
    if kind.kind == NUMERIC and share == 1:
        raise DataError(
            f"{said} These numbers are written like {written}, those of the training rows {_like(kind.written)}: "
            "write both alike."
        )
    mend = f"If it stands for missing: empty the cell, or fit with --na {shlex.quote(word)}"
    if kind.kind == NUMERIC:
        mend += f"; if the column holds categories: fit with --categorical {shlex.quote(kind.name)}"
    raise DataError(f"{said} {mend}.")


def _like(written: str) -> str:
    return f"like {written}" if written and written != "plain" else "with a decimal point and nothing else"
