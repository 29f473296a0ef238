"""A table made ready for training: read, typed, split, checked and transformed."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from trainwell.data.cells import Cells
from trainwell.data.columns import ColumnType
from trainwell.data.notes import Note
from trainwell.data.read import read_table
from trainwell.data.target import encode_target, labels_for
from trainwell.data.transform import TableTransform
from trainwell.values.errors import UsageError
from trainwell.values.task import InputSpec, Task

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Part:
    """The rows of one part.

    Args:
        x: `(floats,)` or `(floats, codes)`: float32 (N, F), int64 (N, C).
        y: class indices int64 (N,), or standardised numbers float32 (N, 1).
        index: positions of the rows in their source, (N,).
    """

    x: tuple[np.ndarray, ...]
    y: np.ndarray
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.y)


@dataclasses.dataclass(frozen=True)
class TableData:
    """A table that is ready to be trained on.

    Args:
        task, spec: what is learned, and the shape of one row.
        transform: fitted on the training part; turns new tables into `x`.
        splits: `train`, `val` and, unless there is none, `test`.
        provenance: how each part was made; plain data.
        fingerprint: a hash of columns, dtypes, values, target and the rows of each part.
        notes: everything that was inferred, dropped or suspected.
        columns: the kind of every column of the source, features or not, in its order.
        cells: typed cells of the features per part, before the transform.
        labels: labels or numbers of the target per part, as given.
    """

    task: Task
    spec: InputSpec
    transform: TableTransform
    splits: dict[str, Part]
    provenance: dict[str, Any]
    fingerprint: str
    notes: tuple[Note, ...]
    columns: tuple[ColumnType, ...]
    cells: dict[str, dict[str, Cells]]
    labels: dict[str, np.ndarray]

    @property
    def target(self) -> str:
        """The name of the target column."""
        return self.transform.target

    @functools.cached_property
    def raw(self) -> dict[str, tuple[pd.DataFrame, np.ndarray]]:
        """The features before the transform and the target, per part, for other learners.

        Numbers are float64, categories pandas categories of the training part, dates days since 1970. Targets
        are class indices, or numbers as given.
        """
        return {part: (_raw_frame(self, part), _raw_target(self, part)) for part in self.splits}

    @property
    def warnings(self) -> tuple[Note, ...]:
        """The notes that the user should act on."""
        return tuple(n for n in self.notes if n.severity == "warning")


def _raw_frame(data: TableData, part: str) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {}
    for encoder in data.transform.columns:
        name = encoder.type.name
        cells, train = data.cells[part][name], data.cells["train"][name]
        if cells.form == "numbers":
            columns[name] = cells.values
        elif cells.form == "moments":
            days = cells.values.astype(np.int64) / 86400
            columns[name] = np.where(cells.missing, np.nan, days)
        else:
            known = sorted(w for w, n in zip(train.words, train.counts().tolist(), strict=True) if n)
            words = np.array([*cells.words, None], object)[cells.values]
            columns[name] = pd.Categorical(words, categories=pd.Index(known, dtype=object))
    return pd.DataFrame(columns)


def _raw_target(data: TableData, part: str) -> np.ndarray:
    if data.task.is_classification:
        return data.splits[part].y
    return data.labels[part].astype(np.float64)


def load_part(source: Any, transform: TableTransform, task: Task) -> Part:
    """Make a part of another labelled table, for a transform and a task that are fixed already.

    Raises:
        UsageError: there is no such file or no target column.
        DataError: the table does not fit; names file, row and column.
    """
    table = read_table(source, transform.target)
    if transform.target not in table.columns:
        few = ", ".join(list(table.columns)[:12]) + (", ..." if len(table.columns) > 12 else "")
        raise UsageError(
            f"{table.where} has no column '{transform.target}' (it has: {few}). It is the target, without which nothing "
            f"can be scored; `trainwell predict` needs none."
        )
    labels = labels_for(task, table, transform.target, transform.na)
    rows = np.arange(len(table))
    y = encode_target(task, labels, table, transform.target, rows)
    return Part(transform.encode(transform.cells(table)), y, rows)


def column_rows(data: TableData) -> list[tuple[str, str, str, str, str]]:
    """Return the table to print: column, kind, missing share, distinct values, what becomes of it."""
    fates = {e.type.name: e.fate for e in data.transform.columns}
    rows = []
    for c in data.columns:
        missing = f"{c.missing:.1%}" if c.missing else "-"
        fate = fates.get(c.name) or ("target" if c.kind == "target" else "left out")
        rows.append((c.name, c.kind, missing, str(c.distinct), fate))
    return rows


def describe(data: TableData, most: int = 40) -> list[str]:
    """Return the table of columns as aligned lines; beyond `most` columns the rest is counted by kind."""
    rows = [("column", "kind", "missing", "distinct", "becomes"), *column_rows(data)]
    shown = [tuple(cell if len(cell) <= 28 else cell[:27] + "…" for cell in row) for row in rows[: most + 1]]
    widths = [max(len(row[i]) for row in shown) for i in range(4)]
    lines = [
        f"{r[0]:{widths[0]}}  {r[1]:{widths[1]}}  {r[2]:>{widths[2]}}  {r[3]:>{widths[3]}}  {r[4]}"
        for r in shown
    ]
    counts: dict[str, int] = {}
    for row in rows[most + 1 :]:
        counts[row[1]] = counts.get(row[1], 0) + 1
    if counts:
        lines.append(f"and {sum(counts.values())} more: " + ", ".join(f"{n} {k}" for k, n in counts.items()))
    return lines
