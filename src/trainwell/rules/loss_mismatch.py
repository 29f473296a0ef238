from __future__ import annotations

import math

import numpy as np

from trainwell.rules.lr_too_low import SMALL
from trainwell.rules.rule import Rule
from trainwell.rules.view import MIXED, View
from trainwell.values.finding import Finding, Reading

STUCK = ("underfitting", "undertrained", "plateau", "lr_too_low", "dead_units", "saturated_units",
"vanishing_gradient",
         "exploding_gradient", "oscillation", "batch_too_small", "batch_too_large", "overfitting", "bad_init",
         "shuffled_labels", "lr_too_high", "weight_decay_misuse", "class_imbalance", "label_noise")  # fmt: skip
Fault = tuple[str, str, Reading, float]
BOUNDED = {"Sigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0), "ReLU": (0.0, math.inf), "Softmax": (0.0, 1.0),
           "ReLU6": (0.0, 6.0), "Hardtanh": (-1.0, 1.0), "Softplus": (0.0, math.inf),
           "ELU": (-1.0, math.inf)}  # fmt: skip
"""What the last layer can put out."""
PASSING = ("Flatten", "Dropout", "Identity", "Unflatten")

AWAY, FASTER = 10.0, 0.9
"""Loss at the end below zero in units of its size at the start, and late against mean fall: a likelihood or a
similarity that is driven up comes to rest, a loss without a lowest value only gets faster."""

PART = 0.9
"""Share of the rows whose targets sum to one, as all do where one answer of several is right."""

SEVERAL, ROUNDED = 4, 0.02
"""Rows of a batch from which their number is no weight of a loss by chance, and how near its inverse the weight is."""

FEW_LOOKS, AGAINST = 5, -0.2
"""Looks that are enough where all steps go up the loss, and cosine of a step and its descent; steps of Adam lie at 0.3 to
0.6 of their gradient, and what overshoots goes down on its own batch."""

ORDER, CHANCE = 0.6, 0.05
"""Correlation of gaps between targets and distances of their rows, and its chance were they only names, from which on
they are numbers: of ratings and counts it is 0.77 and more, of names 0.38 and less (clothes)."""

ALL_ALIKE = 0.99
"""Share of the rows whose targets are all equal; of two things that are measured few are."""

MASKED = 100
"""Targets of one class from which that is no chance, where every sample has several."""

SLACK = 1e-3
"""How far rounding and mixing may take a probability out of [0, 1]."""


