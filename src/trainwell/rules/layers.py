"""What the rules read from the traces of single layers: units, strides, gradients on their way back."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np

from trainwell.values.signal import Array, Trace, Traces

DEAD_RATE, DEAD_SHARE, DEAD_ROWS = 0.002, 0.45, 500
"""A unit is dead that is on in under 0.2 % of at least 500 samples; healthy layers have up to 12.5 % of them."""

ANEW = 1.0
"""|update| / |weight| of one step after which nothing is left of the weights before it."""

STUCK_ROWS = 0.9
"""A unit is stuck that is in the flat part of its activation for so many of the samples."""


class LayerView:
    """The traces of one run, and what its layers show."""

    def __init__(self, traces: Traces) -> None:
        self.traces = traces

    def get(self, signal: str, layer: str | None = None) -> Trace:
        return self.traces.get(signal, layer)

    def fact(self, name: str, default: Any = None) -> Any:
        return self.traces.fact(name, default)

    def share(self, signal: str) -> float:
        """Return the mean of a series over what is finite in it; 0 where nothing is."""
        values = self.get(signal).values
        values = values[np.isfinite(values)]
        return float(values.mean()) if values.size else 0.0

    def number(self, name: str, default: float = math.nan) -> float:
        return self.traces.number(name, default)

    def dead_share(self, layer: str) -> tuple[float, float]:
        """Return the share of a layer's rectifiers that were off for all samples at the start, and at the end."""
        trace = self.get("unit_activity", layer)
        # too few units, or too few samples, give no share
        if trace.values.ndim != 2 or len(trace) < 3 or trace.values.shape[1] < 4:
            return 0.0, 0.0
        rows = max(1.0, self.number("look_rows", 1.0))
        looks = max(3, len(trace) // 3, math.ceil(DEAD_ROWS / rows))
        few = max(
            1, min(math.ceil(16 / rows), len(trace) // 3)
        )  # the first steps may already kill: 16 rows must do
        start, end = trace.values[:few].mean(0), trace.values[-looks:].mean(0)
        return float((start < DEAD_RATE).mean()), float((end < DEAD_RATE).mean())

    def stuck_share(self, layer: str) -> tuple[float, float]:
        """Return the share of squashers of a layer that gave one extreme for nearly all samples: at first, at the end."""
        values, _ = self.unit_ends(layer)
        if len(values) < 3 or values.shape[1] < 4:
            return 0.0, 0.0
        return float(values[:1].mean()), float(values[-max(3, len(values) // 3) :].mean(0).round().mean())

    def unit_ends(self, layer: str) -> tuple[Array, Array]:
        """Return (looks, units), whether a unit was dead or stuck at a look, and the steps of the looks."""
        dead, stuck = self.get("unit_activity", layer), self.get("unit_saturation", layer)
        trace = dead if len(dead) else stuck
        if trace.values.ndim != 2:
            return np.zeros((0, 0)), trace.steps
        return np.asarray(dead.values < DEAD_RATE if len(dead) else stuck.values > STUCK_ROWS), trace.steps

    @cached_property
    def _strides(self) -> list[Array]:
        """|update| / |weight before it| of the sampled steps, for each matrix; 0 from zeros, where every step is long."""
        ratios = []
        for layer in self.traces.layers("update_norm"):
            update, weight = self.get("update_norm", layer).values, self.get("weight_norm", layer).values
            n = min(len(update), len(weight))
            with np.errstate(all="ignore"):
                ratios.append(np.where(weight[:n] == 0, 0.0, update[:n] / np.maximum(weight[:n], 1e-30)))
        return ratios

    @cached_property
    def update_ratio(self) -> float:
        """Median over matrices and sampled steps of |update| / |weight|."""
        ratios = [np.median(r[len(r) // 4 :]) for r in self._strides]
        return float(np.median(ratios)) if ratios else math.nan

    @cached_property
    def grown(self) -> list[float]:
        """Size of the learning matrices at the end over that at the start."""
        return [
            p["rms_end"] / p["rms"]
            for p in self.fact("params", ())
            if len(p["shape"]) >= 2 and p["learns"] and p["rms"] > 0 and "rms_end" in p
        ]

    @cached_property
    def longest_stride(self) -> float:
        """Longest of the sampled steps: the median over matrices of |update| / |weight before it|."""
        n = min(map(len, self._strides), default=0)
        return float(np.nanmax(np.median([r[:n] for r in self._strides], axis=0))) if n else math.nan

    @cached_property
    def back_gain(self) -> float:
        """Decades by which the gradient of the activations grows from the last layer to the first, at the start.

        The first step alone may throw the weights, so that the smaller counts of what the first and three looks show.
        """
        return min((self.back_profile(slice(0, n)) for n in (1, 3)), key=abs)

    def back_profile(self, looks: slice) -> float:
        """Return log10 of the gradient at the first layer over that at the last, the median of some looks."""
        layers = [m["name"] for m in self.fact("modules", ()) if self.get("back_rms", m["name"]).values.size]
        if len(layers) < 3:
            return 0.0
        first, last = (self.get("back_rms", layers[i]).values[looks] for i in (0, -1))
        n = min(len(first), len(last))
        if not n:
            return 0.0
        first, last = first[:n], last[:n]
        good = np.isfinite(first) & np.isfinite(last) & (last > 0)
        if not good.any():
            return 0.0
        return float(np.median(np.log10(np.maximum(first[good], 1e-38) / last[good])))
