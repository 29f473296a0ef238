from __future__ import annotations

from trainwell.rules.layers import DEAD_RATE
from trainwell.rules.layers import DEAD_SHARE as SHARE
from trainwell.rules.lr_schedule import ANEW_BETTER
from trainwell.rules.lr_too_high import FAR
from trainwell.rules.rule import Rule
from trainwell.rules.strides import gain_anew
from trainwell.rules.view import THROW, View
from trainwell.values.finding import Finding, Reading

BORN = 0.5
"""Share of a layer that is off before any step and stays so; healthy layers have up to 0.39."""


class DeadUnits(Rule):
    """Find rectifiers that are off for every sample."""

    ailment = "dead_units"
    needs = ("unit_activity", "probe_score")
    explains = (
        "underfitting",
        "undertrained",
        "plateau",
        "vanishing_gradient",
        "lr_too_low",
        "batch_too_large",
        "params_not_trained",
    )
    source = "Lu et al. 2019, arXiv:1903.06733; Sokar et al. 2023, arXiv:2302.12902 (dormant units)."

    def diagnose(self, view: View) -> Finding | None:
        last = (view.fact("modules") or [{"name": None}])[-1]["name"]
        layers = [n for n in view.traces.layers("unit_activity") if n != last]
        shares = {n: view.dead_share(n)[1] for n in layers}
        worst = max(shares, key=lambda k: shares[k], default=None)
        if worst is None or shares[worst] <= SHARE:
            return None
        # what was built and never worked is a fault of a run that went well, too
        if view.is_sound and view.is_done and not min(view.dead_share(worst)) > BORN:
            return None
        made = (
            view.thrown > THROW
            or view.dead_share(worst)[0] > SHARE
            or gain_anew(view, "at_median") > ANEW_BETTER
        )
        if not made and view.way >= FAR:
            return None
        if view.is_sound and not view.dead_share(worst)[0] > SHARE:
            return None
        dead = 1 - (view.get("unit_activity", worst).values < DEAD_RATE).mean(1) < 1 - SHARE
        start = int(view.get("unit_activity", worst).steps[int(dead.argmax())])
        return Finding(
            # neither from the start nor by a throw: in a run that learns little units may die of that
            self.ailment, "critical" if made or view.is_judged else "information", 0.85 if made else 0.75, "S",
            f"{100 * shares[worst]:.0f} % of the units of a layer are off for every sample. "
            "They get no gradient and cannot come back, so that the network is smaller than it was built.",
            (Reading("unit_activity", shares[worst], SHARE, layer=worst),), span=(start, view.steps),
            layers=tuple(k for k in shares if shares[k] > SHARE),
            fix="start dead units anew, lower the rate or warm up, set biases to 0, or use leaky ReLU or GELU",
            source=self.source, measured=view.measured,
        )  # fmt: skip
