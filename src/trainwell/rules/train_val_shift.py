from __future__ import annotations

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

FIXES = {
    "": "draw both parts from the same population (shuffle before splitting), and apply the same preparation to both",
    "group": "the groups differ, as the split by group was to show: train on more of them, scale the inputs within each, "
    "or augment what tells them apart",
    "time": "later rows differ, as the split by time was to show: train on recent ones, or on inputs that stay",
}
"""What to change, by what the parts were split by on purpose."""


SOME, MUCH = 0.1, 0.5
"""Share of the columns whose spread differs that tells enough where validation lies so far above training, in units of
the base loss."""

SCALED, SCALED_MUCH = 2.0, 1.4
"""Ratio of the spreads over all columns; the second, a variance twice as large, where new rows fare far worse: healthy
parts of many columns differ by 1.25 at most."""

EASIER = 0.05
"""By how much the score of validation lies above that of training rows where these are the harder ones."""

TOKENS = 0.25
"""Share of the tokens of validation that are too many there; what one language says of like things differs by less."""


class TrainValShift(Rule):
    """Find a validation part that comes from elsewhere than the training part, where it costs."""

    ailment = "train_val_shift"
    needs = ("data", "val_loss", "probe_loss")
    explains = ("class_imbalance", "overfitting", "underfitting", "leakage", "shuffled_labels")
    source = "Rabanser et al. 2019, arXiv:1810.11953; Deepchecks 'feature drift'."

    def diagnose(self, view: View) -> Finding | None:
        readings = []
        far, z = view.number("shift_sd", 0.0), view.number("shift_z", 0.0)
        if far > 0.5 and z > 6:
            readings.append(Reading("shift_sd", far, 0.5))
        # where new rows fare far worse less tells enough
        limit, scale = (SOME, SCALED_MUCH) if self._costs(view, MUCH) else (0.3, SCALED)
        if view.number("shift_scale", 1.0) > scale:
            readings.append(Reading("shift_scale", view.number("shift_scale"), scale))
        if view.number("shift_scaled_columns", 0.0) > limit:
            readings.append(Reading("shift_scaled_columns", view.number("shift_scaled_columns"), limit))
        same = view.number("shift_same_side", 0.5)
        if same > 0.75 and view.number("shift_same_side_z", 0.0) > 6:
            readings.append(Reading("shift_same_side", same, 0.75))
        if view.number("shift_tokens", 0.0) > TOKENS:
            readings.append(Reading("shift_tokens", view.number("shift_tokens"), TOKENS))
        if view.number("unseen_label_share", 0.0) > 0.02:
            readings.append(Reading("unseen_label_share", view.number("unseen_label_share"), 0.02))
        if view.number("label_shift", 0.0) > 0.25:
            readings.append(Reading("label_shift", view.number("label_shift"), 0.25))
        scaled = any(r.trace in ("shift_scale", "shift_scaled_columns") for r in readings)
        # rows that are shifted and blurred to train on are to be harder than those of validation
        harder = scaled and view.val_score > view.train_score + EASIER
        if not readings or not ((scaled and not harder) or self._costs(view)):
            return None
        return Finding(
            self.ailment, "critical" if self._costs(view) else "warning", 0.85, "S",
            "Validation and training rows come from different populations. "
            "What is learned on the one need not hold on the other, however well the training goes.",
            tuple(readings), fix=FIXES[str(view.fact("held_out") or "")], source=self.source, measured=view.measured,
        )  # fmt: skip

    @staticmethod
    def _costs(view: View, least: float = 0.05) -> bool:
        """Whether validation is clearly worse than training on rows in evaluation mode."""
        val, probe = view.get("val_loss").last, view.get("probe_loss").last
        return not val - probe <= least * view.base_loss
