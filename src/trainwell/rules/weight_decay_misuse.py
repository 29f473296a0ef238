from __future__ import annotations

import numpy as np

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

SHRUNK, CONSTANT = 0.35, 25.0


class WeightDecayMisuse(Rule):
    """Find weight decay that pulls the weights to zero faster than they can learn."""

    ailment = "weight_decay_misuse"
    needs = ("params", "lr", "probe_score", "weight_norm")
    explains = ("underfitting", "undertrained", "plateau", "lr_too_low", "vanishing_gradient", "dead_units",
                "saturated_units", "batch_too_large", "oscillation", "lr_too_high")  # fmt: skip
    source = "Loshchilov and Hutter 2019, arXiv:1711.05101; DOCTOR 4, Optimiser misuse."

    def diagnose(self, view: View) -> Finding | None:
        decay = float(view.fact("hyper", {}).get("weight_decay", 0.0))
        if decay <= 0 or view.is_solved:
            return None
        weights = [
            p
            for p in view.fact("params", ())
            if len(p["shape"]) >= 2 and p["learns"] and p["rms"] > 0 and "rms_end" in p
        ]
        shrunk = float(np.median([p["rms_end"] / p["rms"] for p in weights])) if weights else 1.0
        rates = view.get("lr").values
        rate = float(np.median(rates)) if rates.size else 0.0
        constant = 1 / (rate * decay) if rate > 0 else np.inf
        readings = []
        if shrunk < SHRUNK:
            readings.append(Reading("weight rms, end / start", shrunk, SHRUNK, "<"))
        if view.fact("decoupled_decay") and constant < CONSTANT:
            readings.append(Reading("time constant of the decay", constant, CONSTANT, "<"))
        if not readings:
            return None
        return Finding(
            self.ailment, "critical", 0.9, "S",
            f"The weight decay of {decay:g} pulls the weights to zero within some steps. "
            "What a step learns is taken away again before it adds up.",
            tuple(readings), fix="use a weight decay of 0.01 to 0.1 (decoupled), and none on norms and biases",
            source=self.source, measured={**view.measured, "weight_decay": decay},
        )  # fmt: skip
