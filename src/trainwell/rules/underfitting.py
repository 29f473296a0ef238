from __future__ import annotations

import math

from trainwell.rules.batch_too_small import learnable_way
from trainwell.rules.lr_too_low import SMALL, STRAIGHT
from trainwell.rules.rule import Rule
from trainwell.rules.strides import gain_anew
from trainwell.rules.undertrained import MORE
from trainwell.rules.view import SHRUNK, SOLVED, View
from trainwell.values.finding import Finding, Reading

LEFT, MUCH_LEFT, FALLING = 0.1, 0.3, 0.3
"""Predictable share of the errors, and late against mean progress."""

CALMED = 0.2
"""Gain of some steps and a cool-down, in units of the base loss, that shows a rate too long for what is left."""

POOR, FEW, POOR_PICTURE, POOR_SEQUENCE = 0.8, 0.95, 0.6, 0.25
"""Way on a few rows that are learned by heart, where every network that is large enough comes near 1; autoencoders
with a sound bottleneck come to 0.7 and more."""

HALF = 0.5
"""Way on those rows of a network that is far too small; sound runs in which others find as much come to 0.9."""

NOTHING = 0.1
"""Way of a run that learned nothing: of sequences no other learner tells what is left, so only then it is asked."""

WITNESSED = 400
"""Rows at most of which the other learner is taught (signals/witness.py)."""

BEHIND, CURES = 0.1, 0.02
"""By how much more of the answers to new rows a simple learner knows than a network that has come to its end, and gain of
another rate, in units of the base loss, which would explain that."""

POOR_WAY = 0.5
"""Way on its own rows up to which a network has not simply learned them by heart."""

STRONG = 0.8
"""Dropout that leaves a fifth of the units; the authors of dropout found 0.5 best and 0.8 harmful (Srivastava et al.
2014, figure 9)."""

SMALL_NET = (
    "The network no longer improves, on training rows as little as on new ones, and yet simple learners can "
    "predict part of its errors. It is too small, or held back too strongly."
)
CANNOT = (
    "After the whole training the network tells the next part hardly better than a constant, and not even a few "
    "sequences can be learned by heart with it. It is too small for what it should hold."
)
PENALTY = (
    "The loop minimises more than its loss, and the weights have shrunk to a fraction of their start. "
    "A penalty that strong leaves the network unsure of what it could learn."
)
HELD = (
    "So strong a dropout leaves a fraction of what a layer computes, another one at every step. "
    "The network stays unsure of what it could learn, on training rows as much as on new ones."
)


def asks_few_rows(view: View) -> bool:
    """Whether it matters how well a few rows are learned by heart: something is left, or nothing was learned at all."""
    nothing = view.is_sequence and view.way < NOTHING
    return not view.is_solved and (view.number("residual_r2", 0.0) > LEFT or nothing)


def _knows_fewer(view: View) -> bool:
    """Whether the network saw fewer rows than the learner that is asked what it left: then rows are what it lacks."""
    losses = view.get("val_losses").values
    asked = min(losses.shape[1], WITNESSED) if losses.ndim == 2 else 0
    return view.number("seen_rows", math.inf) < asked


def _is_blind(view: View) -> bool:
    """Whether nothing of what the network learns ever held for new rows, while another learner tells much of both parts.

    Then it cannot see what the answer follows from, as a mean of words their order; what it learns is learned by heart.
    """
    losses = view.get("val_loss").values
    told = min(view.number("learnable", 0.0), view.number("residual_r2", 0.0))
    never = losses.size > 1 and losses.min() > (1 - MORE) * view.base_loss
    return bool(never and told > MUCH_LEFT and view.way < POOR_WAY and view.doubling_gain <= 0)


def _is_behind(view: View) -> bool:
    """Whether a simple learner knows far more of new rows, and of what is left, and no other rate did better."""
    tried = [gain_anew(view, name, 1.0) for name in ("tenth", "tenfold")]
    asked = [gain for gain in tried if math.isfinite(gain)]
    left = view.number("residual_r2", 0.0) > MUCH_LEFT and view.continuation == "longer"
    return (
        left
        and learnable_way(view) - max(view.way, view.val_way) > BEHIND
        and bool(asked)
        and max(asked) < CURES
    )


def _teaches_nothing_new(view: View) -> bool:
    """Whether new rows gain nothing in as many steps again, whatever the network still learns of its own."""
    return view.what_if("longer", "steps") >= view.steps and view.doubling_gain < MORE / 2


