"""The transform of a table into the arrays of a model: fitted on the training part, saved as plain JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from trainwell.data.cells import Cells, cells_of
from trainwell.data.columns import ColumnType, typed
from trainwell.data.encoders import CodeColumn, DateColumn, Encoder, NumericColumn, OneHotColumn
from trainwell.data.read import Table, read_table
from trainwell.values.errors import DataError, did_you_mean
from trainwell.values.task import InputSpec, Task

FORMAT = 1
ENCODERS: dict[str, type[Encoder]] = {
    "numeric": NumericColumn, "date": DateColumn, "onehot": OneHotColumn, "code": CodeColumn,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class TableTransform:
    """What turns a table into `(floats,)` or `(floats, codes)`.

    Args:
        columns: the fitted encoder of each feature.
        target: name of the target column.
        na: words that stand for missing cells.
    """

    columns: tuple[Encoder, ...]
    target: str = ""
    na: tuple[str, ...] = ()

    @property
    def spec(self) -> InputSpec:
        """The shape of one row as the model sees it."""
        numbers, onehot, _ = self.feature_names()
        sizes = tuple(c.cardinality for c in self.columns if isinstance(c, CodeColumn))
        return InputSpec(len(numbers), len(onehot), sizes)

    def feature_names(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Return the names of the scaled numbers, the one-hot columns and the codes, in their order."""
        names = [c.names() for c in self.columns]
        numbers, onehot, codes = (tuple(n for column in names for n in column[i]) for i in range(3))
        return numbers, onehot, codes

    def apply(self, source: Any) -> tuple[np.ndarray, ...]:
        """Transform a path, a frame or X; columns that are not features are passed over.

        Shapes: returns float32 (N, F), and int64 (N, C) if there are codes.
        Raises:
            DataError: a feature is missing, or holds text where numbers were; names file, column and row.
        """
        table = read_table(source)
        return self.encode(self.cells(table))

    def batches(self, source: Any) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield the rows of a source, here in one block."""
        yield self.apply(source)

    def labelled(self, source: Any, task: Task) -> Iterator[tuple[tuple[np.ndarray, ...], np.ndarray]]:
        """Yield the rows of a labelled source with their encoded targets, here in one block."""
        from trainwell.data.table import load_part

        part = load_part(source, self, task)
        yield part.x, part.y

    def cells(self, table: Table) -> dict[str, Cells]:
        """Return the typed cells of every feature of a table."""
        self._check_columns(table)
        return {
            c.type.name: typed(c.type, cells_of(table.columns[c.type.name], self.na), table)
            for c in self.columns
        }

    def encode(self, cells: Mapping[str, Cells]) -> tuple[np.ndarray, ...]:
        """Turn typed cells into the arrays of the model."""
        encoded = [c.encode(cells[c.type.name]) for c in self.columns]
        floats = [a for e in encoded for a in e.numbers] + [a for e in encoded for a in e.onehot]
        codes = [a for e in encoded for a in e.codes]
        rows = len(next(iter(cells.values())))
        matrix = np.empty((rows, len(floats)), np.float32)
        for i, column in enumerate(floats):
            matrix[:, i] = column
        return (matrix, np.stack(codes, 1)) if codes else (matrix,)

    def _check_columns(self, table: Table) -> None:
        gone = [c.type.name for c in self.columns if c.type.name not in table.columns]
        if gone:
            rest = set(table.columns) - {c.type.name for c in self.columns} - {self.target}
            hint = did_you_mean(gone[0], rest)
            raise DataError(
                f"{table.where}: {len(gone)} of the {len(self.columns)} columns that the model was trained on are "
                f"missing: {', '.join(gone[:8])}{f' and {len(gone) - 8} more' if len(gone) > 8 else ''}.{hint}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data (JSON); floats come back exactly."""
        names = {kind: name for name, kind in ENCODERS.items()}
        columns = [{"encoder": names[type(c)], **dataclasses.asdict(c)} for c in self.columns]
        return {"format": FORMAT, "target": self.target, "na": list(self.na), "columns": columns}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "transform.json") -> TableTransform:
        """Make the transform that `to_dict` described."""
        if data.get("format", FORMAT) > FORMAT:
            raise DataError(f"{where}: written by a newer trainwell; update to read it.")
        columns = [ENCODERS[c["encoder"]].from_dict(ColumnType(**c["type"]), c) for c in data["columns"]]
        return cls(tuple(columns), data["target"], tuple(data["na"]))
