from __future__ import annotations

import math
from typing import Any

from trainwell.rules.loss_mismatch import LossMismatch
from trainwell.rules.rule import Rule
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

FEW, ENOUGH = 256, 1024
"""Values of a matrix from which one that is not random counts as trained, and from which random looks are no chance."""


APART, STOOD, WENT = 100.0, 0.02, 0.5
"""How many times the rates of groups differ that are no usual pair (discriminative fine-tuning has 2.6 a layer, Howard
and Ruder 2018), and how far a matrix goes, in its own length, that stands and that learns."""

NOTHING, LEARNABLE, LOWEST = 0.1, 0.15, 0.72
"""Way of a run that learned nothing, share of the targets that a simple learner explains, and prediction ratio
under which steps are too long to learn anything."""


class ParamsNotTrained(Rule):
    """Find parameters that should learn and cannot."""

    ailment = "params_not_trained"
    needs = ("params", "layers", "probe_score", "made_in_forward")
    explains = ("underfitting", "undertrained", "plateau", "overfitting", "lr_too_low", "vanishing_gradient",
                "dead_units", "saturated_units", "shuffled_labels", "weight_decay_misuse", "batch_too_large",
                "frozen_by_accident")  # fmt: skip
    source = "TrainCheck, OSDI 2025; PyTorch forum 84911."

    def diagnose(self, view: View) -> Finding | None:
        params: list[dict[str, Any]] = view.fact("params") or []
        hidden = view.fact("hidden_modules") or []
        if hidden:
            return self._finding("they lie in a plain list or dictionary, where torch does not see them", hidden,
                "put them into nn.ModuleList or nn.ModuleDict", 0.95)  # fmt: skip
        plain = view.fact("plain_tensors") or []
        if plain:
            return self._finding("they are plain tensors, which parameters() does not list", plain,
                "wrap each in nn.Parameter", 0.95)  # fmt: skip
        if view.share("made_in_forward") > 0.5:
            return self._finding("a layer is made anew with random weights in every forward", ["forward"],
                "make the layer once, in __init__", 0.95)  # fmt: skip
        fresh = _fresh(params)
        forgotten = [p for p in fresh if p["learns"] and not p["optimized"]]
        if forgotten:
            return self._finding("the optimizer does not have them, and they hold random start values", _names(forgotten),
                "give all of them to the optimizer: Adam(model.parameters())", 0.95)  # fmt: skip
        frozen = [p for p in fresh if not p["learns"]]
        if frozen and not view.is_done:
            return self._finding("requires_grad is False, and they hold random start values", _names(frozen),
                "set requires_grad = True, or load the pre-trained weights", 0.9)  # fmt: skip
        mute = _mute(view, params)
        if mute:
            return self._finding("requires_grad is False, and from what they compute the rest could learn nothing", mute,
                "set requires_grad = True, or load weights that were trained on such data", 0.88)  # fmt: skip
        behind = [] if view.is_solved else _left_behind(view, fresh)
        if behind:
            return self._finding("their group has a rate far below that of the others, and they hold random start values",
                behind, "raise the rate of their group: low ones are for pre-trained weights", 0.88)  # fmt: skip
        # what no gradient reaches may be what a loss without a slope leaves; what is frozen is a fault of its own
        if view.steps < 3 or view.has_nonfinite or LossMismatch().diagnose(view):
            return None
        cut = [p for p in fresh if p["learns"] and p["optimized"] and p.get("received") is False]
        if cut:
            return self._finding("no gradient ever reaches them", _names(cut),
                "look for detach(), no_grad() or .data between them and the loss, or a layer that forward does not use",
                0.9)  # fmt: skip
        return self._all_still(view, params)

    def _all_still(self, view: View, params: list[dict[str, Any]]) -> Finding | None:
        """Of a network that no step moved: whose tensors the optimizer has instead."""
        still = [
            p
            for p in params
            if p["learns"] and p["optimized"] and len(p["shape"]) > 1 and p.get("moved") is False
        ]
        if still and len(still) == sum(len(p["shape"]) > 1 for p in params):
            if view.number("foreign_params", 0) > 0:
                return self._finding("the optimizer holds other tensors than the model", _names(still),
                    "make the optimizer after the model has its final parameters", 0.95)  # fmt: skip
            if view.get("lr").values.max(initial=0.0) != 0:
                return self._finding("they have not changed in any step", _names(still),
                    "check that loss.backward() reaches them before optimizer.step()", 0.8)  # fmt: skip
        return None

    def _finding(self, why: str, names: list[str], fix: str, confidence: float) -> Finding:
        return Finding(
            self.ailment, "critical", confidence, "D",
            f"{len(names)} parameter(s) or module(s) do not learn: {why}. "
            "The rest of the network has to make do with what they compute by chance.",
            (Reading("params_not_trained", len(names), 0),), layers=tuple(names[:20]), fix=fix, source=self.source,
        )  # fmt: skip


def _fresh(params: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the matrices that look like random start values.

    Few numbers cannot be told from random ones after a training either: they count only where no matrix is trained.
    """
    sizes = {p["name"]: math.prod(p["shape"]) for p in params}
    trained = any(
        p.get("fresh") is False and not p.get("symmetric") and sizes[p["name"]] >= FEW for p in params
    )
    return [p for p in params if p.get("fresh") and (not trained or sizes[p["name"]] >= ENOUGH)]


def _mute(view: View, params: list[dict[str, Any]]) -> list[str]:
    """Return the frozen matrices of a network whose others went far and learned nothing, though there is what to learn.

    How they look does not matter: few numbers look random, trained or not, but what was trained tells something.
    """
    went = max((view.fact("distance") or {}).values(), default=0.0) > WENT
    nothing = view.way < NOTHING and view.number("learnable", 0.0) > LEARNABLE
    if not (went and nothing) or view.has_nonfinite or not view.q_median > LOWEST:
        return []
    return [
        p["name"]
        for p in params
        if len(p["shape"]) > 1 and not p["learns"] and not p["kind"].endswith("Norm")
    ]


def _left_behind(view: View, fresh: list[dict[str, Any]]) -> list[str]:
    """Return the random matrices that hardly left their start while others went far, by the rate of their group."""
    rates = [r for r in view.fact("lrs") or [] if r > 0]
    far: dict[str, float] = view.fact("distance") or {}
    if len(rates) < 2 or max(rates) < APART * min(rates) or max(far.values(), default=0.0) < WENT:
        return []
    return [p["name"] for p in fresh if p["learns"] and p["optimized"] and far.get(p["name"], WENT) < STOOD]


def _names(params: list[dict[str, Any]]) -> list[str]:
    return [p["name"] for p in params]
