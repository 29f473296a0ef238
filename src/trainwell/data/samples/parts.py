"""From decoded items with labels to parts: bad items counted, labels read, rows split, targets encoded."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainwell.data.checks import class_notes
from trainwell.data.notes import Note, info, warning
from trainwell.data.parts import Options, Parts, make_parts
from trainwell.data.read import Table
from trainwell.data.samples.files import Items
from trainwell.data.table import Part
from trainwell.data.target import encode_target, labels_for, make_task, read_target, task_notes
from trainwell.values.errors import DataError, UsageError
from trainwell.values.task import Task

MAX_BAD = 0.01
"""Share of items that may be broken before the data are refused."""
ITEM = "\0item"
"""Column of a part's table that holds the positions of its items; no file can be called so."""


@dataclasses.dataclass(frozen=True)
class Bad:
    """An item that was skipped."""

    name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Split:
    """The rows of every part with their encoded targets.

    Args:
        task: inferred from the labels of the training part.
        rows: per part the positions of its items among all that were kept.
        targets: per part class indices (N,), or standardised numbers (N, 1).
    """

    task: Task
    rows: dict[str, np.ndarray]
    targets: dict[str, np.ndarray]
    provenance: dict[str, Any]
    notes: tuple[Note, ...]


def parse_share(text: str | float | None) -> float:
    """Turn `1%`, `0.01` or a number into a share.

    Raises:
        UsageError: it is no share of 0 to 1.
    """
    if text is None:
        return MAX_BAD
    word = str(text).strip()
    try:
        share = float(word[:-1]) / 100 if word.endswith("%") else float(word)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"--max-bad {text}: expected a share such as 1% or 0.01.")
    return share


def bad_notes(bad: Sequence[Bad], total: int, max_bad: str | float | None, what: str) -> list[Note]:
    """Name the items that were skipped.

    Raises:
        DataError: they are more than the user allows, or none is left.
    """
    share = parse_share(max_bad)
    if not bad:
        return []
    few = "; ".join(f"{b.name}: {b.reason}" for b in bad[:6]) + (
        f"; and {len(bad) - 6} more" if len(bad) > 6 else ""
    )
    if len(bad) == total:
        raise DataError(f"none of the {total} {what} can be used: {few}.")
    if len(bad) > share * total:
        raise DataError(
            f"{len(bad)} of {total} {what} are broken, more than the {100 * share:.3g} % that --max-bad allows: {few}. "
            f"Mend or remove them, or allow more: --max-bad {min(100, -(-100 * len(bad) // total))}%"
        )
    return [warning("bad_items", f"{len(bad)} of {total} {what} are broken and left out: {few}")]


def joined(found: Mapping[str, Items]) -> tuple[Items, np.ndarray]:
    """Return the items of several sources as one, and the part of each (empty: to be cut).

    Args:
        found: by part; `train` is the main source, which may itself name parts.
    """
    main = found["train"]
    parts = main.parts if main.parts is not None else np.full(len(main), "", object)
    parts = np.asarray(parts, object)
    if main.parts is None and len(found) > 1:
        parts = np.full(len(main), "train", object)
    elif len(found) > 1:
        raise UsageError(f"{main.where} names its parts itself; leave --val and --test out.")
    if len(found) == 1:
        return main, parts
    sources = list(found.values())
    starts = np.cumsum([0, *(len(s) for s in sources)])

    def read(i: int) -> bytes:
        k = int(np.searchsorted(starts, i, side="right")) - 1
        return sources[k].read(int(i - starts[k]))

    for name, s in found.items():
        if s.labels is None:
            raise DataError(f"{s.where} has no labels; the {name} part needs them.")
    labels = np.array([v for s in sources for v in np.asarray(s.labels, object).tolist()], object)
    parts = np.concatenate([np.full(len(s), name, object) for name, s in found.items()])
    names = [n for s in sources for n in s.names]
    notes = tuple(n for s in sources for n in s.notes)
    return Items(names, read, main.where, labels, main.target, None, {}, notes), parts


