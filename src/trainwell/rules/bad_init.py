from __future__ import annotations

import math
from typing import Any

import numpy as np

from trainwell.rules.layers import ANEW
from trainwell.rules.rule import Rule
from trainwell.rules.strides import gain_anew
from trainwell.rules.vanishing_gradient import NEAR
from trainwell.rules.view import View
from trainwell.values.finding import Finding, Reading

RATIO = 2.0
"""First loss over that of the best constant answer: healthy 0.96 to 1.5, bad 2.7 to 670 (faultbench, dev part)."""

SURE = 2.0
"""Root mean square of biases that make answers sure before anything is learned; usual ones lie below 1."""

FEW_STEPS = 3
"""Steps from which what has not moved is taken to stand."""

LONG_STEP = 0.1
"""|update| / |weight| of a step that is too long for weights that keep the scale."""

ANEW_BETTER = 0.15
"""By how much a run from the start weights that its layers draw by themselves must end lower, in units of the base loss.
Draws alone part runs of thin networks by up to 0.12."""

HALF = 0.5
"""Share of the units of a layer that are copies of others to the end."""

LOUD, STILL = 5.0, 0.1
"""Start weights in units of what keeps the scale, and their relative way against that of the other matrices. A step of
Adam moves all weights alike, so that one five times as large goes a fifth as far; less shows that it gets no gradient."""


