"""What ails the training, with its evidence drawn and what treats it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from trainwell.report import words
from trainwell.report.blocks import Block, Case, Chart, Grid, Items, Text
from trainwell.report.saved import Saved
from trainwell.report.section import Section
from trainwell.report.thin import plain, thin
from trainwell.values.finding import title_of
from trainwell.values.signal import Traces

TONES = {"critical": "critical", "warning": "warning", "information": ""}
GRADES = {"D": "a contract that holds or does not", "S": "a statistic of this run", "W": "a what-if probe"}
SHOWN_LAYERS, SHOWN_CURES = 6, 5

PICTURES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "overfitting": (("probe_loss", "val_loss"),),
    "label_noise": (("probe_loss", "val_loss"),),
    "underfitting": (("probe_score", "val_score"),),
    "train_val_shift": (("probe_score", "val_score"),),
    "lr_too_high": (("train_loss",), ("q",)),
    "lr_too_low": (("train_loss",), ("q",)),
    "undertrained": (("train_loss",),),
    "lr_schedule": (("train_loss",), ("lr",)),
    "exploding_gradient": (("grad_norm",), ("train_loss",)),
    "vanishing_gradient": (("grad_norm",),),
    "bad_init": (("train_loss",), ("act_rms",)),
    "weight_decay_misuse": (("weight_norm",), ("train_loss",)),
    "params_not_trained": (("update_norm",),),
    "missing_zero_grad": (("grad_norm",), ("train_loss",)),
    "batch_too_small": (("train_loss",),),
    "batch_too_large": (("train_loss",),),
    "input_bound": (("wait_s", "step_s"),),
    "launch_bound": (("step_s",),),
    "oscillation": (("train_loss",),),
    "plateau": (("train_loss",),),
}
"""The traces that show an ailment, where its own evidence is a number that has no trace."""

NAMES = {
    "probe_loss": "training rows", "val_loss": "validation rows", "probe_score": "training rows",
    "val_score": "validation rows", "train_loss": "training loss", "grad_norm": "gradient norm",
    "weight_norm": "weight norm", "update_norm": "update norm", "q": "prediction ratio of a step", "lr": "learning rate",
    "act_rms": "activation, root mean square", "wait_s": "waiting for data", "step_s": "one step",
}  # fmt: skip
TITLES = {
    "probe_loss": "loss on training and on validation rows",
    "probe_score": "score on training and on validation rows",
    "wait_s": "waiting for data, and the step itself",
}
UNITS = {
    "probe_loss": "loss", "val_loss": "loss", "train_loss": "loss", "probe_score": "score", "val_score": "score",
    "grad_norm": "L2 norm", "weight_norm": "L2 norm", "update_norm": "L2 norm", "q": "actual / predicted fall",
    "lr": "learning rate", "act_rms": "root mean square", "wait_s": "seconds", "step_s": "seconds",
}  # fmt: skip


class Findings(Section):
    name, title, place = "findings", "Findings", 10

    def blocks(self, saved: Saved) -> Sequence[Block]:
        if not saved.trainings:
            return []
        found: list[Block] = []
        for i, training in enumerate(saved.trainings):
            found += _of_training(saved, i, training)
        return found


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
            f"{finding['severity']}, sure to {finding['confidence']:.0%}",
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
            (str(r.get("trace")), str(r.get("layer") or ""), words.number(r.get("value")),
             f"{r.get('comparison', '')} {words.number(r.get('threshold'))}")
            for r in evidence
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
    source = str(finding.get("source") or "").rstrip(".")
    grade = GRADES.get(str(finding.get("grade")), "a rule")
    yield Text(f"Known by {grade}{'; source: ' if source else ''}{source}.")


def _cures(finding: Mapping[str, Any], *, has_recipe: bool) -> Iterator[Block]:
    if finding.get("fix"):
        yield Items([(f"Change: {finding['fix']}", "")])
    key = "options" if has_recipe else "code"
    cures = [p for p in finding.get("prescriptions", ()) if p.get(key)][:SHOWN_CURES]
    if cures:
        expects = {"-": "falls", "+": "rises"}
        rows = [
            (str(p[key]), str(p.get("why") or "usual dose"),
             "when resumed" if p.get("when") == "resume" else "from the start",
             ", ".join(f"{k.replace('_', ' ')} {expects.get(v, v)}" for k, v in (p.get("expects") or {}).items()) or "-",
             str(p.get("source") or "-"))
            for p in cures
        ]  # fmt: skip
        yield Grid(("what to try", "why this dose", "can be applied", "what should follow", "source"), rows)


# ---------------------------------------------------------------------- pictures


def pictures(finding: Mapping[str, Any], traces: Traces) -> Iterator[Chart]:
    """Yield the traces that show a finding, with threshold and span; bars where no trace was recorded."""
    drawn = set()
    for reading in finding.get("evidence") or ():
        signal, layer = str(reading.get("trace")), reading.get("layer")
        trace = traces.get(signal, layer)
        if trace.values.ndim == 1 and len(trace) > 2 and signal not in drawn:
            drawn.add(signal)
            yield _lines(finding, traces, ((signal, layer),), reading.get("threshold"))
    for group in PICTURES.get(str(finding.get("ailment")), ()):
        keys = [key for signal in group for key in _keys(traces, signal, finding)]
        if keys and not drawn & set(group):
            drawn.update(group)
            yield _lines(finding, traces, keys, None)
    if not drawn:
        yield from _against(finding)


def _keys(traces: Traces, signal: str, finding: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Return the series of a signal: the whole, or those of the layers concerned, or of a few of all."""
    if len(traces.get(signal)) > 1:
        return [(signal, None)]
    have = [
        la
        for la in traces.layers(signal)
        if len(traces.get(signal, la)) > 1 and traces.get(signal, la).values.ndim == 1
    ]
    meant = tuple(map(str, finding.get("layers") or ()))
    kept = [la for la in have if la.startswith(meant)] if meant else have
    return [(signal, la) for la in (kept or have)[:SHOWN_LAYERS]]


