from __future__ import annotations

from trainwell.rules.rule import Rule
from trainwell.rules.view import RENEWED, View
from trainwell.values.finding import Finding, Reading

FEW, RISING, UNREST = 8, 0.2, 0.1
"""Batch size; upward share of the path of the epoch loss; sum of its rises in units of the base loss."""


LEARNABLE = 0.15
"""Share of the targets that a simple learner explains, from which a network that learns nothing is stuck."""

FORGETS, MORE = 0.02, 0.15
"""Median of |update| / |weight| at which fifty steps renew the weights; by how much more of the targets a simple
learner explains than a network that got no further."""

CALMER, Z = 0.05, 3.0
"""What a tenth of the rate must gain in a few steps, in units of the base loss, and in standard errors."""

FASTER = 5.0
"""How many times more a few steps move the loss than the trend of the last half of the run, where that is no trend."""

MOMENT = 0.1
"""Share of the steps that makes no progress where the loss no longer falls: what moves it is chance."""


class BatchTooSmall(Rule):
    """Find tiny batches whose noise keeps the loss from falling."""

    ailment = "batch_too_small"
    needs = ("q", "train_loss", "probe_score", "lr")
    explains = ("lr_too_high", "oscillation", "plateau", "underfitting", "exploding_gradient", "dead_units",
                "undertrained", "launch_bound", "overfitting")  # fmt: skip
    source = "McCandlish et al. 2018, arXiv:1812.06162; Masters and Luschi 2018, arXiv:1804.07612."

    def diagnose(self, view: View) -> Finding | None:
        size = view.batch_size
        if not 0 < size < FEW or view.is_done or view.rate_decayed:
            return None
        calms = self._calms(view)
        if view.is_solved and calms is None:
            return None
        overshoots = view.q_median < 0.72 or view.q_negative > 0.3
        # a batch of one or two hardly sees its own curvature: there the unrest of the loss must do
        restless = view.upward > RISING and view.unrest > UNREST
        flat = view.upward > RISING or abs(view.falling_z) < 2
        # a network that was thrown out by noise may stay where it answers the same to all
        stuck = view.way < 0.1 and abs(view.falling_z) < 2 and view.number("learnable", 0.0) > LEARNABLE
        # weights that twenty steps renew hold what the last eighty rows said, and no more comes of it
        renewed = view.update_ratio > RENEWED and abs(view.falling_z) < 2
        behind = _learnable(view) - view.way > MORE and view.update_ratio > FORGETS
        halted = behind and abs(view.falling_z) < 2
        lost = (restless or stuck or renewed or halted) and size <= 4
        noisy = not view.is_solved and ((overshoots and flat) or lost or view.has_nonfinite)
        if not noisy and calms is None:
            return None
        told = (Reading("q, median", view.q_median, 0.72, "<"), Reading("q < 0, share", view.q_negative, 0.3),
                Reading("rises of the epoch loss", view.unrest, UNREST),
                Reading("update_ratio", view.update_ratio, RENEWED if not halted else FORGETS))  # fmt: skip
        return Finding(
            self.ailment, "critical", 0.8, "S" if calms is None else "W",
            f"A step sees only {size} samples, and what they say differs from step to step. "
            "At this learning rate the noise moves the weights more than the signal.",
            (Reading("batch_size", size, FEW, "<"),
             *([calms] if calms else ()), *(r for r in told if r.holds)),
            fix="use batches of 32 or more, accumulate gradients, or lower the learning rate", source=self.source,
            measured=view.measured,
        )  # fmt: skip

    @staticmethod
    def _calms(view: View) -> Reading | None:
        """What a tenth of the rate, or a cool-down, gains where steps as they are gain nothing: noise holds the loss."""
        hot = view.what_if("as_is", "train_hot")
        gains = (
            ("a tenth of the rate", view.what_if("tenth", "train") - max(0.0, hot), "tenth", "hot_z"),
            ("a cool-down", view.what_if("as_is", "train") - hot, "as_is", "cool_z"),
        )
        for name, gain, branch, z in gains:
            reading = Reading(f"gain of {name} / base loss", gain, CALMER)
            sure = min(view.what_if(branch, f"{part}_{z}") for part in ("train", "val"))
            if reading.holds and sure > Z and not view.gets_faster:
                return reading
        moved = [view.what_if("as_is", f"{part}_hot") for part in ("train", "val")]
        sure = min(abs(view.what_if("as_is", f"{part}_hot_z")) for part in ("train", "val"))
        reading = Reading("what a few steps move the loss by / base loss", min(map(abs, moved)), CALMER)
        # where the loss still falls, its trend must not be what moved it
        steps = view.what_if("as_is", "steps")
        stands = view.falling_z < 2 or FASTER * abs(view.trend) * steps < reading.value
        few = steps < MOMENT * view.steps and stands
        return reading if few and reading.holds and sure > Z and moved[0] * moved[1] > 0 else None


def _learnable(view: View) -> float:
    """Return what a simple learner explains of rows that it has not seen, or its share of right answers above chance."""
    base = view.number("witness_base_error", 0.0)
    right = 1 - view.number("witness_error", 1.0) / base if base > 0 else 0.0
    return max(view.number("learnable", 0.0), right)
