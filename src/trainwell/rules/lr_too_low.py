from __future__ import annotations

import math

from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

LINEAR, LATE, RATIO, BETTER, Z = 0.99, 0.3, 2e-4, 0.05, 3.0


class LrTooLow(Rule):
    """Find a loss that falls along straight lines at a rate that was never lowered."""

    ailment = "lr_too_low"
    needs = ("q", "train_loss", "probe_score", "lr", "update_norm", "weight_norm")
    explains = ("underfitting", "undertrained", "plateau", "batch_too_large")
    source = "DOCTOR 3.3, 3.4 and 4, Rate too low."

    def diagnose(self, view: View) -> Finding | None:
        if view.is_solved or view.q.size < 6 or view.rate_decayed or view.num_epochs < 4 or view.steps < 60:
            return None
        tenfold, as_is = (view.what_if(name, "train") for name in ("tenfold", "as_is"))
        z = view.what_if("tenfold", "train_z")
        better = tenfold - as_is > BETTER and tenfold > 3 * max(as_is, 0.0) and z > Z
        crawling = view.late_rate > LATE and view.falling_z > 2
        still = view.update_ratio < RATIO and view.way < 0.5
        # the branch overrides the curve: where ten times the rate gains no more, the rate is not to blame
        refuted = math.isfinite(tenfold) and not (tenfold > 2 * max(as_is, 0.0) and z > Z)
        if not view.q_median > LINEAR or not (better or ((crawling or still) and not refuted)):
            return None
        rate = float(view.get("lr").values.max(initial=0.0))
        return Finding(
            self.ailment, "critical", 0.85, "W" if better else "S",
            "Every step changes the loss exactly as a straight line would: the steps are far shorter than they could be. "
            "The training ends long before it is done.",
            (Reading("q, median", view.q_median, LINEAR), Reading("fall of the loss at 10 x the rate", tenfold, as_is),
             Reading("fall at the end / mean fall", view.late_rate, LATE)),
            fix=f"raise the learning rate to {3 * rate:.2g} to {10 * rate:.2g}", source=self.source,
            measured={**view.measured, "lr.suggested": 5 * rate},
        )  # fmt: skip
