from __future__ import annotations

import numpy as np

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

FAR = 0.1
"""Median distance of the matrices from where they began, in units of their norm. Fine-tuning that helped ended within
.02 to .05 of it (benchmarks and tests of transfer)."""

WORSE = 0.1
"""Rise of the validation loss over that of the start, in units of the loss of the best constant answer."""

CONSTANT = 0.95
"""Of the loss of the best constant answer, beyond which a network with a new last layer has learned nothing."""


class PretrainedLrTooHigh(Rule):
    """Find fine-tuning that throws pre-trained weights away: far moved, and worse than at the start."""

    ailment = "pretrained_lr_too_high"
    needs = ("distance", "val_loss", "train_loss", "lr")
    explains = ("lr_too_high", "overfitting", "exploding_gradient", "dead_units", "undertrained", "underfitting",
                "plateau", "oscillation")  # fmt: skip
    source = (
        "Kumar et al. 2022, arXiv:2202.10054 (features distorted); Howard and Ruder 2018, arXiv:1801.06146."
    )

    def diagnose(self, view: View) -> Finding | None:
        start, losses = view.number("start_of_base") * view.base_loss, view.get("val_loss").values
        moved = [v for v in (view.fact("distance") or {}).values() if np.isfinite(v)]
        if not np.isfinite(start) or not losses.size or not moved or not view.base_loss > 0:
            return None
        far = float(np.median(moved))
        first, best = float(losses[0]), float(np.nanmin(losses))
        risen, left = ((v - start) / view.base_loss for v in (first, best))
        # learning by heart raises the loss late; what is thrown away is lost in the first epoch
        thrown, constant = risen > WORSE and left > 0, best > CONSTANT * view.base_loss
        if not far > FAR or not (thrown or constant):
            return None
        rates = view.get("lr").values
        measured = {"lr": float(rates.max())} if rates.size else {}
        return Finding(
            self.ailment, "critical", 0.9, "S",
            "The steps were so long that the pre-trained weights lost what they knew: "
            + (
                "after the first epoch the network was worse on validation rows than before it "
                f"(loss {first:.3g}, at the start {start:.3g}). What was learned since does not make up for it."
                if thrown
                else "the network, far from where it began, does no better on validation rows than a constant answer."
            ),
            (
                Reading("val_loss of the first epoch - at the start", risen * view.base_loss, WORSE * view.base_loss)
                if thrown
                else Reading("val_loss", best, CONSTANT * view.base_loss),
                Reading("distance from the pre-trained weights", far, FAR),
            ),
            fix="divide the learning rate by 3 to 10, least near the output, or begin with the last layer alone",
            source=self.source, measured=measured,
        )  # fmt: skip
