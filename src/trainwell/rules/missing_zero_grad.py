from __future__ import annotations

import numpy as np

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading


class MissingZeroGrad(Rule):
    """Find gradients that are never cleared and add up over the steps."""

    ailment = "missing_zero_grad"
    needs = ("stale_grad",)
    explains = ("lr_too_high", "exploding_gradient", "oscillation", "dead_units", "undertrained", "plateau",
                "underfitting", "saturated_units", "batch_too_small", "weight_decay_misuse", "overfitting",
                "vanishing_gradient")  # fmt: skip
    source = "PyTorch recipe, Zeroing out gradients; Stack Overflow, question 48001598."

    def diagnose(self, view: View) -> Finding | None:
        stale = view.get("stale_grad")
        values = stale.values[stale.steps >= 1]
        values = values[np.isfinite(values)]
        share = float(values.mean()) if values.size >= 3 else 0.0
        if share <= 0.5:
            return None
        return Finding(
            self.ailment, "critical", 0.97, "D",
            "The gradients of earlier steps are still there when new ones are computed, and they add up. "
            "Every step repeats all steps before it, like a rate that grows without end.",
            (Reading("stale_grad", share, 0.5),), fix="call optimizer.zero_grad() before loss.backward()",
            source=self.source,
        )  # fmt: skip
