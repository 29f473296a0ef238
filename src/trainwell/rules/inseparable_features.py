from __future__ import annotations

import math

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

LITTLE, MORE = 0.15, 0.15
"""Share of the way from a constant answer to perfection below which features say next to nothing, and how much more
the plain inputs must say."""


class InseparableFeatures(Rule):
    """Find features of a frozen network that tell the classes apart less well than the inputs themselves."""

    ailment = "inseparable_features"
    needs = ("val_score",)
    explains = ("underfitting", "undertrained", "overfitting", "plateau", "shuffled_labels", "label_noise",
                "lr_too_low", "batch_too_large", "bad_features")  # fmt: skip
    source = (
        "Alain and Bengio 2016, arXiv:1610.01644 (linear probes); Kornblith et al. 2019, arXiv:1805.08974."
    )

    def diagnose(self, view: View) -> Finding | None:
        of_features, of_inputs = view.number("knn_features"), view.number("knn_inputs")
        rows = view.number("knn_rows", 0.0)
        if not (math.isfinite(of_features) and math.isfinite(of_inputs) and rows >= 60):
            return None
        chance = 3 * math.sqrt(0.5 / rows)  # of the difference of two shares
        probe = view.val_way
        if not (of_features < LITTLE and of_inputs > of_features + MORE + chance) or probe > of_inputs:
            return None
        return Finding(
            self.ailment, "critical", 0.85, "S",
            "The features of the frozen network hardly tell the answers apart, although the inputs do: a comparison "
            "with the nearest rows does better on plain inputs than on the features. "
            "No head can learn from them what they do not hold.",
            (
                Reading("way of nearest features", of_features, LITTLE, "<"),
                Reading("way of nearest inputs", of_inputs, of_features + MORE + chance),
            ),
            fix="take another backbone, check that its weights and its preprocessing belong together, or let its "
            "layers learn (--preset balanced fine-tunes them)",
            source=self.source,
        )  # fmt: skip
