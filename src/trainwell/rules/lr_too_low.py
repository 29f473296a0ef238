from __future__ import annotations

import math

import numpy as np

from trainwell.rules.rule import Rule
from trainwell.rules.strides import gain_anew
from trainwell.rules.vanishing_gradient import DECADES, NEAR, farthest
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

LINEAR, RATIO, Z = 0.99, 5.0, 5.0
"""Prediction ratio above which ten times the rate stays far from the curvature; how many times more ten times the
rate must gain over the same steps, and in how many standard errors. Rates that suit their run gain at most 4 times
more (own_faults, utr_*), rates that are too low 7 to 11 times (lrl_*)."""

ALL = 7.0
"""The same of steps that are not short by themselves: a run that is only cut off early gains up to 6.4 times more, as its
loss falls anyhow, but hardly the tenfold of a loss that runs straight (blind, utr_*)."""

LEAST = 0.05
"""What ten times the rate must gain more over as many steps as the run took, in units of the base loss."""

STRAIGHT, LATE, STILL, SMALL = 0.998, 0.3, 0.05, 1e-3
"""Without a what-if: prediction ratio, late against mean progress, hardly any progress, and update over weight (1e-3
is usual)."""

USUAL, MOST = 5.0, 100.0
"""By how much a rate is raised that is too low: fivefold, or until updates are of the usual size, at most so far."""

SHARE = 5.0
"""How many times as many steps the run had as the few in which ten times its rate gains as much."""

BY_HEART = 0.9
"""Way on a few rows, at a usual rate, from which it is no fault of the network that it learned nothing."""

BLURRED = 0.9
"""Prediction ratio of steps so short that they change the loss by hardly more than its last digits, which blur it."""

ANEW_BETTER, ANEW_SEQUENCE, FAIRLY = 0.3, 0.1, 0.95
"""By how much the run at ten times its rate must end lower, in units of the base loss, where its steps went fairly
straight. Runs that are only cut off early end up to 0.25 lower."""

PATH, SURE, NOTHING, LEARNABLE = 0.05, 3.0, 0.1, 0.15
"""Steps times update over weight: the whole run cannot take the weights further than that from their start. Standard
errors that are enough there for ten times the rate; way of a run that learned nothing, and share of the targets that a
simple learner explains."""


