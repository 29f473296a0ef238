from __future__ import annotations

from trainwell.rules.layers import STUCK_ROWS
from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

SHARE, FLAT = 0.25, 0.5
"""Share of a layer's units that are stuck; share of all its answers in the flat part, from the start to the end, which
of healthy runs lies under 0.3 and of large start weights or inputs at 0.7 to 1 (benchmarks/cases/wild.py, loud_tanh)."""

STUCK = (
    "{:.0f} % of the units of a layer give the same extreme value for nearly every sample. "
    "There their slope is almost zero, so they neither tell samples apart nor learn."
)
LIKE_SIGNS = (
    "{:.0f} % of the answers of a layer lie in the flat part of its activation, from the start on. "
    "Its units only say yes or no, and as their slope is almost zero, no gradient tells them better."
)


class SaturatedUnits(Rule):
    """Find tanh and sigmoid units that are stuck in their flat part."""

    ailment = "saturated_units"
    needs = ("unit_saturation", "probe_score", "params")
    explains = (
        "underfitting",
        "undertrained",
        "plateau",
        "vanishing_gradient",
        "overfitting",
        "lr_too_low",
        "bad_init",
        "weight_decay_misuse",
    )
    source = "Glorot and Bengio 2010; DeepDiagnosis 2022, 'saturated activation'."

    def diagnose(self, view: View) -> Finding | None:
        if view.is_sound:
            return None
        last = (view.fact("modules") or [{"name": None}])[-1]["name"]
        stuck, flat = {}, {}
        for layer in view.traces.layers("unit_saturation"):
            values = view.get("unit_saturation", layer).values
            if layer == last or values.ndim != 2 or not len(values):
                continue
            tail = values[-max(3, len(values) // 3) :].mean(0)
            stuck[layer] = float((tail > STUCK_ROWS).mean())
            flat[layer] = min(float(values[:2].mean()), float(tail.mean()))
        return self._finding(view, stuck, SHARE, 0.85, STUCK) or self._finding(
            view, flat, FLAT, 0.8, LIKE_SIGNS
        )

    def _finding(
        self, view: View, shares: dict[str, float], limit: float, confidence: float, meaning: str
    ) -> Finding | None:
        worst = max(shares, key=lambda k: shares[k], default=None)
        if worst is None or shares[worst] <= limit:
            return None
        return Finding(
            self.ailment, "critical", confidence, "S", meaning.format(100 * shares[worst]),
            (Reading("unit_saturation", shares[worst], limit, layer=worst),),
            layers=tuple(k for k in shares if shares[k] > limit),
            fix="scale the inputs, start with Xavier weights, or normalise before the activation",
            source=self.source, measured=view.measured,
        )  # fmt: skip
