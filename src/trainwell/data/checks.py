"""What is said about the columns and the classes of a prepared table, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainwell.data.cells import Cells
from trainwell.data.columns import ColumnType
from trainwell.data.notes import Note, info, named, warning
from trainwell.data.read import Table
from trainwell.values.errors import DataError
from trainwell.values.task import Task

if TYPE_CHECKING:
    from trainwell.data.parts import Options
    from trainwell.data.table import Part

FEW_ROWS = 10
"""A class with fewer training rows than this is pointed out."""
MOST_NAMED = 6
PART_COLUMNS = ("split", "part", "subset", "set")
PART_WORDS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}
REASONS = {
    "constant": "One value only: nothing to learn from.",
    "identifier": "Distinct in nearly every row: it can only be learned by heart. "
    "To keep it: --numeric or --categorical.",
    "text": "Prose needs the text kind.",
    "empty": "No value in the training part.",
    "unsupported": "Neither numbers, text nor dates.",
    "group": "It decides the split. To keep it as a feature too: --categorical or --numeric.",
    "time": "It decides the split, and later moments never occur in training. To keep it: --numeric.",
    "dropped": "As asked for.",
}
"""Why a column of each kind is left out."""


def column_notes(columns: Sequence[ColumnType], tables: Mapping[str, Table], options: Options) -> list[Note]:
    """Say which columns are left out, which are read in a way worth knowing, and which are passed over."""
    notes = []
    for kind, reason in REASONS.items():
        names = [c.name for c in columns if c.kind == kind]
        if names:
            say = warning if kind in ("text", "unsupported") else info
            one = names[0] if len(names) == 1 else ""
            notes.append(say("dropped", f"left out as {kind}: {named(names)}. {reason}", one))
    if any(c.name == options.time and c.is_feature for c in columns):
        said = (
            f"of '{options.time}' only what comes back is a feature (month, weekday, hour), not day and year"
        )
        notes.append(info("time", said, options.time or ""))
    notes += _remarks(columns)
    known = {c.name for c in columns}
    for table in tables.values():
        extra = [n for n in table.columns if n not in known]
        if extra:
            notes.append(info("extra_columns", f"{table.where}: columns passed over: {named(extra)}"))
    return notes


def _remarks(columns: Sequence[ColumnType]) -> list[Note]:
    """Say what is remarkable of each column; of several the same is said once."""
    alike: dict[str, list[str]] = {}
    for column in columns:
        if column.remark:
            alike.setdefault(column.remark, []).append(column.name)
    return [
        warning("reading", f"{named(names)}: {remark}", names[0] if len(names) == 1 else "")
        for remark, names in alike.items()
    ]


def part_notes(columns: Sequence[ColumnType], cells: Mapping[str, Cells]) -> list[Note]:
    """Warn of a feature that says to which part a row belongs, as images and texts are split by it."""
    notes = []
    for column in columns:
        words = {w.lower() for w in cells[column.name].words} if column.is_feature else set()
        if column.name.lower() in PART_COLUMNS and words and words <= PART_WORDS:
            said = f"'{column.name}' names parts ({', '.join(sorted(words))}) and is taken for a feature"
            mend = f"to split by it, give each part as a file (--val, --test); to leave it out: --drop {column.name}"
            notes.append(warning("part_column", f"{said}; {mend}", column.name))
    return notes


def class_notes(task: Task, made: Mapping[str, Part], tables: Mapping[str, Table], target: str) -> list[Note]:
    """Point out classes that are rare, unbalanced or missing in a part.

    Raises:
        DataError: a part holds one class only.
    """
    if not task.is_classification:
        return []
    notes = []
    counts = dict(zip(task.classes, task.class_counts, strict=True))
    if task.is_imbalanced:
        few, many = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        said = f"class {many!r} has {counts[many]} training rows, {few!r} has {counts[few]}"
        mend = "look at the balanced metrics, and consider --with class_weights"
        notes.append(warning("imbalance", f"{said}; {mend}", target))
    for name, part in made.items():
        present = np.unique(part.y)
        if len(present) < 2:
            only, rows = task.classes[present[0]], f"{len(part)} row{'' if len(part) == 1 else 's'}"
            raise DataError(
                f"{tables[name].where}: the {name} part holds one class only, {only!r} ({rows}). Nothing can be judged "
                "by it; split another way or give a larger part."
            )
        gone = [str(c) for i, c in enumerate(task.classes) if i not in present]
        if gone:
            notes.append(warning("rare_class", f"the {name} part has no row of class {named(gone)}", target))
    rare = [f"'{c}' ({n})" for c, n in counts.items() if n < FEW_ROWS]
    if rare:
        more = f" and {len(rare) - MOST_NAMED} more" if len(rare) > MOST_NAMED else ""
        said = f"classes with few training rows: {', '.join(rare[:MOST_NAMED])}{more}"
        notes.append(warning("rare_class", said, target))
    return notes
