from __future__ import annotations

import numpy as np

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading
from trainwell.values.signal import Array


class ModeMisuse(Rule):
    """Find training in evaluation mode, and validation in training mode."""

    ailment = "mode_misuse"
    needs = ("norms_in_eval", "dropouts_in_eval", "val_in_train_mode", "drops_in_eval", "layers")
    explains = ("batchnorm_misuse", "train_val_shift", "exploding_gradient", "lr_too_high", "undertrained")
    source = "Ben Braiek and Khomh 2023, arXiv:2204.00694 (TheDeepChecker: missing inference mode)."

    def diagnose(self, view: View) -> Finding | None:
        val = view.get("val_in_train_mode").values
        if val.size and np.mean(val) > 0.5:
            return self._finding(
                "Validation runs in training mode: batch norm uses the batch at hand and dropout drops units. "
                "The validation numbers are noisy and worse than the network is.",
                "call model.eval() before validation and model.train() after it",
                "val_in_train_mode", float(np.mean(val)))  # fmt: skip
        drops = view.share("drops_in_eval")
        if drops > 0.5:
            return self._finding(
                "Units are dropped in evaluation mode as well, so that the network never answers as a whole. "
                "Validation and use are noisy and worse than the network is.",
                "give the function the mode, F.dropout(x, p, training=self.training), or use nn.Dropout",
                "drops_in_eval", drops)  # fmt: skip
        dropouts, late = _values(view, "dropouts_in_eval")
        if dropouts.size >= 3 and late > 0.9:
            return self._finding(
                "The network trains in evaluation mode, so that its dropout never acts. "
                "The protection against learning by heart that was asked for is not there.",
                "call model.train() at the start of every epoch",
                "dropouts_in_eval", float(np.mean(dropouts)))  # fmt: skip
        norms, late = _values(view, "norms_in_eval")
        if norms.size >= 3 and late > 0.9:
            layers = [m for m in view.fact("layers", ()) if m.get("norm") == "batch"]
            # statistics that were once filled belong to a pre-trained network: then it is meant so
            early = float(norms[0]) < 0.5
            if early or any(m["tracked"] == 0 and not m.get("filled") for m in layers):
                return self._finding(
                    "The network trains in evaluation mode: batch norm uses statistics that are not those of its inputs. "
                    "It does not normalise, and the statistics are never updated.",
                    "call model.train() at the start of every epoch",
                    "norms_in_eval", float(np.mean(norms)))  # fmt: skip
        return None

    def _finding(self, meaning: str, fix: str, trace: str, value: float) -> Finding:
        return Finding(
            self.ailment,
            "critical",
            0.95,
            "D",
            meaning,
            (Reading(trace, value, 0.5),),
            fix=fix,
            source=self.source,
        )


def _values(view: View, signal: str) -> tuple[Array, float]:
    """Return a series, and its mean over the last two thirds of the steps: looks are denser at the start."""
    trace = view.get(signal)
    late = trace.after(1 / 3).values
    return trace.values, float(late.mean()) if late.size else 0.0
