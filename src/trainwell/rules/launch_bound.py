from __future__ import annotations

import math

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

WASTED, FEW = 0.01, 8
"""Share of the step that is arithmetic, and samples in a batch, below which it is worth a warning."""


class LaunchBound(Rule):
    """Note steps whose arithmetic is far smaller than the cost of starting it."""

    ailment = "launch_bound"
    needs = ("step_s", "params")
    source = (
        "PyTorch Performance Tuning Guide; true of nearly every small network on a CPU, so it is information."
    )

    def diagnose(self, view: View) -> Finding | None:
        step = view.get("step_s").values
        params = sum(math.prod(p["shape"]) for p in view.fact("params") or ())
        if len(step) < 10 or not params:
            return None
        work = 6.0 * params * max(1, view.batch_size) * view.number("targets_per_sample", 1)
        # 1e9 operations per second is slow for any core: a step under it is bound by its overhead
        expected = work / 1e9
        actual = sorted(step)[len(step) // 2]
        if not expected < 0.3 * actual:
            return None
        # where next to nothing is computed a larger batch gives the same for a fraction of the time
        wasted = expected < WASTED * actual and 0 < view.batch_size <= FEW
        return Finding(
            self.ailment, "warning" if wasted else "information", 0.8 if wasted else 0.7, "S",
            "Network and batch are so small that starting an operation takes longer than computing it. "
            "A step with a larger batch would take hardly longer.",
            (Reading("seconds of arithmetic / step", expected / actual, 0.3, "<"),),
            fix="larger batches with a scaled learning rate, fused optimizers, or torch.compile", source=self.source,
        )  # fmt: skip
