"""Units that never fire, and units that are driven to their ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from trainwell.report.blocks import Block, Chart, Text
from trainwell.report.evidence import DEAD, SATURATED
from trainwell.report.saved import Saved
from trainwell.report.section import Section
from trainwell.report.thin import plain
from trainwell.values.signal import Traces

SHOWN_LAYERS = 12


class Units(Section):
    name, title, place = "units", "Dead and saturated units", 65

    def blocks(self, saved: Saved) -> Sequence[Block]:
        found = [
            *_shares(saved.watch, "unit_activity", "Dead units", below=DEAD),
            *_shares(saved.watch, "unit_saturation", "Saturated units", above=SATURATED),
        ]
        none = Text(
            "In all layers that were looked into, at every look, no unit was dead or saturated.",
            "good",
        )
        if found and all(not any(_peak(c) for c in [chart]) for chart in found):
            return [none]
        return found


def _peak(chart: Chart) -> float:
    values = [s["y"] for s in chart.data.get("series", ())] or [[i["value"] for i in chart.data["items"]]]
    return max((v or 0.0 for y in values for v in y), default=0.0)


def _once(series: list[dict[str, Any]], title: str) -> Chart:
    """Return the shares of the one look that a short run had time for."""
    items = [
        {"name": s["name"], "value": s["y"][0] or 0.0, "text": f"{s['y'][0] or 0.0:.0%}"} for s in series
    ]
    items = sorted(items, key=lambda i: -i["value"])[:SHOWN_LAYERS]
    data = {"items": items, "label": "share of units", "percent": True}
    return Chart(
        "bars", f"{title} by layer", data, f"One look, at step {series[0]['x'][0]}: the run was short."
    )


def _shares(
    traces: Traces, signal: str, title: str, *, below: float | None = None, above: float | None = None
) -> Iterator[Chart]:
    series: list[dict[str, Any]] = []
    for layer in traces.layers(signal):
        trace = traces.get(signal, layer)
        if trace.values.ndim != 2 or not len(trace) or trace.values.shape[1] < 4:
            continue
        hit = trace.values < below if below is not None else trace.values > (above or 0)
        series.append({"name": layer, "x": plain(trace.steps), "y": plain(hit.mean(1))})
    if not series:
        return
    if max(len(s["x"]) for s in series) < 2:
        yield _once(series, title)
        return
    worst = sorted(series, key=lambda s: -float(np.max(s["y"])))[:SHOWN_LAYERS]
    kept = [s for s in series if s in worst]
    more = len(series) - len(kept)
    note = "Share of the units of a layer" + (
        f" that are on in under {below:.1%} of the rows."
        if below is not None
        else f" at an end in over {above:.0%} of the rows."
    )
    data = {
        "series": kept,
        "x": "optimizer step",
        "y": "share of units",
        "percent": True,
        "low": True,
        "dots": True,
    }
    yield Chart(
        "lines",
        f"{title} by layer",
        data,
        note + (f" {more} layers with fewer are not shown." if more > 0 else ""),
    )
