from __future__ import annotations

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

UPDATES, WHOLE = 60, 0.9
"""Steps that are few for any training; share of the rows from which a batch holds the whole epoch, so that half as many
steps of it are too few whatever the loss did in them."""


class BatchTooLarge(Rule):
    """Find trainings that take too few steps because a batch holds most of the data."""

    ailment = "batch_too_large"
    needs = ("q", "train_loss", "probe_score")
    explains = ("undertrained", "underfitting", "plateau", "lr_too_low")
    source = "McCandlish et al. 2018, arXiv:1812.06162; Keskar et al. 2017, arXiv:1609.04836."

    def diagnose(self, view: View) -> Finding | None:
        rows = view.number("rows_per_epoch", 0)
        if view.is_done or not 0 < view.steps < 4 * UPDATES or not rows or view.num_epochs < 3:
            return None
        if (
            view.batch_size > 1.5 * rows
        ):  # one that judges its batch several times a step is made for whole ones
            return None
        per_epoch = view.steps / view.num_epochs
        # a longer training would also help; the batch is to blame where an epoch has only a few steps
        if per_epoch > 8 or view.batch_size < 64 or (view.steps >= UPDATES and per_epoch > 4):
            return None
        few = view.batch_size > WHOLE * rows and view.steps < UPDATES / 2 and not view.is_solved
        if not (few or view.late_rate > 0.25 or view.falling_z > 3) or view.q_median < 0.5:
            return None
        return Finding(
            self.ailment, "warning", 0.8, "S",
            f"With {view.batch_size} samples in a batch an epoch has only {per_epoch:.0f} step(s). "
            "The same data could give many more steps, each nearly as good.",
            (Reading("steps", view.steps, UPDATES, "<"), Reading("steps per epoch", per_epoch, 8, "<")),
            fix="use smaller batches, or raise the learning rate with the batch size", source=self.source,
            measured=view.measured,
        )  # fmt: skip
