"""Which rows of which table train, choose and test: given, or cut from one table; with their provenance."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from trainwell.data import splits
from trainwell.data.cells import NUMBERS, OTHER, WORDS, Cells, as_words, cells_of
from trainwell.data.columns import DATE, NUMERIC, ColumnType, typed
from trainwell.data.equal_rows import kept_together
from trainwell.data.notes import Note, info, named, warning
from trainwell.data.numerals import date_format, number_format
from trainwell.data.read import Table, read_table
from trainwell.data.target import Target, classes_of, labels_for
from trainwell.values.errors import DataError, UsageError
from trainwell.values.task import REGRESSION, Task


@dataclasses.dataclass(frozen=True)
class Options:
    """What the user said about the columns and the parts; see `prepare_table`."""

    task: str | None = None
    group: str | None = None
    time: str | None = None
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    split_seed: int = 0
    drop: tuple[str, ...] = ()
    na: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    on_duplicates: str = "warn"
    metric: str | None = None

    def check(self, table: Table, target: str | None) -> None:
        """Refuse options that name what the table does not have, or that contradict each other.

        Raises:
            UsageError: names the option and suggests the nearest column.
        """
        if not target:
            raise UsageError(f"--target is needed: which column of {table.where} is to be learned?")
        named = {"--drop": self.drop, "--categorical": self.categorical, "--numeric": self.numeric}
        for option, names in {**named, "--group": (self.group,), "--time": (self.time,)}.items():
            for name in filter(None, names):
                table.column(name, option)
                if name == target:
                    raise UsageError(f"{option}: '{name}' is the target.")
        both = sorted(set(self.categorical) & set(self.numeric))
        if both:
            raise UsageError(f"'{both[0]}' is declared both --categorical and --numeric; keep one.")
        if self.group and self.time:
            raise UsageError("--group and --time exclude each other; choose one, or give --val and --test.")
        if self.on_duplicates not in ("warn", "remove"):
            raise UsageError(f"--on-duplicates must be warn or remove, got '{self.on_duplicates}'.")
        for fractions in ((self.val_fraction, 0.0), (0.0, self.test_fraction)):
            splits.check_fractions(*fractions)  # a part may be given: what is cut together is known later

    def ways(self) -> list[str]:
        """Return the options given that say how to cut a table."""
        return [f"--{n}" for n in ("group", "time") if getattr(self, n)]


@dataclasses.dataclass(frozen=True)
class Parts:
    """The rows of each part.

    Args:
        tables, rows, labels: per part its table, the positions of its rows there, and their targets.
        made: how each part was made.
        notes: what is to be said about it.
    """

    tables: dict[str, Table]
    rows: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    made: dict[str, dict[str, Any]]
    notes: tuple[Note, ...] = ()

    def keep(self, kept: np.ndarray) -> Parts:
        """Return the parts with only these rows of the training part, (N,) bool."""
        rows = {**self.rows, "train": self.rows["train"][kept]}
        return dataclasses.replace(
            self, rows=rows, labels={**self.labels, "train": self.labels["train"][kept]}
        )


def make_parts(
    table: Table, source: dict[str, Cells], target: str, found: Target, val: Any, test: Any, options: Options
) -> Parts:
    """Take the parts that are given whole and cut the others from the table, whose cells are `source`.

    Raises:
        DataError: the validation part would be empty, or a given one does not fit the task.
    """
    given = {n: read_table(s, target) for n, s in (("val", val), ("test", test)) if s is not None}
    shares = {
        "val": 0.0 if "val" in given else options.val_fraction,
        "test": 0.0 if given.keys() & {"val", "test"} else options.test_fraction,
    }
    splits.check_fractions(shares["val"], shares["test"])
    notes = []
    if "val" in given and "test" not in given:
        notes.append(
            info("no_test", "--val without --test: the table trains whole and there is no test part")
        )
    if not any(shares.values()):
        notes += [info("ignored", f"{o} decides nothing here: the parts are given") for o in options.ways()]
    cut, kind, said = _cut(table, source, found, shares["val"], shares["test"], options)
    notes += said
    shares["train"] = 1 - sum(shares.values())
    tables: dict[str, Table] = {}
    rows: dict[str, np.ndarray] = {}
    labels: dict[str, np.ndarray] = {}
    made: dict[str, dict[str, Any]] = {}
    for name in ("train", "val", "test"):
        if name in given:
            tables[name], rows[name] = given[name], np.arange(len(given[name]))
            labels[name] = _given_labels(given[name], found, target, options, f"--{name}")
            made[name] = {"source": given[name].where, "kind": "given"}
        elif len(cut[name]):
            tables[name], rows[name], labels[name] = table, cut[name], found.values[cut[name]]
            made[name] = {"source": table.where, "kind": kind, "fraction": round(shares[name], 12)}
    if "val" not in tables:
        raise DataError(
            f"{table.where}: the validation part is empty ({len(table)} rows, --val-fraction "
            f"{options.val_fraction:g}). Give --val or a larger fraction: without it nothing tells when to "
            "stop."
        )
    if options.group:
        notes += _shared_groups(tables, options.group, options.na)
    return Parts(tables, rows, labels, made, tuple(notes))


def _shared_groups(tables: dict[str, Table], group: str, na: Sequence[str]) -> list[Note]:
    """Warn of groups that stand in the training table and in a part that was given."""
    known = {
        n: set(as_words(cells_of(t.columns[group], na)).words)
        for n, t in tables.items()
        if group in t.columns
    }
    notes = []
    for name in ("val", "test"):
        both = known["train"] & known.get(name, set()) if tables.get(name) is not tables["train"] else set()
        if both:
            said = f"{len(both)} values of '{group}' stand in the training table and in the {name} part"
            notes.append(warning("shared_groups", f"{said}: {named(sorted(both), 3)}", group))
    return notes


def _given_labels(table: Table, found: Target, target: str, options: Options, option: str) -> np.ndarray:
    table.column(target, option)
    task = Task(found.kind, () if found.kind == REGRESSION else classes_of(found.values))
    return labels_for(task, table, target, options.na)


def _cut(
    table: Table, source: dict[str, Cells], found: Target, val: float, test: float, options: Options
) -> tuple[splits.Rows, str, list[Note]]:
    """Cut these shares from a table by time, by group or at random; return rows, the name of the way, notes."""
    if val == 0 and test == 0:
        none = np.empty(0, np.int64)
        return {"train": np.arange(len(table)), "val": none, "test": none}, "whole", []
    if options.time:
        times = _moments_of(table, options.time, options.na)
        return splits.by_time(times, val, test), f"time: {options.time}", []
    if found.kind == REGRESSION:
        strata, kind = splits.quantile_strata(found.values), "random, stratified by quantile"
    else:
        index = {c: i for i, c in enumerate(classes_of(found.values))}
        strata, kind = np.array([index[v] for v in found.values.tolist()]), "random, stratified by class"
    seed = options.split_seed
    if options.group:
        groups = as_words(_complete(table, options.group, options.na, "--group")).values
        return splits.by_group(groups, strata, val, test, seed), f"group: {options.group}", []
    features = {n: c for n, c in source.items() if n not in options.drop}
    classes = np.zeros(len(table), np.int64) if found.kind == REGRESSION else strata
    declared = {*options.categorical, *options.numeric}
    equal, notes = kept_together(features, declared, classes, len(table) * min(f for f in (val, test) if f))
    if equal is None:
        return splits.stratified(strata, val, test, seed), kind, notes
    return splits.stratified_together(strata, equal, val, test, seed), f"{kind}, equal rows together", notes


def _complete(table: Table, name: str, na: Sequence[str], option: str) -> Cells:
    """Return the cells of a column that must have no missing one."""
    cells = cells_of(table.column(name, option), na)
    if cells.form == OTHER:
        raise DataError(f"{table.where}, column '{name}': {option} cannot use {cells.dtype} values.")
    if cells.missing.any():
        raise DataError(
            f"{table.where}, {table.row(int(np.argmax(cells.missing)))}, column '{name}': {option} needs a "
            "value in "
            f"every row ({cells.missing.sum()} are missing). Remove these rows."
        )
    return cells


def _moments_of(table: Table, name: str, na: Sequence[str]) -> np.ndarray:
    """Return the time of every row as numbers that can be ordered."""
    cells = _complete(table, name, na, "--time")
    if cells.form == WORDS:
        written, share = number_format(cells.words, cells.counts())
        if share == 1:
            kind = ColumnType(name, NUMERIC, written)
        else:
            kind = ColumnType(name, DATE, date_format(cells.words, cells.counts())[0])
        cells = typed(kind, cells, table)
    return cells.values if cells.form == NUMBERS else cells.values.astype(np.int64)
