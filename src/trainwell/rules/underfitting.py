from __future__ import annotations

import math

from trainwell.rules.lr_too_low import SMALL, STRAIGHT
from trainwell.rules.rule import Rule
from trainwell.rules.undertrained import MORE
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

LEFT, MUCH_LEFT, FALLING = 0.1, 0.3, 0.3
"""Predictable share of the errors, and late against mean progress."""

POOR, FEW, POOR_PICTURE = 0.8, 0.95, 0.6
"""Way on a few rows that are learned by heart, where every network that is large enough comes near 1; autoencoders
with a sound bottleneck come to 0.7 and more."""

STRONG = 0.8
"""Dropout that leaves a fifth of the units; the authors of dropout found 0.5 best and 0.8 harmful (Srivastava et al.
2014, figure 9)."""


class Underfitting(Rule):
    """Find a network that has stopped improving while simple learners still find something in what it leaves."""

    ailment = "underfitting"
    needs = ("q", "train_loss", "val_loss", "probe_score", "residual", "layers")
    explains = ("plateau", "converged_early", "vanishing_gradient", "dead_units", "undertrained", "lr_too_low",
                "lr_too_high", "oscillation")  # fmt: skip
    source = "Goodfellow et al. 2016, 5.2; Karpathy 2019, A Recipe for Training Neural Networks (overfit one batch)."

    def diagnose(self, view: View) -> Finding | None:
        few = view.number("few_way")
        if view.is_solved or view.has_nonfinite or view.is_sequence:
            return None
        # of a picture always something is left that can be predicted; what not even a few rows teach is another matter
        if view.is_wide and not (few < POOR_PICTURE and view.way < 0.5):
            return None
        left = view.number("residual_r2", 0.0)
        rates = [float(m["dropout"]) for m in view.fact("layers", ()) if "dropout" in m]
        strong = max(rates, default=0.0)
        gap = view.train_score - view.val_score
        fits_alike = not math.isfinite(gap) or gap < 0.25 * (1 - view.base_score)
        longer = view.doubling_gain
        stands = view.late_rate < FALLING or longer < MORE
        # a network that can learn some rows by heart is not too small: then rate, budget or data are to blame
        crawls = view.q_median > STRAIGHT and view.update_ratio < SMALL
        small = few < POOR or (few < FEW and left > MUCH_LEFT and not crawls)
        held = strong > STRONG
        if not left > LEFT or not fits_alike or not view.way < 0.8 or not (held or (stands and small)):
            return None
        fix = "use a wider or deeper network, or better features"
        if strong > 0.6:
            fix = f"lower the dropout of {strong:g} to 0.1 to 0.3"
        told = (
            Reading("residual_r2", left, LEFT), Reading("few_way", few, FEW, "<"), Reading("dropout", strong, STRONG)
        )  # fmt: skip
        return Finding(
            # what drops four of five units leaves little doubt; else a rate or a fault of units may be the cause
            self.ailment, "critical", 0.88 if held else 0.8, "W",
            "The network no longer improves, on training rows as little as on new ones, and yet simple learners can "
            "predict part of its errors. It is too small, or held back too strongly.",
            tuple(r for r in told if r.holds), fix=fix, source=self.source,
            measured={**view.measured, "dropout": strong, "residual_r2": left},
        )  # fmt: skip
