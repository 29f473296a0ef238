from __future__ import annotations

import numpy as np

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

DRIFT = 0.1
"""In deviations of a channel, median over the norms. Batches of 32 of the very data that filled the statistics move
them by .02 to .05 (the average over ten batches of a mean that varies by a fifth of a deviation from batch to batch)."""


class NormDrift(Rule):
    """Find batch norms of a frozen part whose running statistics go on changing."""

    ailment = "norm_drift"
    needs = ("norm_drift",)
    explains = ("batchnorm_misuse", "train_val_shift")
    source = (
        "Keras guide to transfer learning, section on BatchNormalization; He et al. 2017, arXiv:1703.06870."
    )

    def diagnose(self, view: View) -> Finding | None:
        norms = [n for n in view.fact("norm_drift") or [] if np.isfinite(n["drift"])]
        drift = float(np.median([n["drift"] for n in norms])) if norms else 0.0
        if drift <= DRIFT:
            return None
        worst = sorted(norms, key=lambda n: -n["drift"])
        return Finding(
            self.ailment, "warning", 0.9, "D",
            f"{len(norms)} batch norms of the frozen part go on changing: they are in training mode, which "
            "requires_grad = False does not end. The features that come out of it are no longer those that the "
            "frozen weights were trained with, and differ between training and use.",
            (Reading("norm_drift", drift, DRIFT),), layers=tuple(n["layer"] for n in worst[:20]),
            fix="call eval() on the frozen part after every model.train(); where the new data look different, "
            "measure the statistics once on them before (torch.optim.swa_utils.update_bn, or --with adapt_norms)",
            source=self.source,
            measured={"drift": drift},
        )  # fmt: skip
