from __future__ import annotations

import numpy as np

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

WAIT = 0.5
"""Share of waiting. torch's own loader takes a third of a small network's step, which is the network's smallness."""

MANY, FEW = 10, 6
"""Steps of which half must wait so long, and steps of which all must: by chance all six would once in 64 runs."""


class InputBound(Rule):
    """Find loops that wait for their data."""

    ailment = "input_bound"
    needs = ("wait_s", "step_s")
    explains = ("launch_bound",)
    source = "Rauschmayr et al. 2021, MLSys (Amazon SageMaker Debugger, bottleneck of the data loader)."

    def diagnose(self, view: View) -> Finding | None:
        wait, step = view.get("wait_s").values, view.get("step_s").values
        n = min(len(wait), len(step))
        if n < FEW:
            return None
        shares = wait[:n] / np.maximum(wait[:n] + step[:n], 1e-12)
        if n < MANY and not (shares > WAIT).all():
            return None
        share = float(np.median(shares))
        if not share > WAIT or float(np.median(wait)) < 5e-4:
            return None
        return Finding(
            self.ailment, "warning", 0.85, "S",
            f"{100 * share:.0f} % of the time goes into waiting for the next batch. "
            f"With the data ready in time the training would be up to {1 / (1 - share):.1f} times as fast.",
            (Reading("wait_s / (wait_s + step_s)", share, WAIT),),
            fix="decode once and keep tensors, or use DataLoader workers with prefetching", source=self.source,
            measured={"wait": share},
        )  # fmt: skip
