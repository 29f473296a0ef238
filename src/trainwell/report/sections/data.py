"""What was trained on, how it was split, and what was found in it before the first step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainwell.report import words
from trainwell.report.blocks import Block, Chart, Grid, Heading, Text
from trainwell.report.saved import Saved
from trainwell.report.section import Section

SHOWN_COLUMNS, SHOWN_CLASSES = 200, 30
TONES = {"warning": "warning", "error": "critical", "critical": "critical"}


class DataSection(Section):
    name, title, place = "data", "Data and checks", 30

    def blocks(self, saved: Saved) -> Sequence[Block]:
        data = saved.part("data")
        if not data:
            return _of_watch(saved)
        return [*_parts(data), *_classes(data), *_columns(data), *_notes(data)]


def _of_watch(saved: Saved) -> list[Block]:
    """What the watcher saw of the data of a script."""
    facts = saved.watch.facts
    known = {
        "rows_per_epoch": "rows in an epoch", "batch_size": "rows in a batch", "x_columns": "columns of the inputs",
        "x_rms": "root mean square of the inputs", "y_distinct": "distinct targets", "loss_name": "loss",
    }  # fmt: skip
    rows = [(text, words.number(facts[name])) for name, text in known.items() if facts.get(name) is not None]
    return [Grid(("", ""), rows)] if rows else []


def _parts(data: Mapping[str, Any]) -> Iterator[Block]:
    source, made = data.get("source") or {}, data.get("provenance") or {}
    task = data.get("task") or {}
    about: list[tuple[str, str]] = []
    if source.get("data"):
        about.append(("source", str(source["data"])))
    if source.get("target"):
        about.append(("target", str(source["target"])))
    if task:
        kind = str(task.get("kind"))
        about.append(("task", f"{kind}, judged by {words.metric_name(str(task.get('metric')))}"))
    about.append(("fingerprint", str(data.get("fingerprint", "-"))))
    yield Grid(("", ""), about)
    parts = made.get("parts") or {}
    if parts:
        rows = [(name, part.get("rows"), str(part.get("kind", ""))) for name, part in parts.items()]
        yield Grid(("part", "rows", "how it was made"), rows)


def _classes(data: Mapping[str, Any]) -> Iterator[Block]:
    task = data.get("task") or {}
    classes, counts = task.get("classes") or (), task.get("class_counts") or ()
    if not counts or len(classes) != len(counts):
        return
    order = sorted(range(len(counts)), key=lambda i: -counts[i])
    kept = order[:SHOWN_CLASSES]
    more = len(order) - len(kept)
    yield Chart(
        "bars",
        "Rows of the training part by class",
        {"items": [{"name": str(classes[i]), "value": counts[i]} for i in kept], "label": "rows"},
        f"The {SHOWN_CLASSES} commonest classes; {more} more are not shown." if more > 0 else "",
        Grid(("class", "rows"), [(str(classes[i]), counts[i]) for i in kept], "Numbers"),
    )


def _columns(data: Mapping[str, Any]) -> Iterator[Block]:
    columns = (data.get("transform") or {}).get("columns") or ()
    rows = [_column(c) for c in columns[:SHOWN_COLUMNS] if isinstance(c, Mapping) and "type" in c]
    if rows:
        more = len(columns) - len(rows)
        words_ = f"{len(columns)} columns" + (f", the first {len(rows)} shown" if more > 0 else "")
        yield Grid(("column", "kind", "missing", "distinct", "enters as"), rows, words_)


def _column(column: Mapping[str, Any]) -> tuple[str, str, str, int | None, str]:
    kind = column["type"]
    missing = kind.get("missing") or 0
    enters = {"numeric": "scaled number", "onehot": "one column per value", "code": "embedding"}
    encoder = str(column.get("encoder", ""))
    share = f"{100 * missing:.1f} %" if missing else "-"
    return (
        str(kind.get("name")),
        str(kind.get("kind")),
        share,
        kind.get("distinct"),
        enters.get(encoder, encoder),
    )


def _notes(data: Mapping[str, Any]) -> Iterator[Block]:
    notes = data.get("notes") or ()
    grave = [n for n in notes if n.get("severity") in TONES]
    if notes:
        yield Heading("What was found before the first step")
    for note in grave:
        yield Text(str(note.get("message", "")), TONES[note["severity"]])
    rest = [(str(n.get("column") or ""), str(n.get("message", ""))) for n in notes if n not in grave]
    if rest:
        yield Grid(
            ("column", "note"), rest, f"{len(rest)} note{'s' if len(rest) > 1 else ''} for information"
        )
