from __future__ import annotations

import math

from trainwell.rules.rule import Rule
from trainwell.rules.view import SOLVED, View
from trainwell.values.finding import Finding, Reading

LATE, LATE_SEQUENCE, FAR = 0.3, 0.5, 0.85
"""Late against mean progress of the training loss; share of the way from which only a measured gain tells."""

MORE, MORE_SEQUENCE, Z = 0.05, 0.03, 3.0
"""What doubling the steps must gain on validation rows, in units of the base loss, and in standard errors.
The loss of sequences has a floor far above zero, so that less counts there."""


SHORT = 0.5
"""Share of the run under which a continuation is too short to measure what doubling gains."""

BEGUN = 0.05
"""Fall of the training loss, in units of the base loss, by which a run has begun to learn."""

AHEAD = 3.0
"""How many times more doubling must gain where the network knows more than a simple learner: what is plain is learned,
and of the rest every longer training learns a little."""

PASSES = 6.0
"""Passes over the data from which the gain must be as many times larger as there were more: of a run that had twenty, as
many again always bring a little."""

LIKELY, STEADY = 2.0, 0.5
"""Standard errors that are enough for new rows where the run itself surely bettered them to its last epoch, its curve has
lost less than half of its slope, and its own rows surely gain: new rows are few, and what witnesses say adds up."""

FEW_STEPS = 100
"""A loss that falls over fewer steps is the beginning of every training; then only a continuation can tell."""


class Undertrained(Rule):
    """Find trainings that end while training and validation loss still fall."""

    ailment = "undertrained"
    needs = ("train_loss", "val_loss", "probe_score", "lr")
    explains = ("underfitting", "plateau")
    source = "Domhan et al. 2015, IJCAI (learning curves); the continuation is measured on a copy."

    def diagnose(self, view: View) -> Finding | None:
        more = _marked(view)
        measured = view.doubling_gain > more and view.what_if(view.continuation, "val_hot_z") > Z
        # the curve of two epochs has no shape, but a continuation needs none
        if view.is_solved or view.rate_decayed or (len(view.epoch_loss) < 3 and not measured):
            return None
        # what has hardly begun to learn may have another fault, unless it is seen to learn when it goes on
        if view.gained < BEGUN and not view.doubling_gain > MORE:
            return None
        val = view.get("val_loss").values
        if val.size > 1 and not val[-1] <= val.min() + 0.01 * (val[0] - val.min()):
            return None
        reading = self._reading(view)
        # near the end only a gain that was measured tells, and one of all that SOLVED leaves
        if reading is None or not (view.way < FAR or view.what_if(view.continuation, "val_hot") > 1 - SOLVED):
            return None
        return Finding(
            self.ailment, "warning", 0.75, "W" if reading.trace.startswith("gain") else "S",
            "The loss still falls where the training ends, on rows that it trains on and on new ones. "
            "More epochs would make the network better.",
            (reading,), fix="train longer, two to five times as many epochs",
            source=self.source, measured=view.measured,
        )  # fmt: skip

    @staticmethod
    def _reading(view: View) -> Reading | None:
        """What shows it: what the loss did when the training went on with a copy, or else the curve itself."""
        gain = view.doubling_gain
        if math.isfinite(gain):
            more = _marked(view)
            z = view.what_if(view.continuation, "val_hot_z")
            surely = z > Z or (z > LIKELY and view.goes_on and _bettered_to_the_end(view))
            if gain > more and surely:
                return Reading("gain of doubling / base loss", gain, more)
            # that short it cannot tell how much, only that the fall which the curve shows goes on, also on new rows
            short = view.what_if(view.continuation, "steps") < SHORT * view.steps
            goes_on = surely and view.what_if(view.continuation, "train_hot_z") > Z
            if not short or not goes_on:
                return None
        elif view.steps < FEW_STEPS:
            return None
        late = LATE_SEQUENCE if view.is_sequence else LATE
        if view.late_rate > late and view.falling_z > 2:
            return Reading("fall at the end / mean fall", view.late_rate, late)
        return None


def _marked(view: View) -> float:
    """Return the gain that is a marked part of all there was to learn: a run from far above a constant answer, or to far
    below a loss of zero, went a longer way than the base loss.
    """
    fall = view.early_loss - float(view.epoch_loss[-1]) if view.epoch_loss.size else 1.0
    more = (MORE_SEQUENCE if view.is_sequence else MORE) * (max(1.0, fall) if math.isfinite(fall) else 1.0)
    passes = view.steps * view.batch_size / max(1.0, view.number("rows_per_epoch", math.inf))
    many = 1.0 if view.is_sequence else max(1.0, passes / PASSES)
    return more * max(many, AHEAD if view.way > view.number("learnable") else 1.0)


def _bettered_to_the_end(view: View) -> bool:
    """Whether the curve has kept its slope, and the last epoch surely bettered the rows that are validated on."""
    losses = view.get("val_losses").values
    if losses.ndim != 2 or len(losses) < 2 or not view.late_rate > STEADY:
        return False
    fall = losses[-2] - losses[-1]
    return bool(fall.mean() > Z * fall.std() / math.sqrt(max(1, fall.size)))
