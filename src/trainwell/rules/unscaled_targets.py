from __future__ import annotations

import numpy as np

from trainwell.rules.bad_features import UNSTABLE
from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

LARGE, OFFSET, SMALL = 20.0, 10.0, 1e-3

LEVEL, MOSTLY = 5.0, 2.0
"""Root mean square, as of inputs, and offset in deviations from which both together count: a network that begins near
zero has then four fifths of its loss from a level that a constant would give it."""


class UnscaledTargets(Rule):
    """Find regression targets of huge scale or offset."""

    ailment = "unscaled_targets"
    needs = ("data", "probe_score", "target_mean")
    explains = (*UNSTABLE, "undertrained", "lr_too_low", "bad_init", "train_val_shift", "loss_mismatch",
                "batch_too_small", "overfitting", "weight_decay_misuse", "shuffled_labels")  # fmt: skip
    source = "Bishop 1995, Neural Networks for Pattern Recognition, 8.2."

    def diagnose(self, view: View) -> Finding | None:
        if view.kind != "regression" or (view.is_solved and not view.has_nonfinite):
            return None
        rms, (mean, sd) = view.number("y_rms", 1.0), _spread(view)
        offset = abs(mean) / max(sd, 1e-300)
        readings = []
        if rms > LARGE:
            readings.append(Reading("y_rms", rms, LARGE))
        far = MOSTLY if rms > LEVEL and not _comes_later(view, MOSTLY * sd) else OFFSET
        if offset > far:
            readings.append(Reading("y_mean_over_sd", offset, far))
        if 0 < sd < SMALL:
            readings.append(Reading("y_sd", sd, SMALL, "<"))
        if not readings or (view.fact("y_integral") and view.number("y_distinct", 99) <= 20):
            return None
        return Finding(
            self.ailment, "critical", 0.9, "S",
            "The targets lie far from zero or have a scale far from one. "
            "The network spends its steps on reaching that level, and errors and gradients are as large as the targets.",
            tuple(readings), fix="train on (y - mean) / sd of the training part and undo it in the prediction",
            source=self.source, measured=view.measured,
        )  # fmt: skip


def _spread(view: View) -> tuple[float, float]:
    """Return mean and deviation of the targets, with how far their mean moves: a network may make them itself."""
    mean, sd = view.number("y_mean", 0.0), view.number("y_sd", 1.0)
    means = view.get("target_mean").values
    means = means[np.isfinite(means)]
    return (mean, sd) if len(means) < 2 else (float(means.mean()), float(np.hypot(sd, means.std())))


def _comes_later(view: View, level: float) -> bool:
    """Whether the targets of the first step lie below a level: a network that makes its own took them there."""
    means = view.get("target_mean").values
    return bool(means.size and abs(means[0]) < level)
