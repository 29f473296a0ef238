from __future__ import annotations

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

LATE, MORE, BRANCH_STEPS = 0.3, 0.05, 24


class Undertrained(Rule):
    """Find trainings that end while training and validation loss still fall."""

    ailment = "undertrained"
    needs = ("train_loss", "val_loss", "probe_score", "lr")
    explains = ("underfitting", "plateau")
    source = "DOCTOR 4, Convergence; Domhan et al. 2015 (learning curves)."

    def diagnose(self, view: View) -> Finding | None:
        if view.is_solved or view.rate_decayed or view.num_epochs < 3 or view.gained < 0.05:
            return None
        val = view.get("val_loss").values
        if val.size > 1 and not val[-1] <= val.min() + 0.01 * (val[0] - val.min()):
            return None
        reading = self._reading(view)
        if reading is None:
            return None
        return Finding(
            self.ailment, "warning", 0.75, "W" if reading.trace.startswith("gain") else "S",
            "The loss still falls at the end, in training and in validation. More epochs would make it better.",
            (reading,), fix="train longer, two to five times as many epochs",
            source=self.source, measured=view.measured,
        )  # fmt: skip

    @staticmethod
    def _reading(view: View) -> Reading | None:
        """What shows it: the curve itself, or what the loss did when the training went on with a copy."""
        late = 0.5 if view.is_sequence else LATE
        if view.late_rate > late and view.falling_z > 2:
            return Reading("fall at the end / mean fall", view.late_rate, late)
        # what doubling the steps would gain, if the rate of gain halved on the way
        gain = 0.5 * view.what_if("as_is", "train_hot") * view.steps / BRANCH_STEPS
        val = view.get("val_loss").values
        n = max(1, len(val) // 4)
        val_gain = 0.5 * (val[-1 - n] - val[-1]) / n * len(val) / view.base_loss if len(val) > n else gain
        if min(gain, val_gain) > MORE and view.falling_z > 1:
            return Reading("gain of doubling / base loss", min(gain, val_gain), MORE)
        return None
