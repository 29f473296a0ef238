from __future__ import annotations

import math
from typing import Any

from trainwell.rules.params_not_trained import FEW
from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

SHARE = 0.1
"""Share of the numbers of all matrices; less may be a table of positions or a matrix that is constant on purpose."""


class FrozenByAccident(Rule):
    """Find trained weights that stand still although something says that they should learn."""

    ailment = "frozen_by_accident"
    needs = ("params", "probe_score")
    explains = ("underfitting", "undertrained", "plateau", "lr_too_low")
    source = "PyTorch forum 7088 (parameters without gradient in an optimizer); TrainCheck, OSDI 2025."

    def diagnose(self, view: View) -> Finding | None:
        matrices = [p for p in view.fact("params") or [] if len(p["shape"]) > 1]
        total = sum(map(_numbers, matrices))
        trained = [p for p in matrices if p.get("fresh") is False and not p.get("symmetric")]
        trained = [p for p in trained if _numbers(p) >= FEW]
        if not trained or view.steps < 3 or view.fact("freezes"):
            return None
        forgotten = [
            p for p in trained if p["learns"] and not p["optimized"] and p.get("received") and p.get("moved") is False
        ]  # fmt: skip
        if _share(forgotten, total) > SHARE:
            return self._finding(
                forgotten, total, 0.9, "D",
                "are in no optimizer, although gradients are computed for them",
                "give them to the optimizer; or, if they are meant to be frozen, set requires_grad = False, "
                "which also saves their backward pass",
            )  # fmt: skip
        held = [p for p in trained if not p["learns"] and p["optimized"]]
        told = view.fact("freezes") is False  # a recipe of ours, which asks for no freezing
        still = held if not told else [p for p in trained if not p["learns"]]
        # a network that learned its task without them was most likely frozen on purpose
        if _share(still, total) > SHARE and not view.is_solved:
            why = "although the optimizer holds them" if held else "although the recipe freezes nothing"
            return self._finding(
                still, total, 0.65, "S", f"have requires_grad = False, {why}",
                "set requires_grad = True before the optimizer is made; or, if they are meant to be frozen, "
                + ("ask for it: --with freeze" if told else "leave them out of the optimizer"),
            )  # fmt: skip
        return None

    def _finding(
        self, params: list[dict[str, Any]], total: int, confidence: float, grade: str, why: str, fix: str
    ) -> Finding:
        share = _share(params, total)
        return Finding(
            self.ailment, "warning", confidence, grade,
            f"{share:.0%} of the network were trained before and {why}. "
            "They stay as another task left them, and only the rest fits itself to this one.",
            (Reading("frozen_share", share, SHARE),), layers=tuple(p["name"] for p in params[:20]), fix=fix,
            source=self.source,
        )  # fmt: skip


def _numbers(param: dict[str, Any]) -> int:
    return math.prod(param["shape"])


def _share(params: list[dict[str, Any]], total: int) -> float:
    return sum(map(_numbers, params)) / max(1, total)