def _strongest_dropout(view: View) -> float:
    return max((float(m["dropout"]) for m in view.fact("layers", ()) if "dropout" in m), default=0.0)


class Underfitting(Rule):
    """Find a network that has stopped improving while simple learners still find something in what it leaves."""

    ailment = "underfitting"
    needs = ("q", "train_loss", "val_loss", "probe_score", "residual", "layers")
    explains = ("plateau", "converged_early", "vanishing_gradient", "dead_units", "undertrained", "lr_too_low",
                "lr_too_high", "oscillation")  # fmt: skip
    source = "Goodfellow et al. 2016, 5.2; Karpathy 2019, A Recipe for Training Neural Networks (overfit one batch)."

    def diagnose(self, view: View) -> Finding | None:
        # of few rows one of a rare class may be half of the way, and a loss that weighs it minds the others less
        few = math.nan if view.fact("class_weights") else view.number("few_way")
        if view.is_done or view.has_nonfinite or (view.answers_new and not view.is_sequence):
            return None
        if view.is_sequence:
            return self._of_sequences(view, few)
        # of a picture always something is left that can be predicted; what not even a few rows teach is another matter
        if view.is_wide and not (few < POOR_PICTURE and view.way < 0.5):
            return None
        left = view.number("residual_r2", math.nan)
        gap = view.train_score - view.val_score
        if left <= LEFT or gap >= 0.25 * (1 - view.base_score):
            return None
        strong = _strongest_dropout(view)
        # what cannot even learn half of a few rows by heart is too small, be it that it still creeps on
        hopeless = few < HALF and left > MUCH_LEFT and view.way > 0
        rests = view.late_rate < FALLING or view.doubling_gain < MORE
        stands = hopeless or (rests and not view.goes_on)
        # nor is it too small for what it reaches as soon as its rate comes down
        stands = stands and not view.what_if("as_is", "train") > CALMED
        # a network that can learn some rows by heart is not too small: then rate, budget or data are to blame
        crawls = view.q_median > STRAIGHT and view.update_ratio < SMALL
        small = few < POOR or (few < FEW and left > MUCH_LEFT and not crawls) or _is_blind(view)
        readings = (
            Reading("residual_r2", left, LEFT), Reading("few_way", few, FEW, "<"), Reading("dropout", strong, STRONG)
        )  # fmt: skip
        told = tuple(r for r in readings if r.holds)
        least = min(view.grown, default=1.0)  # what learns grows: a layer that shrinks is pulled
        if view.fact("minimises_more") and view.way < 0.5 and least < SHRUNK:
            shrunk = Reading("weight rms, end / start", least, SHRUNK, "<")
            return self._finding(view, (*told, shrunk), 0.85, strong, PENALTY)
        if strong > STRONG:
            # what drops four of five units leaves little doubt; else a rate or a fault of units may be the cause
            return self._finding(view, told, 0.88, strong, HELD)
        # what others still find, in shares of all there is: much where the way is short, or of what is left
        much = left > LEFT and (view.way < 0.8 or left * (1 - view.way) > 1 - SOLVED)
        small = small and not _knows_fewer(view)
        if much and stands and small:
            return self._finding(view, told, 0.8, strong, SMALL_NET)
        stands = stands or (rests and _teaches_nothing_new(view))
        return self._finding(view, told, 0.6, strong, SMALL_NET) if stands and _is_behind(view) else None

    def _of_sequences(self, view: View, few: float) -> Finding | None:
        """Sequences are never solved, and no other learner tells what is left: here it must be nearly all."""
        stands = view.late_rate < FALLING or view.doubling_gain < MORE
        if not (view.way < NOTHING and few < POOR_SEQUENCE and stands):
            return None
        return self._finding(view, (Reading("few_way", few, POOR_SEQUENCE, "<"),), 0.75, 0.0, CANNOT)

    def _finding(
        self, view: View, told: tuple[Reading, ...], confidence: float, strong: float, meaning: str
    ) -> Finding:
        fix = "use a wider or deeper network, or better features"
        if meaning == PENALTY:
            fix = "lower the weight of the penalty a hundredfold, or leave it out"
        if strong > 0.6:
            fix = f"lower the dropout of {strong:g} to 0.1 to 0.3"
        left = view.number("residual_r2", 0.0)
        return Finding(
            self.ailment, "critical", confidence, "W", meaning, told, fix=fix, source=self.source,
            measured={**view.measured, "dropout": strong, "residual_r2": left},
        )  # fmt: skip
