"""Gradients and updates of every layer over the training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from trainwell.report.blocks import Block, Chart
from trainwell.report.saved import Saved
from trainwell.report.section import Section
from trainwell.report.thin import plain
from trainwell.values.signal import Array, Traces

SHOWN_LAYERS, SHOWN_LOOKS = 60, 60


class Layers(Section):
    name, title, place = "layers", "Gradients and updates by layer", 60

    def blocks(self, saved: Saved) -> Sequence[Block]:
        traces = saved.watch
        return [
            *_heat(traces, "grad_norm", "Gradient norm by layer", "gradient, L2 norm",
                   "Each column is a sampled step. A row that darkens towards the input has a vanishing gradient."),
            *_ratios(traces),
            *_heat(traces, "back_rms", "Gradient of the activations by layer", "root mean square",
                   "How the error travels from the last layer (below) to the first (above)."),
        ]  # fmt: skip


def _heat(traces: Traces, signal: str, title: str, label: str, note: str) -> Iterator[Block]:
    layers = [la for la in traces.layers(signal) if len(traces.get(signal, la)) > 1][:SHOWN_LAYERS]
    if layers:
        found = [traces.get(signal, layer) for layer in layers]
        yield _picture(title, layers, [(t.steps, t.values) for t in found], label, note)


def _ratios(traces: Traces) -> Iterator[Block]:
    layers: list[str] = []
    found: list[tuple[Array, Array]] = []
    for layer in traces.layers("update_norm"):
        update, weight = traces.get("update_norm", layer), traces.get("weight_norm", layer)
        n = min(len(update), len(weight))
        if n > 1 and layer.endswith("weight") and len(layers) < SHOWN_LAYERS:
            with np.errstate(all="ignore"):
                found.append((update.steps[:n], update.values[:n] / np.maximum(weight.values[:n], 1e-30)))
            layers.append(layer)
    if layers:
        yield _picture(
            "Size of an update against the weights", layers, found, "update / weight",
            "The length of one step as a share of the length of the weights. About 1e-3 is usual; far above the "
            "layer is thrown about, far below it stands still.",
        )  # fmt: skip


def _picture(title: str, layers: list[str], found: list[tuple[Array, Array]], label: str, note: str) -> Chart:
    steps = max((s for s, _ in found), key=len)
    every = max(1, -(-len(steps) // SHOWN_LOOKS))
    kept = steps[::every]
    rows = [plain(_at(kept, s, np.asarray(v, float)), 3) for s, v in found]
    data = {
        "rows": layers,
        "columns": plain(kept),
        "values": rows,
        "x": "optimizer step",
        "label": label,
        "log": True,
    }
    return Chart("heat", title, data, note)


def _at(steps: Array, own: Array, values: Array) -> Array:
    """Return the values at these steps; NaN where a layer has none."""
    place = {int(s): v for s, v in zip(own, values, strict=True)}
    return np.array([place.get(int(s), np.nan) for s in steps])