class LrTooLow(Rule):
    """Find a loss that falls along straight lines at a rate that was never lowered."""

    ailment = "lr_too_low"
    needs = ("q", "train_loss", "probe_score", "lr", "update_norm", "weight_norm")
    explains = ("underfitting", "undertrained", "plateau", "batch_too_large")
    source = (
        "Smith 2017, arXiv:1506.01186 (range of rates); Wu et al. 2018, arXiv:1803.02021 (equal cool-down)."
    )

    def diagnose(self, view: View) -> Finding | None:
        tenfold, as_is = (view.what_if(name, "train") for name in ("tenfold", "as_is"))
        anew = self._ends_lower(view)
        harmless = view.is_done if math.isfinite(tenfold) else view.is_solved and anew is None
        if harmless or len(view.epoch_loss) < 3 or view.steps < 40:
            return None
        # where a schedule has lowered the rate, what-ifs start from its peak
        q = float(np.median(view.fact("branch_q") or [0.0])) if view.rate_decayed else view.q_median
        if math.isfinite(tenfold):
            too_low = self._gains(view, tenfold, as_is, q)
        else:
            falls = view.falling_z > 2 or view.what_if("as_is", "train_hot_z") > 3
            crawls = (view.late_rate > LATE or view.gained < STILL) and falls and not view.rate_decayed
            too_low = view.q_median > STRAIGHT and crawls and view.update_ratio < SMALL
            too_low = too_low or self._stays(view, q)
        # what stands on a plateau at its start gains nothing in a few steps, however long they are
        unmoved = farthest(view) < NEAR and self._learned_nothing(view, q) and _learnable(view)
        if not too_low and not unmoved and (anew is None or not q > FAIRLY):
            return None
        readings = [Reading("q, median", q, LINEAR), *([anew] if anew else [])]
        if too_low and math.isfinite(tenfold):
            readings.append(Reading("fall of the loss at 10 x the rate", tenfold, RATIO * max(as_is, 0.0)))
        if view.late_rate > LATE:
            readings.append(Reading("fall at the end / mean fall", view.late_rate, LATE))
        if unmoved:
            readings.append(Reading("distance from the start", farthest(view), NEAR, "<"))
        rate = float(view.get("lr").values.max(initial=0.0))
        factor = min(max(USUAL, SMALL / max(view.update_ratio, 1e-300)), MOST)
        # what ten times the rate mends of few steps, more of them would mend as well
        sure = 0.85 if too_low or unmoved else 0.7
        return Finding(
            self.ailment, "critical", sure, "W" if anew or (too_low and math.isfinite(tenfold)) else "S",
            "The steps are far shorter than they could be: not one gets near the point where the loss would rise again. "
            "The training ends long before it is done.",
            tuple(r for r in readings if r.holds),
            fix=f"raise the learning rate to {0.6 * factor * rate:.2g} to {2 * factor * rate:.2g}", source=self.source,
            measured={**view.measured, "lr.suggested": factor * rate},
        )  # fmt: skip

    @staticmethod
    def _ends_lower(view: View) -> Reading | None:
        """Return what the run trained anew at ten times the rate gained, if that is much."""
        least = ANEW_SEQUENCE if view.is_sequence else ANEW_BETTER
        gain = Reading("gain of a run at ten times the rate", gain_anew(view, "tenfold"), least)
        # twice the steps would do a good part of it: the run was cut off, at whatever rate
        cut_off = view.doubling_gain > gain.value / 3
        return gain if gain.holds and not view.rate_decayed and not cut_off else None

    def _gains(self, view: View, tenfold: float, as_is: float, q: float) -> bool:
        """Whether ten times the rate gains far more, surely on training or validation, and contradicted by neither."""
        z = [view.what_if("tenfold", f"{part}_z") for part in ("train", "val")]
        seen, stays = [value for value in z if math.isfinite(value)], self._stays(view, q)
        sure = max(seen, default=0.0)
        if view.update_ratio < 2 * SMALL:
            # the rows of training and validation are others, so that what both say adds up (Stouffer et al. 1949); of
            # steps that are not short by themselves a plateau may show, which any longer step would leave
            sure = max(sure, sum(seen) / math.sqrt(max(1, len(seen))))
        ratio = RATIO if view.update_ratio < 2 * SMALL or stays else ALL
        better = tenfold > ratio * max(as_is, 0.0) and sure > (SURE if stays else Z)
        # so near to the start new rows hardly differ yet: it is enough that they do not contradict
        better = (
            (better and min(seen) >= (0 if stays else 2))
            or self._pays_later(view)
            or self._outruns(view, tenfold, seen)
        )
        better = better or self._crosses(view, seen)
        # what it would come to over the whole run: at a hundredth of a good rate ten times it is little as well
        whole = (tenfold - as_is) * max(1.0, view.steps / view.what_if("tenfold", "steps"))
        return better and (stays or (q > LINEAR and whole > LEAST))

    @staticmethod
    def _outruns(view: View, tenfold: float, z: list[float]) -> bool:
        """Whether ten times the rate gains more in a part of the steps than the whole run did.

        What is learned first is learned soon, so that ten times the rate may come to its end before it gains ten times.
        """
        few = SHARE * view.what_if("tenfold", "steps") <= view.steps
        whole = view.early_loss - float(view.epoch_loss[-1])
        return few and tenfold > whole and min(z, default=0.0) > Z and view.update_ratio < 2 * SMALL

    @staticmethod
    def _crosses(view: View, z: list[float]) -> bool:
        """Whether ten times the rate gets below a constant answer in a part of the steps, which the run never did.

        What every network learns first, and soon, is how often each answer comes: more it cannot gain so quickly.
        """
        few = SHARE * view.what_if("tenfold", "steps") <= view.steps and view.update_ratio < 2 * SMALL
        losses = {"train": view.get("probe_loss").last, "val": view.get("val_loss").last}
        at_tenfold, as_is = (
            max(loss / view.base_loss - view.what_if(branch, part) for part, loss in losses.items())
            for branch in ("tenfold", "as_is")
        )
        return few and at_tenfold < 1 - LEAST / 2 and as_is > 1 and len(z) > 1 and min(z) > Z

    @staticmethod
    def _pays_later(view: View) -> bool:
        """Whether ten times the rate gains far more over a longer way, where a short one could not be sure.

        So long a way shows a plateau as well, which any longer step would leave: the steps must be short by themselves.
        """
        gains = [view.what_if(name, "train") for name in ("tenfold_longer", "longer")]
        z = [view.what_if("tenfold_longer", f"{part}_z") for part in ("train", "val")]
        better = gains[0] > RATIO * max(gains[1], 0.0) and max(z) > Z and min(z) > 2
        return better and view.update_ratio < SMALL

    @classmethod
    def _stays(cls, view: View, q: float) -> bool:
        """Whether the weights could not leave their start, though there is something to learn and gradients arrive."""
        # another learner finds something, new rows gain at ten times the rate, or at a usual one a few are learned
        left = (
            _learnable(view) or view.what_if("tenfold", "val_z") > SURE or view.number("few_way") > BY_HEART
        )
        could_not = view.steps * view.update_ratio < PATH and not view.rate_decayed
        return could_not and cls._learned_nothing(view, q) and left

    @staticmethod
    def _learned_nothing(view: View, q: float) -> bool:
        """Whether nothing was learned at all by steps that were not too long, though gradients arrive."""
        return q > BLURRED and view.gained < STILL and view.way < NOTHING and view.back_gain > DECADES


def _learnable(view: View) -> bool:
    return view.number("learnable", 0.0) > LEARNABLE
