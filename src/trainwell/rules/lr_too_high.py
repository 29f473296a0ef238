from __future__ import annotations

import numpy as np

from trainwell.rules.layers import ANEW, DEAD_SHARE
from trainwell.rules.rule import Rule
from trainwell.rules.strides import gain_anew, is_worse_anew
from trainwell.rules.train_val_shift import TrainValShift
from trainwell.rules.vanishing_gradient import DECADES
from trainwell.rules.view import RENEWED, SWINGS, THROW, UNREST, View
from trainwell.values.finding import Finding, Reading

Q_LOW, Q_NEGATIVE, UPWARD = 0.72, 0.3, 0.2
"""Healthy runs: median 0.77 to 0.99, negative 0 to 0.2; too high a rate: 0.30 and 0.67 (faultbench, dev part)."""

Q_SOLVED, UNREST_UNSOUND = 0.5, 0.08
"""Of a solved run: the prediction ratio, and the sum of all rises of the epoch loss in units of the base loss, where it
fares badly on new rows; else `UNREST`."""

BETTER, Z = 0.05, 2.0
"""Gain of a tenth of the rate over the rate as it is, in units of the base loss, and in standard errors."""

FLUNG, FLUNG_STEPS = 100.0, 3
"""Losses of so many times the base loss, for so many steps on end, after a start at about the base loss. Constant
answers cost the base loss: a hundredfold of it was made by the steps, and no single odd batch makes it thrice."""

OVERSHOOTS = (
    "The steps are so long that they jump over the minimum that they aim at. "
    "The loss goes up about as often as down, and units may be thrown out for good."
)
THROWN = (
    "The first steps were so long that they threw the weights away: the loss rose far above that of a constant answer. "
    "What came after may look calm, but starts from weights that have nothing left of a good start."
)
THROWN_OUT = (
    "A few steps make the weights anew, and nothing of what one step learns is left after them. "
    "The network answers no better than a constant, though the rows can tell more."
)
RUN_LOWER = (
    "The same run at a tenth of the rate, from the same start, learned far more. "
    "The steps were so long that they threw away what others had taught, or units with it."
)
LOST = (
    "Steps were so long that they threw units out of the range in which they respond. "
    "Such a unit gives the same for nearly every sample, gets almost no gradient, and hardly comes back."
)

THROWN_FAR, FAR = 1.0, 0.5
"""Rise of the loss, in units of the base loss and beyond the noise of batches, that is as much as all there was to
learn; way of a run that learned well."""

LONG = 0.02
"""Median of |update| / |weight|; 0.001 is usual, 0.005 that of Adam in autoencoders that thin themselves out."""

MOSTLY = 0.8
"""Way from which a run has learned most of what there is."""

BEHIND = 0.15
"""By how much more of the targets a simple learner explains than a network whose steps renew its weights."""

SLOW = 0.3
"""Late against mean progress below which steps that renew the weights have come to their end."""

NOTHING, LEARNABLE = 0.1, 0.15
"""Way of a run that learned nothing, and share of the targets that a simple learner explains."""

STRIDE, SANE_STRIDE = 0.3, 0.04
"""|update| / |weight| of one step, and that of the first step of Adam at a rate of 0.003."""

ANEW_BETTER = 0.1
"""By how much a run that is trained anew at a tenth of its rate must end lower, in units of the base loss."""

KILLED = 0.2
"""Share of a layer's rectifiers that died, or of its squashers that got stuck, in the training."""