def _lines(finding: Mapping[str, Any], traces: Traces, keys: Any, threshold: Any) -> Chart:
    series, signals = [], list(dict.fromkeys(signal for signal, _ in keys))
    for signal, layer in keys:
        trace = traces.get(signal, layer)
        x, y = thin(trace.steps, np.asarray(trace.values, float), 600)
        name = NAMES.get(signal, signal.replace("_", " "))
        series.append({"name": layer or name, "x": plain(x), "y": plain(y)})
    first = signals[0]
    title = TITLES.get(first) or " and ".join(NAMES.get(s, s.replace("_", " ")) for s in signals)
    data: dict[str, Any] = {
        "series": series,
        "x": "optimizer step",
        "y": UNITS.get(first, first),
        "fit": True,
    }
    if words.is_number(threshold):
        data["levels"] = [{"y": threshold, "label": "threshold", "tone": "critical"}]
    if finding.get("span"):
        data["spans"] = [{"from": finding["span"][0], "to": finding["span"][1], "label": "shows here"}]
    data["log"] = _is_wide(series)
    return Chart("lines", words.capital(title) + " by step", data)


def _is_wide(series: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the values span so much that only a logarithmic axis shows them."""
    values = [v for s in series for v in s["y"] if v is not None]
    return bool(values) and min(values) > 0 and max(values) > 300 * min(values)


def _against(finding: Mapping[str, Any]) -> Iterator[Chart]:
    items = [
        {"name": str(r.get("trace")) + (f" ({r['layer']})" if r.get("layer") else ""), "value": r["value"],
         "threshold": r["threshold"]}
        for r in finding.get("evidence") or ()
        if words.is_number(r.get("value")) and words.is_number(r.get("threshold"))
    ][:1]  # fmt: skip
    if items:
        yield Chart("bars", "Measured against its threshold", {"items": items, "label": items[0]["name"]})
