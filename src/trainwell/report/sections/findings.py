"""What ails the training, with its evidence drawn and what treats it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainwell.report import words
from trainwell.report.blocks import Block, Case, Grid, Items, Text, Ticked
from trainwell.report.evidence import pictures
from trainwell.report.saved import Saved
from trainwell.report.section import Section
from trainwell.values.finding import Reading, title_of
from trainwell.values.readings import reading_words
from trainwell.values.signal import Traces

TONES = {"critical": "critical", "warning": "warning", "information": ""}
GRADES = {"D": "a contract that holds or does not", "S": "a statistic of this run", "W": "a what-if probe"}
SHOWN_LAYERS, SHOWN_CURES = 6, 5


class Findings(Section):
    name, title, place = "findings", "Findings", 10

    def blocks(self, saved: Saved) -> Sequence[Block]:
        found: list[Block] = [*_treated(saved.part("results").get("treatments") or ())]
        if not saved.trainings:
            return found
        for i, training in enumerate(saved.trainings):
            found += _of_training(saved, i, training)
        return found


def _treated(treatments: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    """What was changed while the training ran, because it was in trouble."""
    if not treatments:
        return
    yield Text(
        "In trouble, the training went back to its last good state and on with another dose. The recipe below is the one "
        "that it began with.", "warning",
    )  # fmt: skip
    rows = [
        (
            words.number(t.get("step")),
            str(t.get("shows", "")),
            words.number(t.get("back_to")),
            str(t.get("change", "")),
        )
        for t in treatments
    ]
    yield Grid(("at step", "what showed", "back to step", "and on with"), rows)


def _of_training(saved: Saved, number: int, training: Mapping[str, Any]) -> Iterator[Block]:
    name = str(training.get("model") or f"training {number + 1}")
    if len(saved.trainings) > 1:
        yield Text(
            f"Training {number + 1} of {len(saved.trainings)}: {name}, {training.get('steps', 0):,} steps."
        )
    if training.get("error"):
        yield Text(f"Watched only in part: {training['error']}", "warning")
    traces = saved.traces.get(str(training.get("folder")), saved.watch if number == 0 else Traces())
    alarms = [f for f in training.get("findings", ()) if f.get("severity") != "information"]
    if not alarms and not training.get("error"):
        yield Text("Nothing that was found asks for a change.", "good")
    for finding in alarms:
        yield Case(
            words.capital(title_of(finding["ailment"])),
            f"{finding['severity']}, {100 * finding['confidence']:.0f} % sure",
            TONES.get(finding["severity"], ""),
            [*_of_finding(finding, traces, has_recipe=bool(saved.part("recipe")))],
        )
    told = [f for f in training.get("findings", ()) if f not in alarms]
    if told:
        yield Items([(f"{words.capital(title_of(f['ailment']))}: {f.get('meaning', '')}", "") for f in told])


def _of_finding(finding: Mapping[str, Any], traces: Traces, *, has_recipe: bool) -> Iterator[Block]:
    yield Text(str(finding.get("meaning", "")))
    evidence = finding.get("evidence") or ()
    if evidence:
        rows = [
            (r.words or reading_words(r.trace), r.layer or "", r.shown, r.limit) for r in map(_reading, evidence)
        ]  # fmt: skip
        head = ["what shows it", "layer", "measured", "the rule acts when"]
        kept = [i for i in range(4) if i != 1 or any(row[1] for row in rows)]
        yield Grid([head[i] for i in kept], [[row[i] for i in kept] for row in rows])
    yield from pictures(finding, traces)
    layers = finding.get("layers") or ()
    if layers:
        yield Text(f"Where: {words.joined(list(map(str, layers)), SHOWN_LAYERS)}.")
    if finding.get("consequences"):
        named = words.joined([title_of(f["ailment"]) for f in finding["consequences"]])
        yield Text(f"It explains what else was found: {named}.")
    yield from _cures(finding, has_recipe=has_recipe)
    source = _source(finding)
    grade = GRADES.get(str(finding.get("grade")), "a rule")
    yield Text(f"Known by {grade}{'; source: ' if source else ''}{source}.")


def _reading(saved: Mapping[str, Any]) -> Reading:
    """Return a saved reading, whatever the file holds."""
    value, threshold = (
        float(saved[k]) if words.is_number(saved.get(k)) else math.nan for k in ("value", "threshold")
    )
    text = {k: str(saved.get(k) or "") for k in ("trace", "comparison", "layer", "words", "unit")}
    return Reading(value=value, threshold=threshold, **text)


def _cures(finding: Mapping[str, Any], *, has_recipe: bool) -> Iterator[Block]:
    if finding.get("fix"):
        yield Items([(f"Change: {finding['fix']}", "")])
    key = "options" if has_recipe else "code"
    cures = [p for p in finding.get("prescriptions", ()) if p.get(key)][:SHOWN_CURES]
    if cures:
        expects = {"-": "falls", "+": "rises"}
        rows = [
            (Ticked(f"`{p[key]}`") if "`" not in str(p[key]) else str(p[key]), str(p.get("why") or "usual dose"),
             "at a resume" if p.get("when") == "resume" else "from the start",
             ", ".join(f"{k.replace('_', ' ')} {expects.get(v, v)}" for k, v in (p.get("expects") or {}).items()) or "-",
             str(p.get("source") or "-"))
            for p in cures
        ]  # fmt: skip
        yield Grid(("what to try", "why this dose", "when", "what should follow", "source"), rows)


def _source(finding: Mapping[str, Any]) -> str:
    """Return the published sources of a rule, without its place in notes of ours."""
    parts = [part.strip() for part in str(finding.get("source") or "").split(";")]
    return "; ".join(part for part in parts if part).rstrip(".")
