"""The evidence of a finding as pictures: the series that each reading is a number of, its threshold, its span."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from trainwell.report import words
from trainwell.report.blocks import Chart
from trainwell.report.thin import plain, thin
from trainwell.values.readings import reading_words
from trainwell.values.signal import Array, Trace, Traces

SHOWN_LAYERS = 6
DEAD, SATURATED = 0.002, 0.95
"""A unit counts as dead that is on in under 0.2 % of the rows (as the rule has it), as saturated above 95 %."""
WIDE = 300
COLORS = {"training rows": {"color": 0}, "validation rows": {"color": 1}}
"""As in the learning curves."""


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What is drawn of a reading.

    Args:
        title: of the picture.
        series: names with their steps and values.
        unit: of the values.
        level: where the threshold lies in that unit; None where it has no place there.
        label: of that level.
        linear: whether the axis stays linear however wide the values spread: a rise of a half shows on no other.
    """

    title: str
    series: Sequence[tuple[str, Array, Array]]
    unit: str
    level: float | None = None
    label: str = "threshold"
    linear: bool = False


Draw = Callable[[Traces, str | None, float], Drawn | None]


def _line(signal: str, title: str, unit: str, level: Callable[[Traces, float], float | None]) -> Draw:
    """Return what draws one series, with the threshold turned into its unit."""

    def draw(traces: Traces, layer: str | None, threshold: float) -> Drawn | None:
        trace = traces.get(signal)
        if trace.values.ndim != 1 or len(trace) < 3:
            return None
        name = title.partition(" by ")[0]
        return Drawn(title, [(name, trace.steps, trace.values)], unit, level(traces, threshold))

    return draw


def _none(traces: Traces, threshold: float) -> float | None:
    return None


def _same(traces: Traces, threshold: float) -> float | None:
    return threshold


def _of_base(traces: Traces, threshold: float) -> float | None:
    """The threshold is a multiple of the loss of the best constant answer."""
    base = traces.number("base_loss")
    return base * threshold if math.isfinite(base) and base > 0 else None


def _of_peak(traces: Traces, threshold: float) -> float | None:
    values = traces.get("lr").values
    return float(np.nanmax(values)) * threshold if len(values) else None


def _of_first(traces: Traces, threshold: float) -> float | None:
    values = traces.get("lr").values
    return float(values[0]) * threshold if len(values) else None


def _rise(traces: Traces, layer: str | None, threshold: float) -> Drawn | None:
    """Validation and training rows, and how far the validation loss may rise above its best."""
    val, probe = traces.get("val_loss"), traces.get("probe_loss")
    if len(val) < 3:
        return None
    series = [("validation rows", val.steps, val.values)]
    if len(probe) > 1:
        series.append(("training rows", probe.steps, probe.values))
    base = _of_base(traces, threshold)
    level = (
        float(np.nanmin(val.values)) + base if base is not None and np.isfinite(val.values).any() else None
    )
    return Drawn(
        "Loss on training and on validation rows", series, "loss", level, "best + allowed rise", linear=True
    )


def _waiting(traces: Traces, layer: str | None, threshold: float) -> Drawn | None:
    wait, step = traces.get("wait_s"), traces.get("step_s")
    n = min(len(wait), len(step))
    if n < 3:
        return None
    with np.errstate(all="ignore"):
        share = wait.values[:n] / (wait.values[:n] + step.values[:n])
    return Drawn(
        "Share of a step that waits for data", [("waiting", step.steps[:n], share)], "share", threshold
    )


def _shrinking(traces: Traces, layer: str | None, threshold: float) -> Drawn | None:
    series = []
    for name in [la for la in traces.layers("weight_norm") if la.endswith("weight")][:SHOWN_LAYERS]:
        trace = traces.get("weight_norm", name)
        if len(trace) > 2 and trace.values[0] > 0:
            series.append((name, trace.steps, trace.values / trace.values[0]))
    return (
        Drawn("Weights against their start", series, "norm / norm at the start", threshold)
        if series
        else None
    )


def _units(signal: str, title: str, hit: Callable[[Array], Array]) -> Draw:
    def draw(traces: Traces, layer: str | None, threshold: float) -> Drawn | None:
        trace = traces.get(signal, layer)
        if trace.values.ndim != 2 or len(trace) < 3:
            return None
        return Drawn(
            title, [(str(layer), trace.steps, hit(trace.values).mean(1))], "share of the units", threshold
        )

    return draw


