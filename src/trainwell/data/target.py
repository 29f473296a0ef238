"""The target column: which task it asks for, and its values as the model learns them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from trainwell.data.cells import MOMENTS, NUMBERS, OTHER, WORDS, Cells, as_words, cells_of
from trainwell.data.columns import MOSTLY
from trainwell.data.notes import Note, info
from trainwell.data.numerals import date_format, number_format, parse_numbers
from trainwell.data.read import Table
from trainwell.values.errors import DataError, UsageError, did_you_mean
from trainwell.values.task import BINARY, KINDS, MULTICLASS, REGRESSION, Task

MAX_INTEGER_CLASSES = 20
METRIC_SIGNS = {
    "accuracy": 1, "balanced_accuracy": 1, "f1_macro": 1, "roc_auc": 1, "log_loss": -1,
    "rmse": -1, "mae": -1, "r2": 1,
}  # fmt: skip
"""The metrics that a task may name, and whether larger is better."""
LARGEST = 1e100
"""Sums of squares of larger targets are lost in double precision."""
ASKED = "as asked for"
OF_NUMBERS = ("rmse", "mae", "r2")


@dataclasses.dataclass(frozen=True)
class Target:
    """The target of all rows of one table.

    Args:
        values: class labels as objects, or float64 numbers.
        kind, reason: the task that they ask for, and why.
    """

    values: np.ndarray
    kind: str
    reason: str


def read_target(
    table: Table, name: str, na: Sequence[str], task: str | None, option: str = "--target"
) -> Target:
    """Read the target column and decide the task.

    Raises:
        UsageError: there is no such column, or the task has no such name.
        DataError: missing or infinite targets, one class only, or values that do not fit the task.
    """
    if task is not None and task not in KINDS:
        raise UsageError(
            f"--task must be one of {', '.join(KINDS)}, got '{task}'.{did_you_mean(task, KINDS)}"
        )
    cells = cells_of_target(table, name, na, option)
    target = _infer(cells)
    if task is None or task == target.kind:
        checked = target
    else:
        checked = _override(cells, target, task, table, name)
    return _check_values(checked, table, name)


def cells_of_target(table: Table, name: str, na: Sequence[str], option: str = "--target") -> Cells:
    """Return the cells of a complete, finite target; numbers that are written as text are read."""
    cells = cells_of(table.column(name, option), na)
    if cells.form in (OTHER, MOMENTS):
        kind = "dates" if cells.form == MOMENTS else f"{cells.dtype} values"
        raise DataError(f"{table.where}: the target '{name}' holds {kind}; expected classes or numbers.")
    bad, what = cells.missing, "missing"
    if bad.all():
        raise DataError(
            f"{table.where}: the target '{name}' has no value in any of the {len(bad)} rows. "
            "Name the column that holds what is to be learned, or fill it."
        )
    if cells.form == NUMBERS and not bad.any():
        bad, what = np.isinf(cells.values), "infinite"
        if not bad.any():
            bad, what = np.abs(cells.values) > LARGEST, f"larger than {LARGEST:g} in size"
    if bad.any():
        raise DataError(
            f"{table.where}, {table.row(int(np.argmax(bad)))}: the target '{name}' is {what} ({bad.sum()} of "
            f"{len(bad)} rows). Remove these rows: nothing can be learned from them."
        )
    return _numbers_in_text(cells, table, name)


def _numbers_in_text(cells: Cells, table: Table, name: str) -> Cells:
    """Read a target of many numbers that are written as text; refuse one that is mostly numbers."""
    if cells.form != WORDS or len(cells.words) <= MAX_INTEGER_CLASSES:
        return cells
    counts = cells.counts()
    written, share = number_format(cells.words, counts)
    if share < MOSTLY:
        return cells
    numbers = parse_numbers(cells.words, written)
    wrong = np.isnan(numbers)[cells.values]
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DataError(
            f"{table.where}, {table.row(first)}: the target '{name}' is text, "
            f"'{cells.words[cells.values[first]]}', where numbers were expected ({wrong.sum()} of "
            f"{len(wrong)} rows). Mend or remove these rows."
        )
    return Cells(NUMBERS, numbers[cells.values])


def _infer(cells: Cells) -> Target:
    if cells.form == WORDS:
        labels = np.array(cells.words, object)[cells.values]
        if cells.dtype.startswith("bool"):
            labels = np.array([False, True], object)[cells.values]
        elif cells.dtype.startswith(("category[int", "category[uint", "category[float")):
            labels = _labels(np.array(cells.words, np.float64))[cells.values]
        return Target(labels, *_classes_or_not(len(np.unique(cells.values)), "texts"))
    distinct = np.unique(cells.values)
    whole = bool((distinct == np.floor(distinct)).all())
    if len(distinct) <= 2:
        return Target(_labels(cells.values), *_classes_or_not(len(distinct), "values"))
    if cells.integral and len(distinct) <= MAX_INTEGER_CLASSES:
        return Target(_labels(cells.values), *_classes_or_not(len(distinct), "whole numbers"))
    why = f"more than {MAX_INTEGER_CLASSES} distinct whole numbers" if whole else "numbers with fractions"
    if whole and not cells.integral:
        why = f"floating-point numbers ({len(distinct)} distinct)"
    return Target(cells.values, REGRESSION, why)


def _classes_or_not(distinct: int, what: str) -> tuple[str, str]:
    return (BINARY if distinct <= 2 else MULTICLASS), f"{distinct} distinct {what}"


def _labels(values: np.ndarray) -> np.ndarray:
    """Return numbers as plain labels, whole ones as int."""
    plain: list[Any] = [int(v) if v == int(v) else float(v) for v in values.tolist()]
    return np.array([*plain, None], object)[:-1]


def _override(cells: Cells, found: Target, task: str, table: Table, name: str) -> Target:
    """Read the target as the task that the user asked for."""
    if task == REGRESSION:
        if cells.form != NUMBERS:
            words = number_format(cells.words, cells.counts())
            bad = np.isnan(parse_numbers(cells.words, words[0]))[cells.values]
            if cells.dtype.startswith("bool"):
                return Target(cells.values.astype(np.float64), task, ASKED)
            if bad.any():
                first = int(np.argmax(bad))
                raise DataError(
                    f"{table.where}, {table.row(first)}: --task regression needs numbers, but the target "
                    f"'{name}' is text, '{cells.words[cells.values[first]]}' ({bad.sum()} of {len(bad)} "
                    "rows). "
                    f"Leave --task out for {found.kind}."
                )
            return Target(parse_numbers(cells.words, words[0])[cells.values], task, ASKED)
        return Target(cells.values, task, ASKED)
    labels = _labels(cells.values) if cells.form == NUMBERS else found.values
    distinct = len(np.unique(cells.values))
    if task == BINARY and distinct > 2:
        raise DataError(
            f"{table.where}: --task binary needs two classes, but the target '{name}' has {distinct} "
            "distinct "
            f"values. Leave --task out for {found.kind}."
        )
    return Target(labels, task, ASKED)


def _check_values(target: Target, table: Table, name: str) -> Target:
    distinct = len(set(target.values.tolist()))
    if distinct < 2:
        only, is_word = target.values[0], isinstance(target.values[0], str)
        what = "class" if target.kind != REGRESSION and is_word else "value"
        if len(target.values) == 1:
            raise DataError(f"{table.where} has one row only: nothing can be learned from it.")
        raise DataError(
            f"{table.where}: the target '{name}' has one {what} only, {only!r}. There is nothing to learn; "
            "name another column or add rows."
        )
    if target.kind == MULTICLASS and distinct > 0.5 * len(target.values) and len(target.values) >= 20:
        raise DataError(
            f"{table.where}: the target '{name}' has {distinct} distinct values{_dates(target)} in "
            f"{len(target.values)} rows; classes must repeat. Name another column, or --task regression if they are "
            "numbers."
        )
    return target


def _dates(target: Target) -> str:
    """Return words for texts that are dates, which are no classes; the empty string for others."""
    texts = tuple(str(v) for v in target.values.tolist())
    return " (dates)" if date_format(texts, np.ones(len(texts), np.int64))[1] > MOSTLY else ""


def metric_of(metric: str | None, kind: str) -> tuple[str, int]:
    """Return the primary metric of a kind of task and its sign; accuracy or rmse when `None`.

    Raises:
        UsageError: the metric is unknown or does not fit the task.
    """
    metric = metric or ("rmse" if kind == REGRESSION else "accuracy")
    fits = [m for m in METRIC_SIGNS if (m in OF_NUMBERS) == (kind == REGRESSION)]
    if metric not in fits:
        hint = did_you_mean(metric, fits)
        raise UsageError(f"--metric must be one of {', '.join(fits)} for {kind}, got '{metric}'.{hint}")
    return metric, METRIC_SIGNS[metric]


def make_task(target: Target, train: np.ndarray, metric: str | None) -> Task:
    """Make the task from the targets of the training rows.

    Raises:
        UsageError: the metric is unknown or does not fit the task.
    """
    metric, sign = metric_of(metric, target.kind)
    values = target.values[train]
    if target.kind == REGRESSION:
        mean, scale = float(values.mean()), float(values.std())
        return Task(REGRESSION, mean=mean, scale=scale if scale > 0 else 1.0, metric=metric, metric_sign=sign)
    classes = classes_of(target.values)
    counts = dict.fromkeys(classes, 0)
    for value in values.tolist():
        counts[value] += 1
    classes = tuple(c for c in classes if counts[c])
    return Task(target.kind, classes, tuple(counts[c] for c in classes), metric=metric, metric_sign=sign)


def classes_of(values: np.ndarray) -> tuple[Any, ...]:
    """Return the distinct labels in order."""
    distinct = set(values.tolist())
    try:
        return tuple(sorted(distinct))
    except TypeError:
        return tuple(sorted(distinct, key=str))


def encode_target(task: Task, values: np.ndarray, table: Table, name: str, rows: np.ndarray) -> np.ndarray:
    """Return class indices (N,) int64, or standardised numbers (N, 1) float32.

    Args:
        rows: positions of the values in the table, for messages.
    Raises:
        DataError: a class that the training part does not have.
    """
    if not task.is_classification:
        return ((values.astype(np.float64) - task.mean) / task.scale).astype(np.float32)[:, None]
    index = {c: i for i, c in enumerate(task.classes)}
    codes = np.array([index.get(v, -1) for v in values.tolist()], np.int64)
    if (codes < 0).any():
        first = int(np.argmax(codes < 0))
        raise DataError(
            f"{table.where}, {table.row(rows[first])}: the class {values[first]!r} of '{name}' does not "
            "occur in the "
            f"training part ({(codes < 0).sum()} such rows; it has "
            f"{', '.join(map(repr, task.classes[:8]))}). "
            "Remove these rows, or add some of the class to the training part."
        )
    return codes


def labels_for(task: Task, table: Table, name: str, na: Sequence[str]) -> np.ndarray:
    """Read the target of another table, for a task that is fixed already."""
    cells = cells_of_target(table, name, na)
    if not task.is_classification:
        if cells.form == WORDS:
            return _override(cells, Target(cells.values, MULTICLASS, ""), REGRESSION, table, name).values
        return cells.values
    if all(isinstance(c, str) for c in task.classes):
        words = as_words(cells)
        return np.asarray(np.array([*words.words, ""], object)[words.values])
    return _infer_labels(cells, task)


def _infer_labels(cells: Cells, task: Task) -> np.ndarray:
    """Return labels of the type of the classes, whatever dtype the column came with."""
    if cells.form == NUMBERS:
        return _labels(cells.values)
    known = {str(c): c for c in task.classes}
    return np.asarray(np.array([*(known.get(w, w) for w in cells.words), None], object)[cells.values])


def task_notes(task: Task, target: Target, name: str) -> list[Note]:
    """Say which task was inferred and why."""
    what = task.kind
    if task.is_classification:
        what += f" ({len(task.classes)} classes)"
    why = f"because '{name}' holds {target.reason}" if target.reason != ASKED else ASKED
    return [info("task", f"{what}, {why}; metric {task.metric}", name)]
