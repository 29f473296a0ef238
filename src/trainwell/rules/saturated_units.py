from __future__ import annotations

from trainwell.rules.layers import STUCK_ROWS
from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

SHARE = 0.25


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
    )
    source = "Glorot and Bengio 2010; DeepDiagnosis 2022, 'saturated activation'."

    def diagnose(self, view: View) -> Finding | None:
        if view.is_sound:
            return None
        shares = {}
        hidden = view.traces.layers("unit_saturation")
        last = (view.fact("modules") or [{"name": None}])[-1]["name"]
        for layer in hidden:
            values = view.get("unit_saturation", layer).values
            if layer == last or values.ndim != 2 or not len(values):
                continue
            tail = values[-max(3, len(values) // 3) :]
            shares[layer] = float((tail.mean(0) > STUCK_ROWS).mean())
        worst = max(shares, key=lambda k: shares[k], default=None)
        if worst is None or shares[worst] <= SHARE:
            return None
        return Finding(
            self.ailment, "critical", 0.85, "S",
            f"{100 * shares[worst]:.0f} % of the units of a layer give the same extreme value for nearly every sample. "
            "There their slope is almost zero, so they neither tell samples apart nor learn.",
            (Reading("unit_saturation", shares[worst], SHARE, layer=worst),),
            layers=tuple(k for k in shares if shares[k] > SHARE),
            fix="scale the inputs, start with Xavier weights, or normalise before the activation",
            source=self.source, measured=view.measured,
        )  # fmt: skip
