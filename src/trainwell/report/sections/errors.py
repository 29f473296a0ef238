"""Errors worth looking at: confusion, calibration, residuals, parts of the table that do worse, worst rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainwell.report import words
from trainwell.report.blocks import Block, Card, Chart, Gallery, Grid, Heading, Text
from trainwell.report.saved import Saved
from trainwell.report.section import Section
from trainwell.report.sections.summary import PARTS

SIDE_BY_SIDE = 6
"""With more classes the confusion matrix takes the whole width."""


class Errors(Section):
    name, title, place = "errors", "Errors worth looking at", 40

    def blocks(self, saved: Saved) -> Sequence[Block]:
        errors = saved.part("errors")
        if errors.get("reason"):
            return [Text(f"Left out: {errors['reason']}")]
        if not errors:
            return []
        part = PARTS.get(str(errors.get("part")), errors.get("part"))
        of = f"All of it is about the {errors.get('rows', 0):,} rows of the {part} part."
        return [
            Text(of),
            *_confusion(errors),
            *_calibration(errors),
            *_residuals(errors),
            *_slices(saved, errors),
            *_worst(errors),
        ]


def _confusion(errors: Mapping[str, Any]) -> Iterator[Block]:
    found = errors.get("confusion")
    if not found:
        return
    classes, counts = list(map(str, found["classes"])), found["counts"]
    note = "A row is a true class; the colour is the share of it that was called so."
    if found.get("left_out"):
        note += f" The {len(classes)} classes with most errors; {found['left_out']} more are not shown."
    wrong = ((i, j) for i in range(len(classes)) for j in range(len(classes)) if i != j and counts[i][j])
    pairs = sorted(((counts[i][j], classes[i], classes[j]) for i, j in wrong), reverse=True)[:10]
    rows = [(truth, said, count) for count, truth, said in pairs]
    numbers = Grid(("truth", "called", "rows"), rows, "The commonest confusions") if rows else None
    yield Chart(
        "matrix", "Confusion matrix", {"classes": classes, "counts": counts}, note, numbers, len(classes) <= 4
    )


def _calibration(errors: Mapping[str, Any]) -> Iterator[Block]:
    bins = list(errors.get("calibration") or ())
    if len(bins) < 2:
        return
    if bins[-1]["confidence"] - bins[0]["confidence"] < 0.005:
        yield Text(
            f"It gives every row the same probability, {bins[0]['confidence']:.1%}: it tells no row apart.",
            "warning",
        )
        return
    points = [{"x": b["confidence"], "y": b["right"], "low": b["low"], "high": b["high"]} for b in bins]
    data = {
        "points": points,
        "x": "probability that it gave its answer",
        "y": "share that was right",
        "diagonal": True,
        "percent": True,
    }
    rows = [(f"{b['confidence']:.1%}", f"{b['right']:.1%}", b["rows"]) for b in bins]
    off = words.total(abs(b["confidence"] - b["right"]) * b["rows"] for b in bins) / max(
        1, words.total(b["rows"] for b in bins)
    )
    by_chance = words.total(_chance(b) * b["rows"] for b in bins) / max(
        1, words.total(b["rows"] for b in bins)
    )
    note = (
        "Points on the line are honest probabilities; bars are 95 % intervals. On average they are "
        f"{100 * off:.1f} points off the line; chance alone makes {100 * by_chance:.1f}."
    )
    yield Chart(
        "points",
        "Calibration: does it know how sure it is?",
        data,
        note,
        Grid(("said", "was right", "rows"), rows, "Numbers"),
        is_small=len((errors.get("confusion") or {}).get("classes") or ()) <= SIDE_BY_SIDE,
    )


def _chance(one: Mapping[str, Any]) -> float:
    """Return how far an honest bin lies off the line on average, by the rows that it happens to hold."""
    share = min(1.0, max(0.0, float(one["confidence"])))
    return math.sqrt(2 / math.pi * share * (1 - share) / max(1, one["rows"]))


def _residuals(errors: Mapping[str, Any]) -> Iterator[Block]:
    found = errors.get("residuals")
    if not found:
        return
    points = [{"x": x, "y": y} for x, y in zip(found["predicted"], found["residual"], strict=True)]
    data = {"points": points, "x": "prediction", "y": "truth - prediction", "zero": True}
    note = f"{len(points):,} rows drawn at random." if errors.get("rows", 0) > len(points) else ""
    q = found["quantiles"]
    rows = [(name, words.number(value)) for name, value in q.items()]
    yield Chart(
        "points", "Residuals", data, note, Grid(("quantile of the residual", "value"), rows, "Numbers")
    )


def _slices(saved: Saved, errors: Mapping[str, Any]) -> Iterator[Block]:
    slices = errors.get("slices")
    if slices is None:
        return
    yield Heading("Parts of the table that do worse")
    measure = str(errors.get("slice_measure", "score"))
    if not slices:
        yield Text("No value of a single column does worse than the rest beyond noise.", "good")
        return
    percent = measure == "accuracy"
    items = [{"name": s["slice"], "low": s["low"], "mid": s["value"], "high": s["high"]} for s in slices]
    told = [
        (s["slice"], s["rows"], words.score(s["value"], measure), words.score(s["rest"], measure))
        for s in slices
    ]
    data = {
        "items": items,
        "label": words.metric_name(measure),
        "zero": errors.get("slice_whole"),
        "percent": percent,
        "zero_label": "all rows",
    }
    note = (
        "95 % intervals. Shown is what does worse than the rest of the rows, after a correction for the number of "
        "parts looked at."
    )
    yield Chart(
        "intervals",
        f"{words.capital(words.metric_name(measure))} by part of the table",
        data,
        note,
        Grid(("part", "rows", measure, "the rest"), told, "Numbers"),
    )


def _worst(errors: Mapping[str, Any]) -> Iterator[Block]:
    rows = errors.get("worst") or ()
    if not rows:
        return
    yield Heading("The largest errors")
    yield Text("Look at these first: what the network is sure of and wrong about is often mislabelled.")
    if any(row.get("picture") or row.get("text") for row in rows):
        yield Gallery([_card(row) for row in rows])
        return
    columns = list(rows[0].get("features") or {})
    head = ("row", "truth", "prediction", rows[0].get("measure", "error"), *columns)
    body = []
    for row in rows:
        values = (row["truth"], row["prediction"], row["error"], *(row.get("features") or {}).values())
        body.append((str(row.get("row")), *map(_shown, values)))
    yield Grid(head, body)


def _card(row: Mapping[str, Any]) -> Card:
    facts = [("truth", _shown(row["truth"])), ("called", _shown(row["prediction"]))]
    if row.get("measure") == "probability of the truth":
        share = 100 * row["error"]
        facts.append(("truth given", f"{share:.{2 if share >= 1 else 1}g} %"))
    else:
        facts.append((str(row.get("measure", "error")), _shown(row["error"])))
    title = str(row.get("title") or f"row {row.get('row')} of the part, from 0")
    return Card(title, facts, str(row.get("picture") or ""), str(row.get("text") or ""))


def _shown(value: Any) -> str:
    return words.number(value) if words.is_number(value) else str(value)
