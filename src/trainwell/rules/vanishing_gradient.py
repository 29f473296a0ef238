from __future__ import annotations

import math

import numpy as np

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

DECADES = -3.0
"""Gradient at the first layer against the last, in decades. Healthy nets: -1.7 to -0.4; eight sigmoids: -7.2."""


WAY = 0.8
"""Way from which a run has learned well although little came back at its start."""


MISSED, PLAIN = 0.2, 0.9
"""Way of a recurrent net that has learned hardly anything, and explained variation of labels of which a simple learner
finds nearly all: there less than half of the way is hardly anything as well."""

NEAR = 0.1
"""Distance of a matrix from its start, in its own length, that is hardly any; where gradients faded over time it was 0.3
and more."""


def farthest(view: View) -> float:
    """Return how far the matrix that went furthest ended from its start, in its own length; NaN where it is not known."""
    far: list[float] = [d for d in (view.fact("distance") or {}).values() if math.isfinite(d)]
    return max(far, default=math.nan)


class VanishingGradient(Rule):
    """Find gradients that do not reach the first layers, or the first time steps."""

    ailment = "vanishing_gradient"
    needs = ("data", "back_rms", "back_time", "act_rms", "probe_score", "update_norm", "weight_norm")
    explains = ("underfitting", "undertrained", "plateau", "lr_too_low", "saturated_units", "batch_too_large", "bad_init",
                "weight_decay_misuse", "oscillation", "dead_units")  # fmt: skip
    source = "Bengio et al. 1994; Schoenholz et al. 2017, arXiv:1611.01232 (depth scale)."

    def diagnose(self, view: View) -> Finding | None:
        start, later = view.back_gain, view.back_profile(slice(3, None))
        few = view.way < (WAY if start < DECADES else 0.5) or (
            not view.is_judged and max(start, later) < DECADES
        )
        if view.is_solved or not few or self._moves(view):
            return None
        gain = min(start, later)
        reading = Reading("back_gain", gain, DECADES, "<")
        if not gain < DECADES:
            times = [
                t for t in (self._over_time(view, n) for n in view.traces.layers("back_time")) if t < DECADES
            ]
            # gated and plain recurrent nets lose early steps by design; it is a fault where nothing is learned and
            # nothing gets faster
            missed = view.way < MISSED or (view.way < 0.5 and view.number("learnable", 0.0) > PLAIN)
            # weights that are where they began have learned nothing, whatever reached them
            if not times or not missed or view.gets_faster or farthest(view) < NEAR:
                return None
            reading = Reading("back_time", min(times), DECADES, "<")
        # what fades only later is often what another fault has left; a layer that is all off, or stuck, passes nothing on
        dead = max((view.dead_share(n)[0] for n in view.traces.layers("unit_activity")), default=0.0)
        stuck = max((view.stuck_share(n)[0] for n in view.traces.layers("unit_saturation")), default=0.0)
        if reading.trace == "back_time":
            start = gain = min(self._over_time(view, n, 3) for n in view.traces.layers("back_time"))
        confidence = 0.7 if start >= DECADES else 0.8 if max(dead, stuck) > 0.9 else 0.9
        if reading.trace == "back_time" and not view.way < MISSED:
            confidence = 0.7  # it learns something: what else is found comes first
        return Finding(
            self.ailment, "critical", confidence, "S",
            f"On its way back the learning signal shrinks {10 ** -max(reading.value, -30):.0e} times. "
            "The first layers (or time steps) hardly learn, and the rest works on what they compute by chance.",
            (reading,), layers=tuple(view.traces.layers("back_rms")[:3]),
            fix="use ReLU or GELU with He initialisation, residual connections, normalisation, or a gated recurrent net",
            source=self.source, measured=view.measured,
        )  # fmt: skip

    @staticmethod
    def _moves(view: View) -> bool:
        """Whether the loss falls ever faster, and the first matrix goes as far as the others, be its gradient small."""
        far: list[float] = list((view.fact("distance") or {}).values())
        return len(far) > 2 and view.gets_faster and far[0] >= float(np.median(far))

    @staticmethod
    def _over_time(view: View, layer: str, looks: int | None = None) -> float:
        """Return the decades from the last time steps to the first, of the first looks or of all."""
        values = view.get("back_time", layer).values[:looks]
        if values.ndim != 2 or not len(values) or values.shape[1] < 8:
            return 0.0
        profile = np.nanmedian(values, axis=0)
        n = max(1, len(profile) // 8)
        with np.errstate(all="ignore"):
            return float(np.log10(max(profile[:n].mean(), 1e-38) / max(profile[-n:].mean(), 1e-38)))
