"""What the rules read of the steps: how well they were predicted, their rates, and what continuations showed."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from trainwell.rules.layers import LayerView
from trainwell.values.signal import Array

MOST_TIMES, SURE = 2.0, 5.0
"""How often at most the gain of a continuation is counted for as long a run, and standard errors of one of few steps."""

ANEW_Z, WORSE_Z = 5.0, 2.0
"""Standard errors by which a training anew must end lower, on training and on validation rows, to name a cause, and
higher, to clear it."""

MORE, Z = 0.05, 3.0
"""What going on must gain on training rows, in units of the base loss and in standard errors, to be no creep."""


class StrideView(LayerView):
    """The traces of one run, and how its steps behaved."""

    @cached_property
    def steps(self) -> int:
        return int(self.number("steps", 0))

    @cached_property
    def q(self) -> Array:
        """Prediction ratios of the sampled steps over the last three quarters of the run, and of its continuation."""
        trace = self.get("q")
        values = trace.values[trace.steps >= 0.25 * self.steps]
        if self.has_branch:
            values = np.concatenate([values, np.asarray(self.fact("branch_q", []), float)])
        return values[np.isfinite(values)]

    def what_if(self, branch: str, value: str) -> float:
        """Return what a continuation of the training showed (see `watch/branch.py`); NaN where there was none."""
        return float((self.fact("what_if") or {}).get(branch, {}).get(value, math.nan))

    @cached_property
    def doubling_gain(self) -> float:
        """Fall of the validation loss when the training goes on for as long again, in units of the base loss.

        At most twice what a long continuation gained, for progress slows down; NaN where none was measured.
        """
        branch = self.continuation
        steps = self.what_if(branch, "steps")
        if self.rate_decayed or not steps > 0:
            return math.nan
        times = self.steps / steps
        # of a few steps only a sure gain is counted on, and where they were half as many as the run had
        counted = branch == "longer" or (times <= MOST_TIMES and self.what_if(branch, "val_hot_z") > SURE)
        return self.what_if(branch, "val_hot") * (min(times, MOST_TIMES) if counted else 1.0)

    @cached_property
    def goes_on(self) -> bool:
        """Whether a long continuation surely learned more of its own rows: what was tried tells more than the curve."""
        gain, sure = (self.what_if("longer", f"train{part}") for part in ("", "_z"))
        return gain > MORE and sure > Z and not self.rate_decayed

    @cached_property
    def continuation(self) -> str:
        """The longest continuation at the rate as it was."""
        return "longer" if self.what_if("longer", "steps") > 0 else "as_is"

    @cached_property
    def has_branch(self) -> bool:
        """Whether the training was continued on a copy at the rate that it had."""
        return bool(self.fact("branch_q")) and not self.rate_decayed

    @cached_property
    def q_median(self) -> float:
        return float(np.median(self.q)) if self.q.size >= 6 else math.nan

    @cached_property
    def q_negative(self) -> float:
        return float((self.q < 0).mean()) if self.q.size >= 6 else math.nan

    @cached_property
    def rate_decayed(self) -> bool:
        """Whether the rate ends below a third of its peak."""
        trace = self.get("lr")
        return len(trace) > 1 and trace.values[-1] < 0.34 * trace.values.max()

    @cached_property
    def grad_norms(self) -> Array:
        values = self.get("grad_norm").values
        return values[np.isfinite(values)]

    @cached_property
    def falling_z(self) -> float:
        """How surely the training loss still falls over the last half of the steps: the t of its slope."""
        slope, error = self._slope
        return -slope / error if error > 0 else 0.0

    @cached_property
    def _slope(self) -> tuple[float, float]:
        """Slope of the training loss over the last half of the steps, and its standard error."""
        values = self.get("train_loss").values
        tail = values[-max(8, len(values) // 2) :]
        tail = tail[np.isfinite(tail)]
        if tail.size < 8:
            return 0.0, 0.0
        at = np.arange(tail.size) - (tail.size - 1) / 2
        slope = float((at * tail).sum() / (at**2).sum())
        rest = tail - tail.mean() - slope * at
        return slope, math.sqrt(float((rest**2).sum()) / max(1, tail.size - 2) / float((at**2).sum()))


def gain_anew(view: StrideView, change: str, both: float = ANEW_Z, together: float = 0.0) -> float:
    """Return by how much the run, trained anew with a change, surely ends lower (see `watch/anew.py`).

    On training or on validation rows, whichever is less, in units of the base loss; 0 where it does not surely, NaN where
    it was not tried.

    Args:
        both: standard errors on either part.
        together: of both as one test (Stouffer et al. 1949), for the rows are others.
    """
    found = (view.fact("anew") or {}).get(change)
    if not found:
        return math.nan
    z = (found["train_z"], found["val_z"])
    sure = min(z) > both and sum(z) / math.sqrt(2) > together
    return max(0.0, min(found["train"], found["val"])) if sure else 0.0


def is_worse_anew(view: StrideView, change: str) -> bool:
    """Whether the run, trained anew with a change, surely ends higher on training and on validation rows."""
    found = (view.fact("anew") or {}).get(change)
    if not found:
        return False
    higher = max(found["train"], found["val"]) < -MORE
    return higher and max(found["train_z"], found["val_z"]) < -WORSE_Z