def split_items(items: Items, parts: np.ndarray, kept: np.ndarray, options: Mapping[str, Any]) -> Split:
    """Split the items that were kept, and encode their targets.

    Args:
        parts: of every item; an empty word stands for one to be cut.
        kept: positions of the items that could be decoded, ascending.
    """
    if items.labels is None and items.others:
        have = ", ".join(items.others)
        raise UsageError(
            f"--target is needed: which column of {items.where} is to be learned? It has: {have}."
        )
    if items.labels is None:
        named_none = f" ({', '.join(items.unused[:3])} names none of its files)" if items.unused else ""
        raise DataError(
            f"{items.where} has no labels{named_none}: give a folder per class, or a table with the columns file and "
            "label."
        )
    if items.are_files and items.target == "class":
        _check_folders(items, kept)
    chosen = Options(
        options.get("task"), options.get("group"), None, _or(options.get("val_fraction"), 0.15),
        _or(options.get("test_fraction"), 0.15), _or(options.get("split_seed"), 0), metric=options.get("metric"),
    )  # fmt: skip
    tables = {n: _table(items, kept, np.flatnonzero(parts[kept] == n)) for n in ("", "train", "val", "test")}
    main = tables["train"] if len(tables["train"]) else tables[""]
    chosen.check(main, items.target)
    found = read_target(main, items.target, (), chosen.task)
    given = {n: tables[n] if len(tables[n]) else None for n in ("val", "test")}
    made = make_parts(main, {}, items.target, found, given["val"], given["test"], chosen)
    task = make_task(found, made.rows["train"], chosen.metric)
    rows = {n: np.asarray(t.columns[ITEM])[made.rows[n]] for n, t in made.tables.items()}
    targets = {n: _encoded(task, made, n, items.target) for n in made.tables}
    notes = [*items.notes, *made.notes, *task_notes(task, found, items.target)]
    shown = {n: Part((), targets[n], rows[n]) for n in rows}
    notes += class_notes(task, shown, made.tables, items.target)
    provenance = {
        "target": items.target, "split_seed": chosen.split_seed, "group": chosen.group,
        "parts": {n: {**made.made[n], "rows": len(rows[n])} for n in rows},
    }  # fmt: skip
    return Split(task, rows, targets, provenance, tuple(notes))


def _check_folders(items: Items, kept: np.ndarray) -> None:
    """Refuse folders that are no classes.

    Raises:
        DataError: there is one, or hardly a file in each.
    """
    counts = collections.Counter(np.asarray(items.labels, object)[kept].tolist())
    if len(counts) == 1:
        raise DataError(
            f"{items.where} has one class folder only, '{next(iter(counts))}': there is nothing to learn. Put the files "
            "of every class into a folder of its own."
        )
    if 2 * len(counts) > len(kept) >= 20:
        raise DataError(
            f"{items.where} has {len(counts)} class folders for {len(kept)} files; a class needs several. Put the files "
            "of one class into one folder, or give a table with the columns file and label."
        )


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _encoded(task: Task, made: Parts, name: str, target: str) -> np.ndarray:
    return encode_target(task, made.labels[name], made.tables[name], target, made.rows[name])


def _table(items: Items, kept: np.ndarray, at: np.ndarray) -> Table:
    """Return the labels of some items as a table; the item column counts within what was kept."""
    rows = kept[at]

    def take(column: Any) -> Any:
        return column.iloc[rows] if hasattr(column, "iloc") else np.asarray(column, object)[rows]

    columns = {n: take(c) for n, c in items.columns.items()}
    return Table({ITEM: at, items.target: take(items.labels), **columns}, items.where)


def titles_of(names: Sequence[str], split: Split, kept: np.ndarray | None = None) -> dict[str, list[str]]:
    """Return per part what a person calls each row.

    Args:
        names: of all items.
        kept: positions of the items among which the split counts; None where it counts among all.
    """
    held = names if kept is None else [names[i] for i in kept.tolist()]
    return {part: [held[i] for i in rows.tolist()] for part, rows in split.rows.items()}


def encode_labels(task: Task, items: Items, kept: np.ndarray) -> np.ndarray:
    """Return the targets of another labelled source, for a task that is fixed already.

    Raises:
        DataError: there are no labels, or one is of an unknown class.
    """
    if items.labels is None:
        raise DataError(f"{items.where} has no labels, so nothing can be scored.")
    table = _table(items, kept, np.arange(len(kept)))
    labels = labels_for(task, table, items.target, ())
    return encode_target(task, labels, table, items.target, kept)


def fingerprint_of(digests: Sequence[str], split: Split, settings: Any) -> str:
    """Return 32 hexadecimal digits that depend on contents, labels, parts and how items are decoded."""
    digest = hashlib.sha256(repr(settings).encode())
    digest.update("\n".join(digests).encode())
    for name, rows in split.rows.items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(rows, np.int64).tobytes())
        digest.update(np.ascontiguousarray(split.targets[name]).tobytes())
    return digest.hexdigest()[:32]


def kind_note(name: str, reason: str) -> Note:
    """Say what kind the data are and why."""
    return info("kind", f"data of the kind {name}: {reason}")
