from __future__ import annotations

import numpy as np

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

UNSTABLE = (
    "lr_too_high",
    "exploding_gradient",
    "dead_units",
    "saturated_units",
    "oscillation",
    "plateau",
    "underfitting",
)


SPREAD = 30.0
"""Largest against median scale of the columns from which inputs count as unscaled."""

ENOUGH, SHORT = 3, 0.9
"""Losses that show how it went, and q, of 1 at most, of steps after which the loss is nearly where its slope says."""

WINDOW, GROWN = 20, 3.0
"""Losses before the first that is no number, and how far the last of them may lie above the usual one."""

STUCK = 0.02
"""Share of rows with a channel that stands still, as of other odd rows."""

ALIKE, NOTHING = 1e-3, 0.1
"""By how much mean and deviation differ between rows that were standardised one by one, which is rounding alone; share of
the way up to which nothing was learned."""

SURE, WORSE = 4.0, 1.5
"""Standard errors by which the losses of some rows rank higher, and how many times higher they are, from which their
inputs are to blame: chance shows the first once in thirty thousand looks."""


class BadFeatures(Rule):
    """Find inputs that are missing, stand for missing, or are destroyed."""

    ailment = "bad_features"
    needs = ("data", "destroyed", "probe_score")
    explains = (*UNSTABLE, "unscaled_inputs", "undertrained", "overfitting", "bad_init", "lr_too_low",
                "train_val_shift", "batch_too_small", "shuffled_labels", "label_noise",
                "vanishing_gradient")  # fmt: skip
    source = "Chorev et al. 2022, arXiv:2203.08491 (Deepchecks: odd values, outlying samples)."

    def diagnose(self, view: View) -> Finding | None:
        harmed = not view.is_solved
        # columns whose usual parts are of so different scale do more harm than a few rows
        unscaled = view.number("x_spread_ratio", 1.0) > SPREAD and not view.fact("first_layer_normalises")
        tests = (
            ("x_nonfinite_share", 0.0, True, "values that are NaN or infinite",
             "impute the missing values and add a column that says where they were", "D"),
            ("sentinel_share", 0.002, True, f"one far-off value, {view.number('sentinel_value'):.6g}, again and again",
             "treat that code as missing: impute it and add a column that says where it stood", "S"),
            ("odd_row_share", 0.002, harmed and view.number("odd_row_share", 0) < 0.05 and not unscaled,
            "rows a dozen times larger than the usual one",
             "check those rows; drop or clip them", "S"),
            ("x_constant_share", 0.3, harmed, "columns that never change",
             "find out why these columns are constant; they were probably destroyed on the way", "S"),
            ("blank_row_share", 0.02, harmed, "rows whose cells are all equal",
             "check how these rows were read; drop them", "S"),
        )  # fmt: skip
        for fact, limit, counts, what, fix, grade in tests:
            share = view.number(fact, 0.0)
            if counts and share > limit:
                return Finding(
                    self.ailment, "critical" if grade == "D" or harmed else "warning", 0.95 if grade == "D" else 0.9,
                    grade,
                    f"{_percent(share)} % of the inputs seen are {what}. "
                    "The network takes them for real measurements, and they outweigh the rest.",
                    (Reading(fact, share, limit),), fix=fix, source=self.source, measured=view.measured,
                )  # fmt: skip
        return self._costly(view) or self._levelled(view) or self._breaks(view)

    def _levelled(self, view: View) -> Finding | None:
        """Rows that were each standardised by themselves, where nobody finds anything in what is left of them."""
        spread = view.number("own_scale", np.inf)
        if (
            spread > ALIKE
            or not max(view.way, view.val_way) < NOTHING
            or not view.number("learnable", np.inf) < NOTHING
        ):
            return None
        return Finding(
            self.ailment, "critical", 0.7, "S",
            "Every row was brought to mean 0 and deviation 1 by itself, so that its level and size are gone. "
            "Neither the network nor a simple learner finds anything in what is left.",
            (Reading("own_scale", spread, ALIKE, "<"),),
            fix="scale each column by its mean and deviation over the training rows, not each row by its own",
            source=self.source, measured=view.measured,
        )  # fmt: skip

    def _costly(self, view: View) -> Finding | None:
        """Channels that stand still, and cells that were filled, where the network answers rows with them far worse."""
        cost, z = view.number("filled_cost", 1.0), view.number("filled_cost_z", 0.0)
        share = view.number("stuck_share", 0.0)
        if view.is_solved:
            return None
        if share > STUCK:
            what = "rows in which a channel stands still that moves at every place of other rows"
            fix = "check the sensor or the file behind that channel; leave such rows out"
            readings: tuple[Reading, ...] = (Reading("stuck_share", share, STUCK),)
        elif z > SURE and cost > WORSE:
            share = view.number("filled_share", 0.0)
            what = "rows with a cell that holds one number again and again, in a column of measured ones"
            fix = "find out where that number comes from, a filler or columns that moved; say in a column where it stood"
            readings = (Reading("filled_cost", cost, WORSE), Reading("z", z, SURE))
        else:
            return None
        return Finding(
            self.ailment, "critical", 0.8, "S",
            f"{_percent(share)} % of the inputs seen are {what}. The network takes them for real measurements.",
            readings, fix=fix, source=self.source, measured=view.measured,
        )  # fmt: skip

    def _breaks(self, view: View) -> Finding | None:
        """A loss that is no number out of nothing: what diverges grows before, what meets a bad value does not."""
        losses = view.get("train_loss")
        bad = np.flatnonzero(~np.isfinite(losses.values))
        if bad.size == 0 or not self._went_well(view, int(losses.steps[bad[0]])) or abs(view.back_gain) > 1.7:
            return None
        before = np.abs(losses.values[max(0, bad[0] - WINDOW) : bad[0]])
        grown = float(before[-3:].max() / max(float(np.median(before)), 1e-30))
        if grown > GROWN or before[-1] > GROWN * view.train_base_loss:
            return None
        at = int(losses.steps[bad[0]])
        return Finding(
            self.ailment, "critical", 0.75, "S",
            f"The loss of step {at} is no number, and those just before were as always: it did not grow into that. "
            "Most likely a value of that batch is missing or infinite, or the loss takes a logarithm or root of 0.",
            (Reading("losses before / usual loss", grown, GROWN, "<"),), span=(at, view.steps),
            fix="assert torch.isfinite(x).all() for inputs and targets; impute what is missing", source=self.source,
            measured=view.measured,
        )  # fmt: skip

    @staticmethod
    def _went_well(view: View, step: int) -> bool:
        """Whether there were losses enough before this step to see it, or all steps before were seen to be short ones."""
        q = view.get("q")
        before = q.values[q.steps < step]
        return step >= ENOUGH or (0 < step == len(before) and bool(np.all(before > SHORT)))


def _percent(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.1 else f"{100 * share:.2g}"
