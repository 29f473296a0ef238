from __future__ import annotations

import numpy as np

from trainwell.rules.lr_too_high import LrTooHigh
from trainwell.rules.rule import Rule
from trainwell.rules.strides import gain_anew
from trainwell.rules.view import SHRUNK, View
from trainwell.values.finding import Finding, Reading
from trainwell.values.signal import Array

GROWN, CONSTANT, FAST = 3.0, 100.0, 50.0
"""Weights at the end over weights at the start, too large for a decay that rules; steps in which decay
alone takes a weight to a third; usual ones need thousands, the strongest of a healthy run 100 (own_healthy, grokking,
which is solved), and those of healthy runs that are not solved 360; half as many are strong at any rate."""

PULL, PULL_DECOUPLED, BALANCED = 0.3, 0.5, 0.1
"""Pull of the decay against the gradient of the loss, and of decoupled decay against the whole step. Healthy runs
show 0.00 to 0.02 and 0.00 to 0.06, too strong a decay 0.4 to 8 and 3 to 4 (own_faults, wdm_*). Where the loss no longer
falls the mean gradient is what the decay takes away, and that of one batch is some times larger by its noise."""

ANEW_BETTER, NO_BETTER, LEARNED = 0.1, 0.02, 0.5
"""By how much a run without decay must end lower, in units of the base loss; gain under which the decay costs nothing, of
a run that came further than half of the way."""

TAKEN = 0.1
"""Share of a weight that the decay alone takes over the run, under which it is not what holds anything back."""


class WeightDecayMisuse(Rule):
    """Find weight decay that pulls the weights to zero faster than they can learn."""

    ailment = "weight_decay_misuse"
    needs = ("params", "lr", "probe_score", "probe_loss", "weight_norm", "update_norm", "grad_norm")
    explains = ("underfitting", "undertrained", "plateau", "lr_too_low", "vanishing_gradient", "dead_units",
                "saturated_units", "batch_too_large", "oscillation", "lr_too_high")  # fmt: skip
    source = "Loshchilov and Hutter 2019, arXiv:1711.05101; Wang and Aitchison 2024, arXiv:2405.13698 (time constant)."

    def diagnose(self, view: View) -> Finding | None:
        decay = float(view.fact("hyper", {}).get("weight_decay", 0.0))
        # answers that are right can only become surer: a decay that rules holds the loss up, and healthy runs have none
        if decay <= 0 or view.is_done:
            return None
        shrunk = float(np.median(view.grown)) if view.grown else 1.0
        constant = _constant(view, decay)
        readings = []
        if shrunk < SHRUNK and not view.is_solved:
            readings.append(Reading("weight rms, end / start", shrunk, SHRUNK, "<"))
        # a rate that is too high makes a usual decay strong as well: then it must be stronger still
        limit = FAST if constant < CONSTANT and LrTooHigh().diagnose(view) else CONSTANT
        if constant < min(limit, view.steps) and not view.is_solved:
            readings.append(Reading("time constant of the decay", constant, limit, "<"))
        pull, limit = self._pull(view, decay)
        # weights that have grown much were not held back by their decay, and others only by one that takes something away
        takes = np.isinf(constant) or view.steps > TAKEN * constant
        if pull > limit and shrunk < GROWN and takes:
            readings.append(Reading("pull of the decay / pull of the loss", pull, limit))
        without = gain_anew(view, "undecayed")
        if without > ANEW_BETTER:
            readings.append(Reading("gain of a run without decay", without, ANEW_BETTER))
        # a run that learned needs the decay that it got, if without it new rows fare no better
        if not readings or (without < NO_BETTER and view.way > LEARNED):
            return None
        return Finding(
            self.ailment, "critical", 0.9, "S",
            f"The weight decay of {decay:g} pulls the weights to zero within some steps. "
            "What a step learns is taken away again before it adds up.",
            tuple(readings), fix="use a weight decay of 0.01 to 0.1 (decoupled), and none on norms and biases",
            source=self.source, measured={**view.measured, "weight_decay": decay},
        )  # fmt: skip

    @staticmethod
    def _pull(view: View, decay: float) -> tuple[float, float]:
        """Return how hard the decay pulls over the last half of the run, and what is allowed.

        The median over matrices: the rows of an embedding that no batch holds are moved by the decay alone.
        """
        decoupled = bool(view.fact("decoupled_decay"))
        signal, pulls = "update_norm" if decoupled else "grad_norm", []
        for layer in view.traces.layers(signal):
            weight, other = view.get("weight_norm", layer).values, view.get(signal, layer)
            n = min(len(weight), len(other.values))
            if n < 6:
                continue
            late = np.flatnonzero(
                other.values[:n] > 0
            )  # what is frozen, or gets no gradient, is pulled by nothing
            late = late[late >= n // 2]
            if not late.size:
                continue
            pull = decay * weight[late] / other.values[late]
            # an update is as long as the rate of its own step makes it
            pulls.append(float(np.median(pull * _rates_at(view, other.steps[late]) if decoupled else pull)))
        limit = PULL_DECOUPLED if decoupled else BALANCED if view.falling_z < 2 else PULL
        return float(np.median(pulls)) if pulls else 0.0, limit


def _constant(view: View, decay: float) -> float:
    """Return the steps in which the decay alone takes a weight to a third; infinite where the gradient rescales it."""
    rates = view.get("lr").values
    rate = float(np.median(rates)) if rates.size else 0.0
    # steps of plain SGD are the decay times the rate, and momentum repeats them
    repeated = 1 / (1 - min(0.999, float(view.fact("hyper", {}).get("momentum", 0.0) or 0.0)))
    per_step = rate * decay * (1.0 if view.fact("decoupled_decay") else repeated)
    plain = view.fact("decoupled_decay") or view.fact("optimizer") == "SGD"
    return 1 / per_step if plain and per_step > 0 else float("inf")


def _rates_at(view: View, steps: Array) -> Array:
    """Return the learning rate of some steps: the trace has it where it changed."""
    trace = view.get("lr")
    if not len(trace):
        return np.zeros(len(steps))
    place = np.searchsorted(trace.steps, steps, side="right") - 1
    return np.asarray(trace.values[np.clip(place, 0, len(trace) - 1)])
