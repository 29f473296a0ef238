from __future__ import annotations

from trainwell.rules.bad_features import SPREAD, UNSTABLE
from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

LARGE, SMALL = 5.0, 0.02
"""Root mean square of all inputs, too large and too small. Healthy data lie near 1."""


class UnscaledInputs(Rule):
    """Find inputs of very different or very large scale that no layer normalises."""

    ailment = "unscaled_inputs"
    needs = ("data", "probe_score", "act_rms")
    explains = (*UNSTABLE, "undertrained", "lr_too_low", "batch_too_small", "bad_init", "vanishing_gradient",
                "weight_decay_misuse")  # fmt: skip
    source = "LeCun et al. 1998, Efficient BackProp, 4.3; UMLAUT 'input not normalized'."

    def diagnose(self, view: View) -> Finding | None:
        if view.fact("tokens") or view.fact("first_layer_normalises"):
            return None
        if view.is_solved and not view.is_harmed and not view.has_nonfinite:
            return None
        ratio, rms = view.number("x_sd_ratio", 1.0), view.number("x_rms", 1.0)
        readings = []
        if ratio > SPREAD:
            readings.append(Reading("x_sd_ratio", ratio, SPREAD))
        if rms > LARGE:
            readings.append(Reading("x_rms", rms, LARGE))
        if 0 < rms < SMALL:
            readings.append(Reading("x_rms", rms, SMALL, "<"))
        if not readings:
            return None
        return Finding(
            self.ailment, "critical", 0.9, "S",
            "The inputs are far from the scale that networks are built for, or some columns are far larger than others. "
            "The largest columns then decide everything, and no learning rate suits all of them.",
            tuple(readings), fix="standardise the inputs by the mean and deviation of the training part, "
            "or put a normalisation layer first", source=self.source, measured=view.measured,
        )  # fmt: skip
