from __future__ import annotations

import dataclasses

import numpy as np

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

FEW_NORMS = 5
"""Norms from which a limit may be drawn."""

LOUD = 10.0
"""Root mean square of activations from which they are large; inputs and targets of usual scale have about 1."""


class ExplodingGradient(Rule):
    """Find losses and gradients that blow up, and back-propagation that amplifies."""

    ailment = "exploding_gradient"
    needs = ("train_loss", "grad_norm", "back_rms", "act_rms", "probe_score")
    explains = ("dead_units", "underfitting", "undertrained", "plateau", "oscillation", "saturated_units",
                "batch_too_small", "vanishing_gradient", "bad_init", "lr_too_high")  # fmt: skip
    source = "Pascanu et al. 2013, arXiv:1211.5063; Glorot and Bengio 2010."

    def diagnose(self, view: View) -> Finding | None:
        losses = view.get("train_loss")
        grows = self._forward_growth(view)
        if (view.back_gain > 1.7 or grows > 1.7) and not view.is_solved:
            value, name = (view.back_gain, "back_gain") if view.back_gain > grows else (grows, "act_gain")
            found = self._finding(view, Reading(name, value, 1.7), (0, view.steps), 0.93,
                "From layer to layer the signals grow many times over. ",
                "start with He weights or normalise between layers; clipping comes after that")  # fmt: skip
            # the norms of this run are those of the fault: no dose follows from them
            kept = {k: v for k, v in found.measured.items() if not k.startswith(("grad_norm", "lr"))}
            return dataclasses.replace(found, measured=kept | {"at_start": 1.0})
        if view.has_nonfinite and len(losses):
            bad = np.flatnonzero(~np.isfinite(losses.values))
            at = int(losses.steps[bad[0]]) if bad.size else int(losses.steps[-1])
            reading = Reading("losses that are no number", int(bad.size), 0)
            if not bad.size:
                reading = Reading("norms that are no number", 1, 0)
            return self._finding(view, reading, (at, view.steps), 0.7,
                f"At step {at} a loss, gradient or weight was no longer a finite number. ",
                "lower the learning rate, warm up, or clip the gradient")  # fmt: skip
        spike = self._spikes(view)
        # odd rows jump by themselves, and cost nothing where new rows are answered right
        if spike is not None and not (view.is_solved or view.answers_new):
            return self._finding(view, Reading("loss spikes", spike[1], 2), (spike[0], view.steps), 0.6,
                "The loss jumps far above its usual level again and again. ",
                "clip the gradient at the 90 % quantile of its usual norms, or warm up")  # fmt: skip
        return None

    @staticmethod
    def _forward_growth(view: View) -> float:
        """Decades by which activations grow from the first layer to the last before the first step."""
        layers = [m["name"] for m in view.fact("modules", ()) if view.get("act_rms", m["name"]).values.size]
        if len(layers) < 3:
            return 0.0
        first, last = (float(view.get("act_rms", layers[i]).values[0]) for i in (0, -1))
        with np.errstate(all="ignore"):
            growth = float(np.log10(max(last, 1e-38) / max(first, 1e-38)))
        # from a thousandth to a tenth is no explosion
        return growth if np.isfinite(growth) and last > LOUD else 0.0

    @staticmethod
    def _spikes(view: View) -> tuple[int, int] | None:
        """Step of the first and number of the spikes of the last three quarters that stand over 6 robust deviations."""
        trace = view.get("train_loss").after(0.25)
        values = trace.values[np.isfinite(trace.values)]
        if values.size < 60 or values.min() <= 0:
            return None
        logs = np.log(values)
        middle = np.median(logs)
        spread = 1.48 * np.median(np.abs(logs - middle)) + 1e-9
        high = ((logs - middle) / spread > 6) & (logs - middle > 0.7)
        count = int(high.sum())
        return (int(trace.steps[int(np.argmax(high))]), count) if count >= 3 else None

    @staticmethod
    def _sane_norms(view: View, until: int) -> dict[str, float]:
        """Return quantiles of the gradient norms before the trouble, without those that are part of it."""
        trace = view.get("grad_norm")
        norms = trace.values[(trace.steps < until) if until > 0 else slice(None)]
        norms = norms[np.isfinite(norms)]
        if norms.size < FEW_NORMS:
            return {}
        norms = norms[norms <= 10 * abs(np.median(norms[: max(FEW_NORMS, norms.size // 2)]))]
        return {f"grad_norm.q{q}": float(np.quantile(norms, q / 100)) for q in (50, 90)}

    def _finding(
        self, view: View, reading: Reading, span: tuple[int, int], confidence: float, what: str, fix: str
    ) -> Finding:
        return Finding(
            self.ailment, "critical", confidence, "S",
            what + "A single step then throws the weights far from anything useful.",
            (reading,), span=span, fix=fix, source=self.source,
            measured={k: v for k, v in view.measured.items() if not k.startswith("grad_norm")}
            | self._sane_norms(view, span[0]),
        )  # fmt: skip
