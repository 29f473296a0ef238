from __future__ import annotations

import math
from typing import Any

from trainwell.rules.rule import Rule
from trainwell.rules.view import MIXED, View
from trainwell.values.finding import Finding, Reading

FEW = 8
"""Values per channel below which the statistics of a batch are mostly chance (Wu and He 2018, figure 1)."""

KEPT = 4 * FEW
"""Rows that running statistics are worth: a mean of 32 is off by 1 / sqrt(32) = 18 % of a deviation."""

USUAL, START = 0.1, KEPT**-0.5
"""Momentum below which running statistics are slow (PyTorch's default), and the share of their start values that may be
left in them: as far off as a mean of `KEPT` rows."""

DIFFERENT = 0.15
"""Difference of the losses of the same rows in both modes, in units of the loss of the best constant answer."""


class BatchnormMisuse(Rule):
    """Find batch norm with too few values, an odd momentum, or statistics that do not fit the network."""

    ailment = "batchnorm_misuse"
    needs = ("layers", "train_mode_loss", "probe_loss", "mate_effect")
    explains = ("batch_too_small", "lr_too_high", "oscillation", "undertrained", "train_val_shift",
    "exploding_gradient",
                "underfitting", "plateau", "launch_bound")  # fmt: skip
    source = "Ioffe 2017, arXiv:1702.03275; Wu and He 2018, arXiv:1803.08494."

    def diagnose(self, view: View) -> Finding | None:
        layers = [m for m in view.fact("layers", ()) if m.get("norm") == "batch"]
        if not layers or (
            view.get("norms_in_eval").values.size and view.get("norms_in_eval").values.mean() > 0.9
        ):
            return None
        names = tuple(m["name"] for m in layers)
        rows = view.number("batch_size", 99)
        probe, same = (view.get(t).last for t in ("probe_loss", "train_mode_loss"))
        gap = (probe - same) / view.base_loss if view.base_loss else math.nan
        few = 0 < rows < FEW and (any(m["kind"] == "BatchNorm1d" for m in layers) or rows <= 2)
        if few and (not view.is_solved or abs(gap) > DIFFERENT):
            return self._finding("D", Reading("batch_size", rows, FEW, "<"), names,
                f"Batch norm takes mean and deviation from {rows:.0f} rows, which is mostly chance. ",
                "use larger batches, or GroupNorm / LayerNorm in place of batch norm")  # fmt: skip
        if view.norms_of_the_batch and view.mate_effect > MIXED:
            return self._finding("D", Reading("mate_effect", view.mate_effect, MIXED), view.norms_of_the_batch,
                "Batch norm keeps no running statistics, so that an output depends on the rest of its batch in use too. ",
                "keep them (track_running_stats=True), or use GroupNorm / LayerNorm in place of batch norm")  # fmt: skip
        momenta = [m["momentum"] for m in layers if m["momentum"] is not None and m["running"]]
        odd = [m for m in momenta if m > 0.5 or m < 0.005]
        # a running mean with momentum m is worth (2 - m) / m batches
        flat = any(m["kind"] == "BatchNorm1d" for m in layers) and not view.is_sequence
        chance = flat and bool(odd) and odd[0] > 0.5 and rows * (2 - odd[0]) / odd[0] < KEPT
        if odd and (not gap <= 0.05 or not view.is_solved or chance):
            limit, sign = (0.5, ">") if odd[0] > 0.5 else (0.005, "<")
            return self._finding("D", Reading("momentum", odd[0], limit, sign), names,
                f"The running statistics of batch norm use a momentum of {odd[0]:g}. ",
                "use momentum 0.1 (in PyTorch it is the weight of the new batch, not of the old value)")  # fmt: skip
        return self._lags(view, layers, names, gap)

    def _lags(
        self, view: View, layers: list[dict[str, Any]], names: tuple[str, ...], gap: float
    ) -> Finding | None:
        """Running statistics that have not come to what the network is now."""
        slow = self._start_left(view, layers)
        if slow > START and gap > 0 and not view.is_solved:
            return self._finding("D", Reading("start left in running statistics", slow, START), names,
                "The momentum of batch norm is so low that much of the start values, 0 and 1, is left in its "
                "running statistics. ", "use momentum 0.1, train longer, or recompute them on 20 batches")  # fmt: skip
        if (
            math.isfinite(gap)
            and gap > 0.3
            and not any("dropout" in m for m in view.fact("layers", ()))
            and not view.has_nonfinite
            and not view.is_shaken  # no statistics keep up with such steps
        ):
            return self._finding("S", Reading("probe_loss - train_mode_loss", gap, 0.3), names,
                "The same rows are judged far worse in evaluation mode than in training mode. ",
                "let the running statistics catch up: more steps, a higher momentum, "
                "or recompute them on 20 batches")  # fmt: skip
        return None

    @staticmethod
    def _start_left(view: View, layers: list[dict[str, Any]]) -> float:
        """Return the largest share of start values that is left in statistics which a low momentum fills slowly."""
        slow = [
            m["momentum"]
            for m in layers
            if m["running"] and not m.get("filled") and m["momentum"] is not None
        ]
        return max(((1 - m) ** view.steps for m in slow if 0 < m < USUAL), default=0.0)

    def _finding(self, grade: str, reading: Reading, names: tuple[str, ...], what: str, fix: str) -> Finding:
        return Finding(
            self.ailment, "critical", 0.9, grade,
            what + "What the network sees in training then differs from what it sees in use.",
            (reading,), layers=names, fix=fix, source=self.source,
        )  # fmt: skip