def _growth(signal: str, title: str, *, backwards: bool) -> Draw:
    """Return what draws by how many decades a signal grows on its way through the layers."""

    def draw(traces: Traces, layer: str | None, threshold: float) -> Drawn | None:
        layers = [m["name"] for m in traces.fact("modules", ()) or () if len(traces.get(signal, m["name"]))]
        layers = layers or traces.layers(signal)
        if len(layers) < 3:
            return None
        first, last = traces.get(signal, layers[0]), traces.get(signal, layers[-1])
        n = min(len(first), len(last))
        if n < 2:
            return None
        top, bottom = (first, last) if backwards else (last, first)
        with np.errstate(all="ignore"):
            decades = np.log10(np.maximum(top.values[:n], 1e-38) / np.maximum(bottom.values[:n], 1e-38))
        return Drawn(title, [("decades", first.steps[:n], decades)], "decades (powers of ten)", threshold)

    return draw


_loss = _line("train_loss", "Training loss by step", "loss", _none)
_dead = _units("unit_activity", "Share of dead units by step", lambda v: v < DEAD)
_stuck = _units("unit_saturation", "Share of saturated units by step", lambda v: v > SATURATED)

DRAWN: Mapping[str, Draw | None] = {
    "q, median": _line("q", "Actual over predicted fall of a step", "ratio (1: as predicted, below 0: uphill)", _same),
    "q < 0, share": _line("q", "Actual over predicted fall of a step", "ratio (1: as predicted, below 0: uphill)",
                          lambda t, v: 0.0),
    "largest loss / base loss": _line("train_loss", "Training loss by step", "loss", _of_base),
    "first loss / base loss": _line("train_loss", "Training loss by step", "loss", _of_base),
    "rises of the epoch loss": _loss,
    "upward share of the epoch loss": _loss,
    "loss spikes": _loss,
    "first non-finite step": _loss,
    "gain of doubling / base loss": _loss,
    "fall at the end / mean fall": _loss,
    "fall of the loss at 10 x the rate": _loss,
    "gain of a tenth of the rate": _loss,
    "rise of the validation loss / base loss": _rise,
    "weight rms, end / start": _shrinking,
    "wait_s / (wait_s + step_s)": _waiting,
    "rate at the end / peak": _line("lr", "Learning rate by step", "rate", _of_peak),
    "peak rate / base rate": _line("lr", "Learning rate by step", "rate", _none),
    "share of steps under 2 % of the peak rate": _line("lr", "Learning rate by step", "rate",
                                                       lambda t, v: _of_peak(t, 0.02)),
    "rate / first rate": _line("lr", "Learning rate by step", "rate", _of_first),
    "units that died": _dead,
    "units that got stuck": _stuck,
    "unit_activity": _dead,
    "unit_saturation": _stuck,
    "back_gain": _growth("back_rms", "How the gradient grows on its way back", backwards=True),
    "act_gain": _growth("act_rms", "How the activations grow on their way", backwards=False),
    "steps": _loss,
    "pull of the decay / pull of the loss": None,
}  # fmt: skip
"""What is drawn of a reading, by its name; of others that speak of a loss, the loss."""

PICTURES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "overfitting": (("probe_loss", "val_loss"),),
    "label_noise": (("probe_loss", "val_loss"),),
    "underfitting": (("probe_score", "val_score"),),
    "train_val_shift": (("probe_score", "val_score"),),
    "lr_too_low": (("train_loss",),),
    "exploding_gradient": (("grad_norm",),),
    "vanishing_gradient": (("grad_norm",),),
    "bad_init": (("train_loss",), ("act_rms",)),
    "weight_decay_misuse": (("weight_norm",), ("train_loss",)),
    "params_not_trained": (("update_norm",),),
    "missing_zero_grad": (("grad_norm",), ("train_loss",)),
    "batch_too_small": (("train_loss",),),
    "launch_bound": (("step_s",),),
    "oscillation": (("train_loss",),),
    "plateau": (("train_loss",),),
}
"""The traces that show an ailment beside those of its readings."""

NAMES = {
    "probe_loss": "training rows", "val_loss": "validation rows", "probe_score": "training rows",
    "val_score": "validation rows", "train_loss": "training loss", "grad_norm": "gradient norm",
    "weight_norm": "weight norm", "update_norm": "update norm", "lr": "learning rate",
    "act_rms": "activation, root mean square", "wait_s": "waiting for data", "step_s": "time of one step",
    "stale_grad": "gradients left of the step before",
}  # fmt: skip
TITLES = {
    "probe_loss": "loss on training and on validation rows", "probe_score": "score on training and on validation rows",
}  # fmt: skip
UNITS = {
    "probe_loss": "loss", "val_loss": "loss", "train_loss": "loss", "probe_score": "score", "val_score": "score",
    "grad_norm": "L2 norm", "weight_norm": "L2 norm", "update_norm": "L2 norm", "lr": "rate",
    "act_rms": "root mean square", "wait_s": "seconds", "step_s": "seconds",
    "stale_grad": "1 is yes",
}  # fmt: skip


