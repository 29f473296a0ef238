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

HALF = 0.5
"""Share of the loss that is left which a tenth of the rate must take away in a few steps."""

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
        stuck = view.way < 0.1 and abs(view.falling_z) < 2 and learnable_way(view) > LEARNABLE
        # weights that twenty steps renew hold what the last eighty rows said, and no more comes of it
        renewed = view.update_ratio > RENEWED and abs(view.falling_z) < 2
        behind = learnable_way(view) - view.way > MORE and view.update_ratio > FORGETS
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
        return BatchTooSmall._moves(view) or BatchTooSmall._settles(view)

    @staticmethod
    def _moves(view: View) -> Reading | None:
        """By how much a few steps as they are move the loss, where many bring it nowhere."""
        moved = [view.what_if("as_is", f"{part}_hot") for part in ("train", "val")]
        sure = min(abs(view.what_if("as_is", f"{part}_hot_z")) for part in ("train", "val"))
        reading = Reading("what a few steps move the loss by / base loss", min(map(abs, moved)), CALMER)
        is_sure = reading.holds and sure > Z and moved[0] * moved[1] > 0
        return reading if is_sure and _no_trend(view, "as_is", reading.value) else None

    @staticmethod
    def _settles(view: View) -> Reading | None:
        """What a tenth of the rate gains in a few steps, where it is most of the loss that is left: that was noise."""
        gain = sum(view.what_if("tenth", part) for part in ("train", "val")) / 2
        # training and validation rows are two tests of one thing (Stouffer et al. 1949)
        sure, ahead = (
            sum(view.what_if("tenth", f"{part}_{z}") for part in ("train", "val")) / 2**0.5
            for z in ("hot_z", "z")
        )
        reading = Reading("gain of a tenth of the rate", gain, CALMER)
        is_most = reading.holds and gain > HALF * (1 - view.way)
        return reading if is_most and sure > Z and ahead > 0 and _no_trend(view, "tenth", gain) else None


def _no_trend(view: View, branch: str, moved: float) -> bool:
    """Whether the steps of a branch are few, and the trend of the loss, where it still falls, is not what moved it."""
    steps = view.what_if(branch, "steps")
    stands = view.falling_z < 2 or FASTER * abs(view.trend) * steps < moved
    return steps < MOMENT * view.steps and stands


def learnable_way(view: View) -> float:
    """Return what a simple learner explains of rows that it has not seen, or its share of right answers above chance."""
    base = view.number("witness_base_error", 0.0)
    right = 1 - view.number("witness_error", 1.0) / base if base > 0 else 0.0
    return max(view.number("learnable", 0.0), right)
