from __future__ import annotations

import numpy as np

from trainwell.rules.rule import Rule
from trainwell.rules.strides import gain_anew
from trainwell.rules.view import UNREST, View
from trainwell.values.finding import Finding, Reading

TINY, SPENT, MORE = 0.45, 0.3, 0.03
"""Shares of the steps under a fiftieth of the peak rate, and under a tenth of it (cosine: 0.2, a straight line: 0.1),
and what some 24 steps at the peak must gain on training or validation rows after the second."""

SURE, AGREES = 5.0, 2.0
"""Standard errors of that gain, and those that the other rows must show."""

ANEW_BETTER = 0.15
"""By how much a run at a constant rate must end lower, in units of the base loss."""

STEADY = 0.9
"""First rate over the last, the highest, of a rate that rises faster and faster."""


class LrSchedule(Rule):
    """Find schedules that decay too early, warm up without end, or end on a high rate."""

    ailment = "lr_schedule"
    needs = ("lr", "q", "train_loss", "probe_score", "val_loss")
    explains = ("lr_too_low", "undertrained", "underfitting", "plateau", "lr_too_high", "oscillation",
                "exploding_gradient", "vanishing_gradient", "batch_too_large")  # fmt: skip
    source = (
        "torch.optim, How to adjust learning rate; Li et al. 2020, arXiv:1905.04753 (decay over the budget)."
    )

    def diagnose(self, view: View) -> Finding | None:
        if len(view.get("lr")) < 2 or view.steps < 10:
            return None
        if view.is_done and not view.unrest > UNREST:
            return None
        if view.is_solved:  # that the rate is spent is a fact, the others are harmless there
            return self._is_spent(view) or (self._leaps(view) if view.unrest > UNREST else None)
        return (
            self._is_spent(view)
            or self._decays_early(view)
            or self._rises_for_ever(view)
            or self._leaps(view)
            or self._ends_lower(view)
        )

    def _ends_lower(self, view: View) -> Finding | None:
        """The run trained anew at its peak rate, or its usual one, throughout."""
        gains = {name: gain_anew(view, f"at_{name}") for name in ("peak", "median")}
        name = max(gains, key=lambda n: np.nan_to_num(gains[n]))
        other = float(np.nan_to_num(gain_anew(view, "usual_start")))  # what gains more is nearer to the cause
        if not gains[name] > max(ANEW_BETTER, other):
            return None
        return self._finding(view, Reading(f"gain of a run at the {name} rate", gains[name], ANEW_BETTER), 0,
            f"The same run at its {name} rate throughout learned far more. ",
            "decay only over the last part of the training, and warm up over 1 to 10 % of the steps")  # fmt: skip

    def _is_spent(self, view: View) -> Finding | None:
        trace = view.get("lr")
        at, tiny = self._under(view, 0.02)
        if at.size and tiny > TINY:
            return self._finding(view, Reading("share of steps under 2 % of the peak rate", tiny, TINY),
                int(trace.steps[at[0]]),
                "The learning rate is almost zero before half of the training is over. ",
                "step the scheduler once per epoch, or set its length to the real number of steps")  # fmt: skip
        return None

    @staticmethod
    def _under(view: View, share: float) -> tuple[np.ndarray, float]:
        """Return where the rate lies under a share of its peak after it, and for which share of the steps."""
        trace = view.get("lr")
        after = trace.steps > trace.steps[int(trace.values.argmax())]
        at = np.flatnonzero((trace.values < share * trace.values.max()) & after)
        ends = np.append(trace.steps[1:], view.steps)
        return at, float((ends[at] - trace.steps[at]).sum() / view.steps)

    def _decays_early(self, view: View) -> Finding | None:
        trace = view.get("lr")
        low, share = self._under(view, 0.1)
        gains, z = (
            [view.what_if("as_is", f"{part}_hot{kind}") for part in ("train", "val")] for kind in ("", "_z")
        )
        # surely on the one part, and contradicted by neither
        gain = max((g for g, sure in zip(gains, z, strict=True) if sure > SURE), default=0.0)
        fast = gain > MORE and not any(sure < AGREES for sure in z)
        if low.size and view.rate_decayed and share > SPENT and fast:
            return self._finding(view, Reading("gain of a few steps at the peak rate / base loss", gain, MORE),
                int(trace.steps[low[0]]),
                "The learning rate has fallen while the loss at its peak still fell fast. ",
                "let the decay span the whole training, or train for more epochs at the peak first")  # fmt: skip
        return None

    def _rises_for_ever(self, view: View) -> Finding | None:
        trace, peak = view.get("lr"), float(view.get("lr").values.max())
        base = float(view.fact("hyper", {}).get("initial_lr", peak))
        first = float(trace.values[0])
        if len(trace) < 4 or not _rises(view) or not trace.steps[-1] > 0.6 * view.steps:
            return None
        # a warm-up may be all that there is of a one-cycle schedule over too many steps: then the end is the fastest rise
        late = trace.values[-1] - trace.values[len(trace) // 2] > (trace.values[-1] - first) / 2
        small = peak < 0.3 * base or first < 0.3 * peak or (first < STEADY * peak and late)
        if small:
            told = Reading("peak rate / base rate", peak / base, 0.3, "<")
            if not told.holds:
                told = Reading("first rate / peak rate", first / peak, STEADY, "<")
            return self._finding(view, told, 0,
                "The warm-up never ends within this training. ", "warm up over 1 to 10 % of the steps")  # fmt: skip
        return None

    def _leaps(self, view: View) -> Finding | None:
        trace, peak = view.get("lr"), float(view.get("lr").values.max())
        jumps = np.flatnonzero(trace.values[1:] > 3 * trace.values[:-1])
        late = [j for j in jumps if trace.steps[j + 1] > 0.3 * view.steps]
        if late and trace.values[-1] > 0.5 * peak:
            return self._finding(view, Reading("rate at the end / peak", trace.values[-1] / peak, 0.5),
                int(trace.steps[late[0] + 1]),
                "The learning rate jumps up again and ends high. ",
                "let one decay span the whole training")  # fmt: skip
        sudden = float(trace.values[1:].max() / trace.values[0])
        jumps = jumps[
            trace.values[jumps + 1] > 0.5 * peak
        ]  # a warm-up of few steps climbs as fast, but in several
        if sudden > 8 and jumps.size and not _rises(view):
            return self._finding(view, Reading("rate / first rate", sudden, 8), int(trace.steps[jumps[0] + 1]),
                "The learning rate leaps within the training. ", "raise the rate gradually")  # fmt: skip
        return None

    def _finding(self, view: View, reading: Reading, start: int, what: str, fix: str) -> Finding:
        return Finding(
            self.ailment, "critical", 0.88, "S",
            what + "The steps that are left are too small, or too large, to get any further.",
            (reading,), span=(start, view.steps), fix=fix, source=self.source, measured=view.measured,
        )  # fmt: skip


def _rises(view: View) -> bool:
    """Whether the rate never falls."""
    return bool((np.diff(view.get("lr").values) >= 0).all())