def pictures(finding: Mapping[str, Any], traces: Traces) -> Iterator[Chart]:
    """Yield the traces that show a finding, with threshold and span; bars where no trace was recorded."""
    titles: set[str] = set()
    for reading in finding.get("evidence") or ():
        found = drawn_of(reading, traces)
        if found is not None and found.title not in titles:
            titles.add(found.title)
            yield _chart(found, finding)
    for group in PICTURES.get(str(finding.get("ailment")), ()):
        found = _group(group, traces, finding)
        if found is not None and found.title not in titles:
            titles.add(found.title)
            yield _chart(found, finding)
    if not titles:
        yield from _against(finding)


def drawn_of(reading: Mapping[str, Any], traces: Traces) -> Drawn | None:
    """Return the series that a reading is a number of, None where none was recorded."""
    name, layer = str(reading.get("trace")), reading.get("layer")
    threshold = float(reading["threshold"]) if words.is_number(reading.get("threshold")) else math.nan
    draw = DRAWN.get(name, _loss if " loss" in name else None)
    if draw is not None:
        return draw(traces, layer, threshold)
    trace = traces.get(name, layer)
    if trace.values.ndim != 1 or len(trace) < 3:
        return None
    title = words.capital(NAMES.get(name, name.replace("_", " "))) + " by step"
    series = [(layer or NAMES.get(name, name), trace.steps, trace.values)]
    return Drawn(title, series, UNITS.get(name, "value"), threshold if math.isfinite(threshold) else None)


def _group(group: Sequence[str], traces: Traces, finding: Mapping[str, Any]) -> Drawn | None:
    series = []
    keys = [key for name in group for key in _keys(traces, name, finding)]
    for signal, layer in keys:
        trace = traces.get(signal, layer)
        series.append((layer or NAMES.get(signal, signal), trace.steps, trace.values))
    if not series:
        return None
    first = group[0]
    title = TITLES.get(first) or NAMES.get(first, first.replace("_", " ")) + " by step"
    return Drawn(words.capital(title), series, UNITS.get(first, first))


def _keys(traces: Traces, signal: str, finding: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Return the series of a signal: the whole, or those of the layers concerned, or of a few of all."""
    if _is_line(traces.get(signal)):
        return [(signal, None)]
    have = [la for la in traces.layers(signal) if _is_line(traces.get(signal, la))]
    meant = tuple(map(str, finding.get("layers") or ()))
    kept = [la for la in have if la.startswith(meant)] if meant else have
    return [(signal, la) for la in (kept or have)[:SHOWN_LAYERS]]


def _is_line(trace: Trace) -> bool:
    return len(trace) > 1 and trace.values.ndim == 1


def _chart(found: Drawn, finding: Mapping[str, Any]) -> Chart:
    series: list[dict[str, Any]] = []
    for name, steps, values in found.series:
        last = np.append(np.diff(steps) != 0, True)[
            : len(steps)
        ]  # a step that was measured twice is drawn once
        x, y = thin(np.asarray(steps)[last], np.asarray(values, float)[last], 600)
        series.append({"name": name, "x": plain(x), "y": plain(y), **COLORS.get(name, {})})
    shown = [v for s in series for v in s["y"] if v is not None]
    data: dict[str, Any] = {"series": series, "x": "optimizer step", "y": found.unit, "fit": True}
    data["log"] = not found.linear and bool(shown) and min(shown) > 0 and max(shown) > WIDE * min(shown)
    if found.level is not None and math.isfinite(found.level):
        data["levels"] = [{"y": plain([found.level])[0], "label": found.label, "tone": "critical"}]
    if finding.get("span"):
        data["spans"] = [{"from": finding["span"][0], "to": finding["span"][1], "label": "shows from here"}]
    return Chart("lines", found.title, data)


def _against(finding: Mapping[str, Any]) -> Iterator[Chart]:
    """Yield a number beside its threshold, where no series was recorded and the two can be compared by length."""
    for reading in finding.get("evidence") or ():
        value, threshold = reading.get("value"), reading.get("threshold")
        if words.is_number(value) and words.is_number(threshold) and threshold and min(value, threshold) >= 0:
            name = reading_words(str(reading.get("trace")))
            item = {"name": "measured", "value": plain([value])[0], "threshold": plain([threshold])[0]}
            yield Chart(
                "bars", words.capital(name), {"items": [item], "label": str(reading.get("layer") or "")}
            )
            return
