from __future__ import annotations

import math

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

RATE, LOWER = 0.04, 0.02
"""Healthy data, also with overlapping classes, show <= 1.3 %; 12 % wrong labels show 9.9 % (DOCTOR 4, Data)."""

FLAT = 0.6
"""Errors among the surest rows over all errors: wrong labels hit both alike, a poor witness errs where it is unsure."""

POOR = 0.5
"""A witness with over half the errors of the best constant answer is no witness."""


class LabelNoise(Rule):
    """Find labels that contradict an independent learner even where it is surest."""

    ailment = "label_noise"
    needs = ("data", "probe_score", "val_score")
    explains = ("overfitting", "underfitting", "plateau", "lr_too_low", "undertrained", "lr_too_high")
    source = "Northcutt et al. 2021, arXiv:1911.00068 (confident errors); DOCTOR 4, Data."

    def diagnose(self, view: View) -> Finding | None:
        rows, rate = view.number("witness_sure_rows", 0.0), view.number("witness_sure_error", 0.0)
        overall, base = view.number("witness_error", 1.0), view.number("witness_base_error", 1.0)
        if rows < 30 or rate <= RATE or view.is_sound:
            return None
        lower = rate - 2 * math.sqrt(rate * (1 - rate) / rows)
        flat = rate / max(overall, 1e-9)
        if lower <= LOWER or flat < FLAT or overall > POOR * base:
            return None
        return Finding(
            self.ailment, "warning", 0.85, "S",
            f"About {100 * rate:.0f} % of the labels contradict an independent learner even on the rows of which "
            "it is surest. They are probably wrong, and the network can only learn them by heart.",
            (Reading("witness_sure_error", rate, RATE), Reading("witness_sure_error / witness_error", flat, FLAT)),
            fix="review the rows whose label differs from that of all similar rows", source=self.source,
            measured={**view.measured, "noise": rate},
        )  # fmt: skip
