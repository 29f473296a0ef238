from __future__ import annotations

import math

import numpy as np

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading
from trainwell.values.signal import Array

Z, RHO = 3.0, 0.08
"""Below 8 % of the base loss stopping early gains less than the seed does."""

GAP, Z_GAP = 0.3, 1.64
"""Where validation lies this far above training, a rise at the 5 % level is enough: that the network learns by heart
is no longer in question, only whether it costs."""

WIDE = 0.5
"""Share of the rise that the gap between validation and training rows must have."""

RHO_GAP = 0.05
"""There a smaller rise counts as well: Prechelt's stop at a generalisation loss of 5 %."""

TIMES = 2.0
"""Loss of new rows over that of training rows from which a small but sure rise counts, too: of a task of which most is
learned no gap can be wide, and what it costs is to be held against what was left."""


class Overfitting(Rule):
    """Find a validation loss that rises while the training loss falls, and the epoch at which that began."""

    ailment = "overfitting"
    needs = ("val_loss", "val_losses", "train_loss", "probe_score", "probe_loss", "val_score")
    explains = ("converged_early",)
    source = "Prechelt 1998, Early Stopping; Cawley and Talbot 2010, JMLR 11 (chosen on one half, judged on the other)."

    def diagnose(self, view: View) -> Finding | None:
        trace = view.get("val_losses")
        if trace.values.ndim != 2 or len(trace) < 4 or not np.isfinite(trace.values).all():
            return None
        rise, error, begin = _rise(trace.values)
        rho = rise / view.base_loss
        epochs = trace.steps
        curve = view.epoch_loss
        best = min(int(np.searchsorted(view.epoch_ends, epochs[begin])), len(curve) - 1)
        falling = curve.size < 2 or curve[-1] < curve[best]
        falling = falling and self._gap_widens(view, int(epochs[begin]))
        val, probe = view.get("val_loss").last, view.get("probe_loss").last
        by_heart = val - probe > GAP * view.base_loss
        own_only = val > TIMES * probe
        z_limit, rho_limit = Z_GAP if by_heart else Z, RHO_GAP if by_heart or own_only else RHO
        is_rise = rise > z_limit * error and rho > rho_limit
        told: tuple[Reading, ...] = (Reading("rise of the validation loss / base loss", rho, rho_limit),
                Reading("z", rise / max(error, 1e-12), z_limit))  # fmt: skip
        if not is_rise and by_heart:
            told = _goes_on(view, val)
            is_rise = all(r.holds for r in told)
        # what is learned by heart opens a gap as wide as the rise; else the network itself got worse
        opens = not val - probe < WIDE * rise
        if not is_rise or not falling or not opens or begin >= 0.8 * len(epochs):
            return None
        epoch = int(np.searchsorted(view.epoch_ends, epochs[begin])) + 1
        return Finding(
            self.ailment, "critical", 0.9, "S",
            f"Since epoch {epoch} the network gets better on the rows it trains on and worse on those it has not seen. "
            "It learns rows by heart.",
            told,
            span=(int(epochs[begin]), view.steps),
            fix=f"keep the weights of epoch {epoch}; to get further: weight decay, dropout, augmentation or more data",
            source=self.source, measured={**view.measured, "epoch": float(epoch), "rise": told[0].value},
        )  # fmt: skip

    @staticmethod
    def _gap_widens(view: View, best: int) -> bool:
        """Whether the training rows, judged as the validation rows are, did not get worse as well."""
        probe = view.get("probe_loss")
        if len(probe) < 2:
            return True
        at = int(np.abs(probe.steps - best).argmin())
        return bool(probe.values[-1] <= probe.values[at] + 0.02 * view.base_loss)


def _goes_on(view: View, val: float) -> tuple[Reading, ...]:
    """Return what shows that the rise of the curve, which few rows or a heavy tail leave unsure, was no chance.

    A continuation measures it anew: with it the network surely knows its own rows better still, and new ones worse.
    """
    rise = (val - float(view.get("val_loss").values.min())) / view.base_loss
    worse, better = (view.what_if(view.continuation, f"{part}_hot_z") for part in ("val", "train"))
    return (
        Reading("rise of the validation loss / base loss", rise, RHO_GAP),
        Reading("z of new rows when it goes on", worse, -Z, "<"),
        Reading("z of its rows when it goes on", better, Z),
    )


def _rise(losses: Array) -> tuple[float, float, int]:
    """Return the rise of the loss since its best epoch, its standard error, and that epoch.

    The epoch is chosen on one half of the samples and the rise measured on the other, and the reverse: else the
    minimum would be taken for better than it is.
    Shapes: losses: (epochs, samples).
    """
    half = np.arange(losses.shape[1]) % 2 == 0
    differences = []
    for choose, judge in ((half, ~half), (~half, half)):
        best = int(losses[:, choose].mean(1).argmin()) if choose.any() else 0
        differences.append(losses[-1, judge] - losses[best, judge])
    d = np.concatenate(differences)
    error = float(d.std() / math.sqrt(max(1, d.size)))
    return float(d.mean()), error, int(losses.mean(1).argmin())
