"""From a source to a table that is ready for training; every check comes before the first step."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from trainwell.data.cells import NUMBERS, WORDS, Cells, cells_of
from trainwell.data.checks import class_notes, column_notes, part_notes
from trainwell.data.columns import CATEGORY, DATE, NUMERIC, ColumnType, infer, typed
from trainwell.data.encoders import TREND_PARTS, Encoder, fit_encoder
from trainwell.data.fingerprint import fingerprint
from trainwell.data.notes import Note, info
from trainwell.data.parts import Options, Parts, make_parts
from trainwell.data.read import read_table
from trainwell.data.suspicion import duplicates, leaks, row_hashes
from trainwell.data.table import Part, TableData
from trainwell.data.target import Target, encode_target, make_task, read_target, task_notes
from trainwell.data.transform import TableTransform
from trainwell.values.errors import DataError
from trainwell.values.task import REGRESSION

CellsByPart = dict[str, dict[str, Cells]]


def prepare_table(
    source: Any,
    target: str | None = None,
    *,
    val: Any = None,
    test: Any = None,
    task: str | None = None,
    group: str | None = None,
    time: str | None = None,
    val_fraction: float = 0.15,
    test_fraction: float = 0.15,
    split_seed: int = 0,
    drop: Sequence[str] = (),
    na: Sequence[str] = (),
    categorical: Sequence[str] = (),
    numeric: Sequence[str] = (),
    on_duplicates: str = "warn",
    metric: str | None = None,
) -> TableData:
    """Read a table, infer columns and task, split it, check it, and fit the transform on the training part.

    Args:
        source, val, test: a path, a pandas or polars frame, or arrays (X, y). A part that is given is taken
            whole; with `val` and no `test` there is no test part.
        target: name of the target column; `None` for arrays.
        task: `binary`, `multiclass` or `regression`; inferred when `None`.
        group: column whose values must not stand in two parts.
        time: column by which the latest rows test and those before choose.
        split_seed: decides the parts and nothing else.
        drop: columns to leave out.
        na: words and numbers that stand for missing cells.
        categorical, numeric: columns whose kind is declared.
        on_duplicates: `warn`, or `remove` the training rows whose features stand in another part.
        metric: the primary metric; accuracy or rmse when `None`.
    Raises:
        UsageError: an option names what does not exist.
        DataError: the data are at fault; names file, row and column.
    """
    options = Options(
        task, group, time, val_fraction, test_fraction, split_seed, _names(drop), _names(na),
        _names(categorical), _names(numeric), on_duplicates, metric,
    )  # fmt: skip
    table = read_table(source, target)
    target = target or table.target
    options.check(table, target)
    found = read_target(table, target, options.na, task)
    cells = {n: cells_of(c, options.na) for n, c in table.columns.items() if n != target}
    parts = make_parts(table, cells, target, found, val, test, options)
    return _prepare(parts, cells, target, found, options)


def _names(given: Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(str(n) for n in given)


def _prepare(
    parts: Parts, source: dict[str, Cells], target: str, found: Target, options: Options
) -> TableData:
    columns = _infer(source, parts, target, found, options)
    encoders, cells = _encode(columns, source, parts, target, options)
    task = make_task(found, parts.rows["train"], options.metric)
    kept, notes = _doubles(cells, parts, options)
    removed = int((~kept).sum())
    if removed:
        parts = parts.keep(kept)
        encoders, cells = _encode(columns, source, parts, target, options)
        task = make_task(found, parts.rows["train"], options.metric)
    transform = TableTransform(tuple(encoders), target, options.na)
    made = {
        name: Part(
            transform.encode(cells[name]),
            encode_target(task, parts.labels[name], own, target, parts.rows[name]),
            parts.rows[name],
        )
        for name, own in parts.tables.items()
    }
    numbers = parts.labels["train"] if task.kind == REGRESSION else made["train"].y
    notes = [
        *parts.notes,
        *task_notes(task, found, target),
        *column_notes(columns, parts.tables, options),
        *part_notes(columns, cells["train"]),
        *class_notes(task, made, parts.tables, target),
        *notes,
        *leaks(cells["train"], numbers, len(task.classes), options.split_seed),
    ]
    return TableData(
        task, transform.spec, transform, made, _provenance(made, parts, target, options, removed),
        _fingerprint(source, parts, target, options), tuple(notes), tuple(columns), cells, dict(parts.labels),
    )  # fmt: skip


def _infer(
    source: dict[str, Cells], parts: Parts, target: str, found: Target, options: Options
) -> list[ColumnType]:
    """Find the kind of every column, on the rows of the training part."""
    declared = {**dict.fromkeys(options.categorical, CATEGORY), **dict.fromkeys(options.numeric, NUMERIC)}
    columns = []
    for name in parts.tables["train"].columns:
        if name == target:
            columns.append(ColumnType(name, "target", distinct=len(set(found.values.tolist()))))
            continue
        column = infer(name, source[name], parts.rows["train"], declared.get(name, ""))
        if name in options.drop:
            column = dataclasses.replace(column, kind="dropped", remark="")
        elif name == options.group and name not in declared:
            column = dataclasses.replace(column, kind="group", remark="")
        elif name == options.time and name not in declared and column.kind != DATE:
            column = dataclasses.replace(column, kind="time", remark="")
        columns.append(column)
    return columns


def _encode(
    columns: list[ColumnType], source: dict[str, Cells], parts: Parts, target: str, options: Options
) -> tuple[list[Encoder], CellsByPart]:
    """Fit the encoders on the training rows and read the cells of every part."""
    table = parts.tables["train"]
    whole = {c.name: typed(c, source[c.name], table) for c in columns if c.is_feature}
    encoders = []
    for column in (c for c in columns if c.is_feature):
        without = TREND_PARTS if column.name == options.time else ()
        encoder = fit_encoder(column, whole[column.name].take(parts.rows["train"]), without)
        if encoder.fate:
            encoders.append(encoder)
    if not encoders:
        kinds = ", ".join(f"{c.name}: {c.kind}" for c in columns[:8] if c.name != target)
        if not kinds:
            raise DataError(
                f"{table.where} has no column but the target '{target}': there is nothing to learn from."
            )
        raise DataError(
            f"{table.where} has no column to learn from ({kinds}). See --numeric and --categorical."
        )
    reader = TableTransform(tuple(encoders), target, options.na)
    cells: CellsByPart = {}
    for part, own_table in parts.tables.items():
        own = whole if own_table is table else reader.cells(own_table)
        cells[part] = {e.type.name: own[e.type.name].take(parts.rows[part]) for e in encoders}
    return encoders, cells


def _doubles(cells: CellsByPart, parts: Parts, options: Options) -> tuple[np.ndarray, list[Note]]:
    """Find rows that stand in two parts; return which rows train, and what is to be said."""
    hashes = {part: row_hashes(own) for part, own in cells.items()}
    if options.on_duplicates == "warn":
        both = {p: row_hashes({"x": _bits(h), "y": _label_cells(parts.labels[p])}) for p, h in hashes.items()}
        told = any(n.code == "equal_rows" for n in parts.notes)  # of a table whose rows are equal by nature
        own = {p for p, t in parts.tables.items() if told and p != "train" and t is parts.tables["train"]}
        looked = {p: h for p, h in hashes.items() if p not in own}
        return np.ones(len(hashes["train"]), bool), duplicates(looked, both, parts.tables, parts.rows)
    kept = ~np.isin(hashes["train"], np.concatenate([h for part, h in hashes.items() if part != "train"]))
    if not kept.any():
        raise DataError("every training row stands in another part too; none would be left to train on.")
    removed = int((~kept).sum())
    said = f"{removed} training rows removed: their features stand in another part too"
    return kept, [info("duplicates", said)] if removed else []


def _provenance(
    made: dict[str, Part], parts: Parts, target: str, options: Options, removed: int
) -> dict[str, Any]:
    return {
        "target": target,
        "split_seed": options.split_seed,
        "group": options.group,
        "time": options.time,
        "removed_duplicates": removed,
        "parts": {name: {**parts.made[name], "rows": len(part)} for name, part in made.items()},
    }


def _fingerprint(source: dict[str, Cells], parts: Parts, target: str, options: Options) -> str:
    columns, table = dict(source), parts.tables["train"]
    for part, own in parts.tables.items():
        columns[f"target of {part}"] = _label_cells(parts.labels[part])
        if own is not table:
            columns |= {
                f"{part}: {n}": cells_of(c, options.na) for n, c in own.columns.items() if n != target
            }
    return fingerprint({"target": target}, columns, {f"{p} rows": rows for p, rows in parts.rows.items()})


def _bits(hashes: np.ndarray) -> Cells:
    return Cells("moments", hashes.view(np.int64).astype("datetime64[s]"))


def _label_cells(labels: np.ndarray) -> Cells:
    """Return labels as cells, whatever they are."""
    if labels.dtype.kind == "f":
        return Cells(NUMBERS, labels)
    index: dict[Any, int] = {}
    codes = np.array([index.setdefault(v, len(index)) for v in labels.tolist()], np.int64)
    return Cells(WORDS, codes, tuple(str(v) for v in index))