class LossMismatch(Rule):
    """Find outputs and targets that do not fit the loss."""

    ailment = "loss_mismatch"
    needs = (
        "out_min",
        "out_max",
        "simplex",
        "log_simplex",
        "mate_effect",
        "loss_scale",
        "scrambled",
        "descent",
        "loss_call",
        "layers",
        "data",
        "answers",
    )
    # a softmax over the wrong axis lets outputs of one place depend on those that come after it
    explains = (*STUCK, "leakage")
    source = "Schoop et al. 2021, CHI (UMLAUT); Ben Braiek and Khomh 2023, arXiv:2204.00694 (TheDeepChecker)."

    def diagnose(self, view: View) -> Finding | None:
        for test in (
            self._coding,
            self._repeats,
            self._left_out,
            self._probabilities,
            self._range,
            self._shape,
            self._batch_mates,
            self._direction,
            self._bottomless,
            self._reduction,
        ):
            fault = test(view)
            if fault is not None:
                what, fix, reading, confidence = fault
                return Finding(
                    self.ailment, "critical", confidence, "D",
                    what + " The loss then cannot reach the answer, however long it trains.",
                    (reading,), fix=fix, source=self.source, measured=view.measured,
                )  # fmt: skip
        return None

    @staticmethod
    def _coding(view: View) -> Fault | None:
        """Outputs that are already distributions, or are none where they should be."""
        name = view.fact("loss_name")
        simplex, logs = view.get("simplex").values, view.get("log_simplex").values
        if name == "cross_entropy" and view.num_classes == 1:
            return ("Cross-entropy over a single output is always zero.",
                    "use one output per class, or BCEWithLogitsLoss for one output",
                    Reading("outputs", 1, 2, "<"), 0.97)  # fmt: skip
        if name == "cross_entropy" and simplex.size and np.nanmin(simplex) > 0.99:
            return ("The outputs are already probabilities, and cross-entropy applies softmax again.",
                    "drop the softmax: nn.CrossEntropyLoss takes raw scores",
                    Reading("simplex", 1.0, 0.99), 0.97)  # fmt: skip
        several = view.number("y_width", 1) > 1 and view.number("targets_sum_to_one", 1.0) < PART
        if name == "binary_cross_entropy" and several and simplex.size and np.nanmin(simplex) > 0.99:
            return ("The outputs sum to one, so that a row can have one yes only, and its targets have none or several.",
                    "use a sigmoid for each output: BCEWithLogitsLoss on raw scores",
                    Reading("targets_sum_to_one", view.number("targets_sum_to_one"), PART, "<"), 0.95)  # fmt: skip
        if name == "kl_div" and simplex.size and np.nanmin(simplex) > 0.99:
            return ("kl_div expects log-probabilities, and the outputs are probabilities.",
                    "give it log_softmax(outputs) in place of softmax",
                    Reading("simplex", 1.0, 0.99), 0.97)  # fmt: skip
        if name == "nll_loss" and logs.size and np.nanmax(logs) < 0.5:
            return ("NLLLoss expects log-probabilities, and the outputs are none.",
                    "end with LogSoftmax(dim=1), or use CrossEntropyLoss on raw scores",
                    Reading("log_simplex", float(np.nanmax(logs)), 0.5, "<"), 0.95)  # fmt: skip
        return None

    @staticmethod
    def _repeats(view: View) -> Fault | None:
        """Targets that the network is given already, and one target that all outputs are held against."""
        # what sees all tokens may have to pass them through a code; what sees one after the other has nothing to learn
        seen = view.number("later_tokens_seen", 1.0)
        if view.number("target_offset", 1.0) == 0 and seen <= MIXED:
            return ("The targets are the tokens that the network is given at the same places: it learns to repeat them.",
                    "shift the targets by one: inputs tokens[:, :-1], targets tokens[:, 1:]",
                    Reading("target_offset", 0, 0, "="), 0.95)  # fmt: skip
        alike = view.number("targets_alike", 0.0)
        if view.kind == "regression" and alike > ALL_ALIKE and view.number("y_sd", 0.0) > 0:
            return ("All outputs of a row are held against one and the same number.",
                    "compare that output alone which the number is for: out.gather(1, action), or out[:, k]",
                    Reading("targets_alike", alike, ALL_ALIKE), 0.93)  # fmt: skip
        return None

    @staticmethod
    def _left_out(view: View) -> Fault | None:
        """Rows whose class the loss passes over, and outputs that have no logarithm where it takes one."""
        ignored, name = str(int(view.number("ignore_index", -100))), view.fact("loss_name")
        rows = view.class_counts.get(ignored, 0) / max(1, sum(view.class_counts.values()))
        one_each = len(view.fact("target_shape") or ()) == 1 and view.number("targets_per_sample", 1) == 1
        if name in ("cross_entropy", "nll_loss") and rows > 0 and one_each:
            return (f"The loss leaves out class {ignored} (ignore_index): its rows teach nothing.",
                    "drop ignore_index; it is for padding and for rows without a label",
                    Reading("ignored_share", rows, 0.0), 0.93)  # fmt: skip
        counts, width = view.class_counts, (view.fact("out_shape") or [0, 0])[-1]
        if (
            view.kind == "classification"
            and len(counts) == 1
            and sum(counts.values()) >= MASKED
            and not one_each
        ):
            return (f"Of the {width} classes that the network tells apart the loss sees one only: "
                    "targets of the others are left out of it.", "turn the mask round: keep what is not padding",
                    Reading("classes in the loss", 1, 1, "<="), 0.93)  # fmt: skip
        low = view.get("out_min").values
        if name == "poisson_nll_loss" and view.fact("log_input") is False and low.size and np.nanmin(low) < 0:
            return ("The loss takes the outputs for rates and their logarithm, and some lie below zero.",
                    "use PoissonNLLLoss(log_input=True), or end with Softplus",
                    Reading("out_min", float(np.nanmin(low)), 0.0, "<"), 0.95)  # fmt: skip
        return None

    @staticmethod
    def _probabilities(view: View) -> Fault | None:
        """Targets of a cross-entropy that are no probabilities: below zero the loss has no lowest value."""
        meant = view.kind == "binary" or (
            view.kind == "classification" and not view.fact("target_integer", True)
        )
        if not meant or view.fact("loss_weighted") or view.fact("reduction") == "none":
            return None  # rows may be masked
        low, high = view.number("y_min", 0.0), view.number("y_max", 1.0)
        if view.fact("loss_name") == "soft_margin_loss":
            return None if low < 0 else (
                "SoftMarginLoss takes 1 for yes and -1 for no, and of a 0 it asks for nothing: no row is taught as no.",
                "give 2 * y - 1 as its targets, or use BCEWithLogitsLoss",
                Reading("y_min", low, 0.0, ">="), 0.95)  # fmt: skip
        if low >= -SLACK and high <= 1 + SLACK:
            return None
        outside = Reading("y_min", low, 0.0, "<") if low < -SLACK else Reading("y_max", high, 1.0)
        return ("Cross-entropy takes its targets for probabilities, and these lie outside 0 to 1.",
                "give targets between 0 and 1, e.g. (y + 1) / 2 for -1 and 1", outside, 0.95)  # fmt: skip

    @staticmethod
    def _range(view: View) -> Fault | None:
        """Outputs that cannot reach their targets, or scores that are squeezed before they are squeezed again."""
        low, high = view.get("out_min").values, view.get("out_max").values
        name, last = str(view.fact("loss_name")), _last_kind(view)
        if min(low.size, high.size) < 3:
            return None
        bottom, top = float(np.nanmin(low)), float(np.nanmax(high))
        # outputs that are all alike, as of a network that is dead, show no bounds
        squeezed = last in BOUNDED or (bottom >= 0 and top <= 1 and top > bottom and low.size >= 8)
        if name == "binary_cross_entropy_with_logits" and squeezed and bottom >= -1 and last != "ELU":
            return ("The outputs are squeezed already, and the loss applies a sigmoid again.",
                    "drop the last activation, or use BCELoss",
                    Reading("out_min", bottom, 0.0, ">="), 0.95)  # fmt: skip
        if name in ("cross_entropy", "nll_loss") and last in (
            "Sigmoid",
            "Tanh",
            "ReLU",
            "Softplus",
            "ReLU6",
            "Hardtanh",
        ):
            return (f"The scores pass through {last} before the softmax, so that they cannot move freely.",
                    "drop the last activation", Reading("out_min", bottom, BOUNDED[last][0], ">="), 0.85)  # fmt: skip
        alike = np.nanmax(high[-low.size :] - low[-high.size :]) <= 1e-6
        if name == "binary_cross_entropy" and alike and bottom > 1 - 1e-6:
            return ("All outputs are equal: a softmax over one output is always 1.",
                    "use a sigmoid for one output", Reading("out_max - out_min", 0.0, 1e-6, "<"), 0.97)  # fmt: skip
        if view.kind == "regression":
            floor, ceiling = BOUNDED.get(last, (-math.inf, math.inf))
            y_low, y_high = view.number("y_min", 0.0), view.number("y_max", 0.0)
            slack = 0.02 * (y_high - y_low)
            if last in BOUNDED and (y_low < floor - slack or y_high > ceiling + slack):
                far = y_low if y_low < floor - slack else y_high
                return (f"Targets lie outside what the last layer ({last}) can put out.",
                        "drop the last activation, or scale the targets into its range",
                        Reading("target", far, floor if far == y_low else ceiling,
                        "<" if far == y_low else ">"), 0.93)  # fmt: skip
        return None

    @staticmethod
    def _shape(view: View) -> Fault | None:
        """Shapes that broadcast, and classes that are treated as numbers."""
        out, target = view.fact("out_shape"), view.fact("target_shape")
        if not out or not target:
            return None
        if view.kind in ("regression", "binary") and out != target:
            return (f"Outputs have the shape {out} and targets {target}; every output is compared with every target.",
                    "give both the same shape: target.reshape(out.shape)",
                    Reading("dimensions", len(out), len(target), "!="), 0.97)  # fmt: skip
        classes = view.fact("y_integral") and 3 <= view.number("y_distinct", 0) <= 20
        # counts and ratings are numbers: where they stand in order, or where the loss is that of counts
        in_order = view.number("ordinal_r", 0.0) > ORDER and view.number("ordinal_p", 1.0) < CHANCE
        classes = classes and not in_order
        classes = classes and view.fact("loss_name") != "poisson_nll_loss"
        if (
            view.kind == "regression"
            and classes
            and (out[-1] == 1 or len(out) == 1)
            and not view.is_solved
            and view.number("y_min", -1) >= 0
        ):
            confidence = 0.9 if view.fact("task") == "classification" or view.fact("target_integer") else 0.8
            return ("The targets are numbers of classes, and the loss takes them for quantities.",
                    "use one output per class and CrossEntropyLoss",
                    Reading("y_distinct", view.number("y_distinct"), 20, "<="), confidence)  # fmt: skip
        squares = view.fact("loss_name") == "mse_loss" and _last_kind(view) in ("Sigmoid", "Softmax")
        binary = view.fact("y_integral") and view.number("y_min", -1) == 0 and view.number("y_max", 2) == 1
        if squares and binary and not view.is_solved:
            return ("The squared error of a probability hardly changes where the network is surely wrong.",
                    "use cross-entropy on raw scores", Reading("y_distinct", 2, 2, "="), 0.75)  # fmt: skip
        return None

    @staticmethod
    def _batch_mates(view: View) -> Fault | None:
        if view.share("scrambled") > 0.5:
            return ("The scores were brought into the shape of the loss by a reshape, which mixes up places and classes.",
                    "move the axis of the classes: output.permute or transpose, then reshape",
                    Reading("scrambled", view.share("scrambled"), 0.5), 0.95)  # fmt: skip
        if view.mate_effect > MIXED and not view.norms_of_the_batch:
            return ("The output of a sample depends on the other samples of its batch, even in evaluation mode.",
                    "take softmax and means over the class axis, dim=1 (or -1), not over dim=0",
                    Reading("mate_effect", view.mate_effect, MIXED), 0.93)  # fmt: skip
        return None

    @staticmethod
    def _direction(view: View) -> Fault | None:
        """Steps that go up the loss instead of down."""
        descent = view.get("descent").values
        descent = descent[np.isfinite(descent)]
        losses = view.get("train_loss").values
        n = max(4, losses.size // 10)
        if losses.size < 20 or losses[-n:].mean() <= losses[:n].mean():
            return None
        fix, scale = "check the sign of the loss that is minimised", _scale(view)
        if scale < 0:
            return ("The loop minimises the loss times a number below zero, so that every step makes it larger.",
                    fix, Reading("loss_scale", scale, 0.0, "<"), 0.95)  # fmt: skip
        # a run that blows up is soon over, but steps along the gradient itself are no chance
        along = descent.size >= FEW_LOOKS and bool((descent < AGAINST).all())
        up = float((descent < -0.02).mean()) if descent.size >= 8 or along else 0.0
        if up > 0.8 and not view.share("stale_grad") > 0.5:
            return "Every step goes up the loss instead of down.", fix, Reading("steps uphill", up, 0.8), 0.9
        return None

    @staticmethod
    def _bottomless(view: View) -> Fault | None:
        """A loss that is negative from its first step and falls faster and faster: nothing holds it."""
        losses = view.get("train_loss").values
        losses = losses[np.isfinite(losses)]
        n = max(4, losses.size // 10)
        if losses.size < 20 or view.fact("reduction") == "none" or not (losses[:n] < 0).all():
            return None
        fall = float(losses[-n:].mean() / losses[:n].mean())
        if not (fall > AWAY and view.late_rate > FASTER and view.falling_z > 2):
            return None
        return ("The loss is negative from the start and falls faster and faster: it has no lowest value.",
                "check the sign of the loss: a likelihood is minimised with a minus before it",
                Reading("loss at the end / at the start", fall, AWAY), 0.9)  # fmt: skip

    @staticmethod
    def _reduction(view: View) -> Fault | None:
        broken = view.has_nonfinite or (view.q_median < 0.72) or (view.way < 0.5)
        if view.fact("reduction") == "sum" and broken and not view.is_solved:
            return ("The loss is the sum over the batch, so that its gradient grows with the batch size.",
                    "use reduction='mean', or divide the learning rate by the batch size",
                    Reading("batch_size", view.batch_size, 1), 0.8)  # fmt: skip
        scale, rows = _scale(view), view.number("batch_size")
        twice = view.fact("reduction") == "mean" and rows >= SEVERAL and abs(scale * rows - 1) < ROUNDED
        # optimizers that know no scale do not mind
        if twice and view.update_ratio < SMALL and not view.is_solved:
            return ("The loss is a mean over the batch already, and is divided by the rows of the batch once more.",
                    "drop the division: the mean is taken by the loss",
                    Reading("loss_scale", scale, 1.0, "<"), 0.9)  # fmt: skip
        return None


def _scale(view: View) -> float:
    """Return what the loss is multiplied by before it is minimised; NaN where that is not known."""
    scales = view.get("loss_scale").values
    return float(np.nanmedian(scales)) if np.isfinite(scales).any() else math.nan


def _last_kind(view: View) -> str:
    """The kind of the last module that computed something."""
    kinds = [m["kind"] for m in view.fact("modules", ()) if m["kind"] not in PASSING]
    return str(kinds[-1]) if kinds else ""