class BadInit(Rule):
    """Find start weights that are alike, or far too large or small."""

    ailment = "bad_init"
    needs = ("params", "train_loss", "act_rms", "probe_score")
    explains = ("lr_too_low", "params_not_trained", "underfitting", "undertrained", "plateau", "exploding_gradient",
    "vanishing_gradient",
                "saturated_units", "dead_units", "lr_too_high", "oscillation", "batch_too_large")  # fmt: skip
    source = (
        "Glorot and Bengio 2010; He et al. 2015, arXiv:1502.01852; Karpathy 2019 (verify the loss at the start); "
        "Chizat et al. 2019, arXiv:1812.07956 (nets of large start weights hardly change what they compute)."
    )

    def diagnose(self, view: View) -> Finding | None:
        if view.is_done:  # a network of large weights fits its rows without changing what it starts with
            return self._large(view) if view.is_harmed else None
        params = view.fact("params") or []
        weights = [
            p
            for p in params
            if len(p["shape"]) >= 2 and p["leaf"].startswith("weight") and p["kind"] != "Embedding"
        ]
        alike = [
            p["name"]
            for p in weights[:-1]
            if p.get("symmetric") and p["shape"][0] > 1 and not p["kind"].endswith("Norm")
        ]
        if alike:
            return self._finding(
                "All units of a layer start with the same weights, so they get the same gradients and stay alike. "
                "The layer works as a single unit.",
                Reading("symmetric layers", len(alike), 0), tuple(alike), 0.95, view, "D")  # fmt: skip
        copies = {p["name"]: p.get("copies", 0.0) for p in weights[:-1]}
        worst = max(copies, key=lambda name: copies[name], default="")
        if worst and copies[worst] > HALF:
            return self._finding(
                "Units of a layer began as copies of others, so they get the same gradients and stay copies. "
                "The layer works as one of far fewer units.",
                Reading("copies", copies[worst], HALF), (worst,), 0.95, view, "D")  # fmt: skip
        if view.is_solved:
            return self._large(view) if view.is_harmed else None
        sided = [p["name"] for p in weights if p.get("one_sided") and not p["kind"].endswith("Norm")]
        if sided and not view.fact("pretrained"):
            return self._finding(
                "All weights of a layer start with the same sign. Its units then all answer alike, to the sum of their "
                "inputs, and the signal grows from layer to layer.",
                Reading("one-sided layers", len(sided), 0), tuple(sided), 0.9, view, "D")  # fmt: skip
        zeros = self._zeros(view)
        if zeros is not None:
            return zeros
        found = (
            (self._small(view) or self._large(view) or self._stays(view)) if self._has_scale(view) else None
        )
        return found or self._ends_lower(view)

    def _ends_lower(self, view: View) -> Finding | None:
        """The run trained anew from the weights that its layers draw by themselves."""
        gain = gain_anew(view, "usual_start")
        # what gains more is nearer to the cause
        other = max(np.nan_to_num(gain_anew(view, name)) for name in ("tenth", "tenfold"))
        if not gain > max(ANEW_BETTER, other):
            return None
        return self._finding(
            "The same run learned far more from the start weights that its layers draw by themselves. "
            "Those that it was given are the cause, whatever else they do.",
            Reading("gain of a run from usual start weights", gain, ANEW_BETTER),
            tuple(view.fact("unusual_start") or ()), 0.8, view, "W")  # fmt: skip

    def _zeros(self, view: View) -> Finding | None:
        """Factors of a product that all start at zero."""
        zeros = _zero_products(view.fact("params") or [])
        if not zeros or not view.get("lr").values.max(initial=0.0) > 0 or view.steps < FEW_STEPS:
            return None
        return self._finding(
            "Several matrices start as zeros that multiply each other, as both factors of a low-rank adapter. "
            "The gradient of each holds the other as a factor, so that none of them can ever leave zero.",
            Reading("zeros that never move", len(zeros), 1), tuple(zeros), 0.95, view, "D")  # fmt: skip

    def _small(self, view: View) -> Finding | None:
        """Weights so small that the signal fades on its way."""
        fade = self._fades(view)
        if fade is None:
            return None
        return self._finding(
            "The start weights are so small that the signal fades from layer to layer. "
            "What arrives at the end hardly depends on the input, and no gradient comes back.",
            fade, (), 0.93, view, "S")  # fmt: skip

    def _stays(self, view: View) -> Finding | None:
        """Matrices so large that the training hardly moves them against the others: their units are stuck."""
        moved = view.fact("distance") or {}
        stuck = []
        for p in view.fact("params") or []:
            others = [d for name, d in moved.items() if name != p["name"]]
            if len(p["shape"]) < 2 or p["name"] not in moved or not others:
                continue
            part = moved[p["name"]] / max(float(np.median(others)), 1e-30)
            if p["rms"] > LOUD * _normal(p) and part < STILL:
                stuck.append((part, p["name"]))
        if not stuck:
            return None
        return self._finding(
            "Start weights are so large that the units behind them are in their flat parts, or far from what is "
            "learned. The training hardly moves them, measured by how far it moves the others.",
            Reading("relative way of a matrix / that of the others", min(stuck)[0], STILL, "<"),
            tuple(name for _, name in stuck), 0.8, view, "S")  # fmt: skip

    @staticmethod
    def _has_scale(view: View) -> bool:
        return view.kind in ("classification", "binary", "regression") and not view.fact("pretrained")

    def _large(self, view: View) -> Finding | None:
        ratio, large = self._ratio(view), self._too_large(view) if self._has_scale(view) else []
        if ratio > RATIO and large and not self._data_explain(view):
            confidence = (
                0.95 if any(name.endswith("bias") for name in large) else 0.85
            )  # no layer makes those
            return self._finding(
                f"The first loss is {ratio:.1f} times that of the best constant answer: the start weights are too large. "
                "The network begins by being surely wrong and has to unlearn that first.",
                Reading("first loss / base loss", ratio, RATIO), tuple(large), confidence, view, "S")  # fmt: skip
        return self._lazy(view, large)

    def _lazy(self, view: View, large: list[str]) -> Finding | None:
        """Most matrices are so large that the run left them where they were: it fits its rows by what chance computes."""
        moved = view.fact("distance") or {}
        far = [moved[name] for name in large if name in moved]
        few = 2 * len(far) < len(moved)
        if not far or few or not max(far) < NEAR or not view.is_harmed or self._data_explain(view):
            return None
        return self._finding(
            "The start weights are so large that the training hardly moved them, measured by their own length. "
            "It fits its rows with features that were drawn by chance, and those are worth little for new ones.",
            Reading("distance from the start", max(far), NEAR, "<"), tuple(large), 0.8, view, "S")  # fmt: skip

    @staticmethod
    def _ratio(view: View) -> float:
        base = math.log(max(view.num_classes, 2)) if view.kind == "classification" else view.base_loss
        return view.first_loss * view.base_loss / base if base > 0 else math.nan

    @staticmethod
    def _fades(view: View) -> Reading | None:
        """How far activations or their gradients fall, in decades, where weights are a tenth of what keeps scale."""
        gains = [
            p["rms"] * math.sqrt(math.prod(p["shape"][1:])) for p in view.fact("params") or []
            if len(p["shape"]) >= 2 and p["leaf"].startswith("weight") and p["kind"] not in ("Embedding",
            "MultiheadAttention")
        ]  # fmt: skip
        middle = sorted(gains)[len(gains) // 2] if gains else math.nan
        if len(gains) < 3 or middle > 0.1:
            return None
        # norms hide how small they are, but a step of usual length makes them anew
        if view.longest_stride > ANEW and view.longest_stride * middle < LONG_STEP:
            return Reading("longest step / weights", view.longest_stride, ANEW)
        if view.back_gain < -3:
            return Reading("back_gain", view.back_gain, -3.0, "<")
        acts = [view.get("act_rms", m["name"]).values for m in view.fact("modules", ())]
        acts = [a for a in acts if a.size]
        if len(acts) < 3 or not acts[0][0] > 0:
            return None
        fall = math.log10(max(float(min(a[0] for a in acts)), 1e-38) / float(acts[0][0]))
        return Reading("act_gain", fall, -2.0, "<") if fall < -2 else None

    @staticmethod
    def _too_large(view: View) -> list[str]:
        """Matrices whose gain is over three times what keeps the scale (He: 2 / fan_in), and sure biases."""
        found = []
        for p in view.fact("params") or []:
            if len(p["shape"]) == 1 and p["leaf"] == "bias" and p["rms"] > SURE:
                found.append(p["name"])
            if len(p["shape"]) < 2 or not p["leaf"].startswith("weight"):
                continue
            table = p["kind"].startswith("Embedding")
            tied_head = p["kind"] == "Embedding" and p["rms"] * math.sqrt(math.prod(p["shape"][1:])) > 10
            if p["rms"] > (1.5 if table else 2.0) * _normal(p) or tied_head:
                found.append(p["name"])
        return found

    @staticmethod
    def _data_explain(view: View) -> bool:
        return view.number("x_rms", 1.0) > 5 and not view.fact("tokens")

    def _finding(self, meaning: str, reading: Reading, layers: tuple[str, ...], confidence: float, view: View,
                 grade: str) -> Finding:  # fmt: skip
        return Finding(
            self.ailment, "critical", confidence, grade, meaning, (reading,), span=(0, 0), layers=layers,
            fix="use He (ReLU) or Xavier (tanh) initialisation, or weights and biases as torch draws them; "
            "0.02 for embeddings that are tied to the output",
            source=self.source, measured=view.measured,
        )  # fmt: skip


def _zero_products(params: list[dict[str, Any]]) -> list[str]:
    """Return the matrices that are zeros and stay so though gradients arrive, where all others that learn move.

    One alone may multiply what is off, and where others stand as well something else holds them all.
    """
    still = [
        p for p in params
        if len(p["shape"]) >= 2 and p["learns"] and p["optimized"] and p.get("received") and p.get("moved") is False
    ]  # fmt: skip
    return [p["name"] for p in still] if len(still) > 1 and all(p["rms"] == 0.0 for p in still) else []


def _normal(param: dict[str, Any]) -> float:
    """Return the deviation that keeps the scale of a signal: He's, and 1 for a table of vectors or of factors."""
    if param["kind"].endswith(("Embedding", "EmbeddingBag", "Scale")):
        return 1.0
    return math.sqrt(2 / math.prod(param["shape"][1:]))