class LrTooHigh(Rule):
    """Find steps that overshoot, with a loss that goes up as much as down."""

    ailment = "lr_too_high"
    needs = (
        "unit_activity",
        "unit_saturation",
        "q",
        "train_loss",
        "probe_score",
        "lr",
        "update_norm",
        "weight_norm",
        "target_mean",
    )
    explains = ("exploding_gradient", "dead_units", "saturated_units", "oscillation", "plateau", "underfitting",
                "overfitting", "undertrained", "batch_too_small", "vanishing_gradient")  # fmt: skip
    source = (
        "Mutschler and Zell 2020, arXiv:1903.11991 (loss along the step); Cohen et al. 2021, arXiv:2103.00065 "
        "(edge of stability is normal, no progress is not)."
    )

    def diagnose(self, view: View) -> Finding | None:
        if view.has_nonfinite:
            return self._diverged(view)
        if is_worse_anew(view, "tenth"):
            return None
        found = self._overshoots(view) or self._flung(view) or self._killed(view) or self._renewed(view)
        return found or self._ends_lower(view)

    def _ends_lower(self, view: View) -> Finding | None:
        """The run trained anew at a tenth of its rate: what weights that were thrown away do not show any more."""
        gain, least = gain_anew(view, "tenth"), ANEW_BETTER
        # a loss that was thrown back again and again needs less to be sure of the cause
        if view.unrest > UNREST:
            gain, least = gain_anew(view, "tenth", 1.0, Z), BETTER
        # rows from elsewhere do not tell what was learned
        if not gain > least or TrainValShift().diagnose(view) is not None:
            return None
        reading = Reading("gain of a run at a tenth of the rate", gain, least)
        # steps of a few rows are noise, which a lower rate averages as more rows do
        confidence = 0.6 if 0 < view.batch_size <= 4 else 0.8
        return self._finding(
            view, (reading,), confidence, (0, view.steps), "W", factor=0.1, meaning=RUN_LOWER
        )

    def _overshoots(self, view: View) -> Finding | None:
        """Steps past the minimum on their own batch, and the harm that they do."""
        small = 0 < view.batch_size <= 4
        confidence = 0.6 if small else 0.87
        q = (
            Reading("q, median", view.q_median, Q_LOW, "<"),
            Reading("q < 0, share", view.q_negative, Q_NEGATIVE),
        )
        overshoots = view.q_median < Q_LOW or view.q_negative > Q_NEGATIVE
        better = view.what_if("tenth", "train") - view.what_if("as_is", "train_hot")
        if (
            better > BETTER
            and overshoots
            and view.what_if("tenth", "train_z") > Z
            and not view.rate_decayed
            and (view.way < MOSTLY or self._helps_new_rows(view))
            and not view.gets_faster  # a few steps on may go up where the whole run does not
            and not self._born_dead(view)
        ):
            reading = Reading("gain of a tenth of the rate", better, BETTER)
            told = (reading, *(r for r in q if r.holds))
            return self._finding(view, told, confidence + 0.03, (0, view.steps), "W")
        if view.is_solved:
            overshoots, harm = self._restless(view, overshoots)
            overshoots = overshoots and not self._cleared(view)
        else:
            harm = self._harm(view)
            overshoots = overshoots and harm.holds and not (self._cleared(view) or view.answers_new)
            if view.is_shaken and not view.rate_decayed:
                overshoots = True
                if view.is_undone and not harm.holds:
                    harm = Reading("rises of the epoch loss", view.unrest, UNREST)
        if not overshoots or self._born_dead(view):
            return None
        told = (*q, Reading("update_ratio", view.update_ratio, RENEWED))
        return self._finding(view, (*(r for r in told if r.holds), harm), confidence, (0, view.steps))

    @staticmethod
    def _cleared(view: View) -> bool:
        """Whether a tenth of the rate was tried and falls surely behind on all rows, nor gains before its cool-down."""
        behind = max(view.what_if("tenth", f"{part}_z") for part in ("train", "val")) < -Z
        return behind and not view.what_if("tenth", "train") - view.what_if("as_is", "train_hot") > BETTER

    @staticmethod
    def _harm(view: View) -> Reading:
        """Return what steps past the minimum cost an unsolved run, or a reading that does not hold."""
        harm = Reading("upward share of the epoch loss", view.upward, UPWARD)
        if view.way < FAR and view.steps >= 40 and not harm.holds:
            harm = Reading("t of the fall of the loss", view.falling_z, 2.0, "<")
        # rows from elsewhere swing by themselves, and a rate is right of which a tenth falls clearly behind
        falls_behind = view.what_if("tenth", "train_z") < -1
        if not harm.holds and not falls_behind and TrainValShift().diagnose(view) is None:
            harm = Reading("swings of the validation loss / base loss", view.val_swings, SWINGS)
        # steps past the minimum along their line leave off far from it, however far that is
        far = view.way < MOSTLY or view.q_median < Q_SOLVED
        behind = view.number("learnable", 0.0) - view.way > BEHIND
        ended = far and view.late_rate < SLOW and not view.goes_on
        # past the minimum as far as the start lies before it
        twice = view.way < FAR and view.q_median < Q_SOLVED
        if not harm.holds and (ended or behind or twice):
            harm = Reading("update_ratio", view.update_ratio, RENEWED)
        if not harm.holds:
            harm = Reading("longest step / weights", view.longest_stride, ANEW)
        return harm

    @staticmethod
    def _restless(view: View, overshoots: bool) -> tuple[bool, Reading]:
        """Whether a solved run, which was not harmed, is thrown back again and again."""
        allowed = UNREST_UNSOUND if view.is_harmed else UNREST
        renewed = overshoots and view.update_ratio > RENEWED
        # one step that made much of the weights anew, and a loss that never came to rest
        leapt = view.longest_stride > STRIDE and view.val_swings > UNREST
        overshoots = view.q_median < Q_SOLVED or renewed or view.is_shaken or leapt
        overshoots = overshoots and view.unrest > allowed and not view.rate_decayed
        return overshoots, Reading("rises of the epoch loss", view.unrest, allowed)

    @staticmethod
    def _born_dead(view: View) -> bool:
        """Whether most units of a layer were off before any step: what is left of such a network may well overshoot."""
        start = [view.dead_share(n)[0] for n in view.traces.layers("unit_activity")]
        return max(start, default=0.0) > DEAD_SHARE

    @staticmethod
    def _helps_new_rows(view: View) -> bool:
        """Whether a tenth of the rate also betters the rows that it has not seen, of a run that fares badly there."""
        better = view.what_if("tenth", "val") - view.what_if("as_is", "val_hot")
        return view.is_harmed and better > BETTER and view.what_if("tenth", "val_z") > Z

    def _renewed(self, view: View) -> Finding | None:
        """Weights that are made anew every few steps and learn nothing: from where they are all steps look alike."""
        stands = view.way < NOTHING and abs(view.falling_z) < 2 and view.steps >= 40
        to_learn = view.number("learnable", 0.0) > LEARNABLE and not view.targets_move
        if view.rate_decayed or not view.update_ratio > RENEWED or not (stands and to_learn):
            return None
        reading = Reading("update_ratio", view.update_ratio, RENEWED)
        return self._finding(view, (reading,), 0.8, (0, view.steps), factor=0.1, meaning=THROWN_OUT)

    def _diverged(self, view: View) -> Finding | None:
        """NaN with sane data and start weights means that the step is too large."""
        early = view.first_loss
        if not np.isfinite(early) or early > 3 or abs(view.back_gain) > 2:
            return None
        losses = view.get("train_loss")
        bad = np.flatnonzero(~np.isfinite(losses.values))
        at = int(losses.steps[bad[0]]) if bad.size else view.steps
        return self._finding(
            view, (Reading("losses that are no number", int(bad.size), 0),), 0.8, (at, view.steps)
        )

    def _flung(self, view: View) -> Finding | None:
        """A sane start, then losses far above those of a constant answer: the steps threw the weights away."""
        early, losses, unit = view.first_loss, view.get("train_loss"), view.train_base_loss
        # weights through which gradients shrink do not throw a loss up, unless nothing passes them at all
        sane = DECADES < view.back_gain <= 2
        solved = view.is_solved or view.answers_new
        if solved or not view.kind or not early <= 3 or not sane or view.targets_move:
            return None
        anew = view.longest_stride > ANEW
        if view.thrown > THROWN_FAR and (view.way < FAR or view.q_median < Q_LOW or anew):
            at = int(losses.steps[int(np.nanargmax(losses.values))])
            reading = Reading("rise of the loss / base loss", view.thrown, THROWN_FAR)
            return self._thrown(view, reading, at)
        high = losses.values > FLUNG * unit
        runs = (
            np.convolve(high, np.ones(FLUNG_STEPS), "valid") >= FLUNG_STEPS
            if high.size >= FLUNG_STEPS
            else high[:0]
        )
        if not runs.any():
            return None
        at = int(losses.steps[int(runs.argmax())])
        return self._thrown(
            view, Reading("largest loss / base loss", float(losses.values.max() / unit), FLUNG), at
        )

    def _thrown(self, view: View, reading: Reading, at: int) -> Finding:
        """A loss grows no faster than the square of the outputs, and those at least as fast as the steps."""
        factor = float(np.clip(reading.value**-0.5, 1e-3, 0.1))
        return self._finding(view, (reading,), 0.8, (at, view.steps), factor=factor, meaning=THROWN)

    def _killed(self, view: View) -> Finding | None:
        """Units that were alive and died where the loss was thrown up, or where long steps taught little.

        In a loss that falls without a break units die too: autoencoders and wide layers thin themselves out.
        """
        long = view.way < FAR and view.update_ratio > LONG
        if not view.is_judged:
            long = view.update_ratio > LONG or view.longest_stride > STRIDE
        if view.is_sound or not (view.thrown > THROW or long):
            return None
        dead = {n: view.dead_share(n) for n in view.traces.layers("unit_activity")}
        stuck = {n: view.stuck_share(n) for n in view.traces.layers("unit_saturation")}
        last = (view.fact("modules") or [{"name": None}])[-1]["name"]
        # the first look sees few rows, so that it overstates how many were dead from the start
        killed = {
            n: b - a
            for n, (a, b) in {**dead, **stuck}.items()
            if n != last and b - a > KILLED and b > DEAD_SHARE
        }
        worst = max(killed, key=lambda n: killed[n], default=None)
        if worst is None:
            return None
        values, steps = view.unit_ends(worst)
        lost = values.mean(1) > DEAD_SHARE
        at = int(steps[int(lost.argmax())]) if lost.any() else 0
        name = "units that died" if worst in dead else "units that got stuck"
        readings = (Reading(name, killed[worst], KILLED, layer=worst),)
        return self._finding(view, readings, 0.87, (at, view.steps), meaning=LOST)

    def _finding(
        self,
        view: View,
        readings: tuple[Reading, ...],
        confidence: float,
        span: tuple[int, int],
        grade: str = "S",
        factor: float | None = None,
        meaning: str = OVERSHOOTS,
    ) -> Finding:
        rate = float(view.get("lr").values.max(initial=0.0))
        # the step that would reach the minimum along its line is about rate / (2 (1 - q)) of this one
        q = view.q_median if np.isfinite(view.q_median) else 0.0
        if factor is None:
            factor = float(np.clip(1 / (4 * max(1 - q, 0.1)), 0.1, 0.5))
        if view.longest_stride > STRIDE:  # along its line or not: such a step makes the weights anew
            factor = min(factor, SANE_STRIDE / view.longest_stride)
        return Finding(
            self.ailment, "critical", confidence, grade,
            meaning,
            tuple({r.trace: r for r in readings}.values()), span=span,
            fix=f"lower the learning rate to about {rate * factor:.2g}, or warm up",
            source=self.source, measured={**view.measured, "lr.suggested": rate * factor},
        )  # fmt: skip
