"""What the loss is given: the form of the outputs, and whether samples of a batch depend on each other."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainwell.signals.family import Family, Record
from trainwell.signals.scene import Look
from trainwell.values.signal import Signal

MATES = 16
"""Rows of a batch of which half go."""

DROPPING: dict[Any, tuple[str, float, str, bool]] = {
    **dict.fromkeys((F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout),
                    ("p", 0.5, "training", True)),
    torch.dropout: ("p", 0.5, "train", False),
}  # fmt: skip
"""Functions that drop units: the names and defaults of their rate and of whether they act, the arguments 1 and 2."""


class Outputs(Family):
    """Measure the tensors that the loss function was called with."""

    signals: ClassVar = (
        Signal("out_min", "output", cost="one pass over the outputs"),
        Signal("out_max", "output", cost="one pass over the outputs"),
        Signal("simplex", "share of rows that are distributions", cost="one pass over the outputs"),
        Signal("log_simplex", "share of rows that are log-distributions", cost="one pass over the outputs"),
        Signal(
            "mate_effect",
            "relative change of an output when its batch mates go",
            cost="two forwards of a few rows, twice",
        ),
        Signal("drops_in_eval", "1 when units are dropped in evaluation mode", cost="the same forwards"),
        Signal("made_in_forward", "1 when a layer is made in the forward", cost="the same forwards"),
        Signal(
            "scrambled", "1 when answers and classes were mixed up by a reshape", cost="comparing two shapes"
        ),
        Signal("loss_call", "facts of the loss call", cadence="once", cost="none"),
    )

    def __init__(self) -> None:
        self._looks = 0

    def look(self, look: Look, record: Record) -> None:
        call = next((c for f in look.window for c in f.calls), None)
        if call is None or not isinstance(call.target, Tensor):
            return
        out = call.input.detach().float()
        facts = look.scene.facts
        if "out_shape" not in facts:
            facts |= {
                "out_shape": list(out.shape), "target_shape": list(call.target.shape),
                "target_integer": not call.target.is_floating_point(),
                "reduction": str(call.kwargs.get("reduction", "mean")),
                "label_smoothing": float(call.kwargs.get("label_smoothing", 0.0) or 0.0),
                "ignore_index": call.ignore_index,
                "log_input": bool(call.kwargs.get("log_input", True)),
                "loss_weighted": _differ(call.kwargs.get("weight")) or _weighs(call.kwargs.get("pos_weight")),
            }  # fmt: skip
        if isinstance(look.window[-1].output, Tensor) and facts.get("loss_name") in (
            "cross_entropy",
            "nll_loss",
        ):
            record("scrambled", float(_scrambled(look.window[-1].output, look.window[-1].calls)))
        record("out_min", out.min())
        record("out_max", out.max())
        if out.dim() >= 2:
            axis = 1 if facts.get("loss_name") in ("cross_entropy", "nll_loss") else -1
            whole = (out >= 0).all(axis) & ((out.sum(axis) - 1).abs() < 1e-3)
            record("simplex", whole.float().mean())
            record("log_simplex", ((out.exp().sum(axis) - 1).abs() < 1e-3).float().mean())
        self._looks += 1
        if self._looks in (1, 6):
            self._mates(look, record)

    def _mates(self, look: Look, record: Record) -> None:
        forward, replica = look.window[-1], look.scene.replica
        few = min(forward.rows, MATES)
        half = few // 2
        if half < 1 or not isinstance(forward.output, Tensor) or forward.output.shape[0] != forward.rows:
            return

        def answer(count: int) -> Any:
            def cut(value: Any) -> Any:
                rows = isinstance(value, Tensor) and value.dim() and value.shape[0] == forward.rows
                return value[:count] if rows else value

            args, kwargs = forward.inputs()
            return replica.model(*map(cut, args), **{k: cut(v) for k, v in kwargs.items()})

        heard = _Heard({id(p) for p in replica.params})
        with torch.no_grad(), replica.mode(training=False):
            whole = answer(few)[:half]
            with heard:
                part = answer(half)
            # what differs from call to call by itself tells nothing of mates
            differs = heard.drops or not torch.allclose(part, answer(half), 1e-4, 1e-6, equal_nan=True)
        record("drops_in_eval", float(heard.drops))
        record("made_in_forward", float(heard.makes))
        if differs:
            return
        if part.shape == whole.shape:
            scale = whole.float().pow(2).mean().sqrt().clamp(min=1e-12)
            record("mate_effect", (part - whole).float().abs().mean() / scale)


def _scrambled(output: Tensor, calls: list[Any]) -> bool:
    """Whether the scores of the loss are the output in another shape, in which numbers of several classes stand as one.

    A loss over (N, K, T) or (M, K) needs the classes moved by a permutation; a reshape cuts along other lines.
    """
    scores = calls[0].input if calls else output
    old, new = ([n for n in t.shape if n > 1] for t in (output, scores))
    if old == new or output.numel() != scores.numel() or len(old) < 3 or not scores.is_contiguous():
        return False
    classes = scores.shape[1]
    kept = sorted(old) == sorted(new) if len(new) > 2 else classes == output.shape[1] != output.shape[-1]
    return kept and torch.equal(output.detach().reshape(-1), scores.detach().reshape(-1))


class _Heard(TorchFunctionMode):
    """Hears whether units are dropped, as functions do that were not told the mode, and whether layers are made.

    Args: own: the parameters that the network has.
    """

    def __init__(self, own: set[int]) -> None:
        super().__init__()
        self.own, self.drops, self.makes = own, False, False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in DROPPING:
            rate, usual, name, acts = DROPPING[func]
            p = args[1] if len(args) > 1 else kwargs.get(rate, usual)
            trains = args[2] if len(args) > 2 else kwargs.get(name, acts)
            self.drops = self.drops or bool(trains and p > 0)
        elif func is F.scaled_dot_product_attention:
            p = args[4] if len(args) > 4 else kwargs.get("dropout_p", 0.0)
            self.drops = self.drops or p > 0
        elif func.__name__.endswith("_") and not func.__name__.endswith(
            "__"
        ):  # in place, as first weights are drawn
            given = (*args[:1], *kwargs.values())
            self.makes = self.makes or any(
                isinstance(g, nn.Parameter) and id(g) not in self.own for g in given
            )
        return func(*args, **kwargs)


def _differ(weights: Any) -> bool:
    """Whether weights favour something: weights that are all alike are none."""
    if isinstance(weights, Tensor) and weights.numel() > 1:
        return bool((weights != weights.flatten()[0]).any())
    return weights is not None


def _weighs(weights: Any) -> bool:
    """Whether a yes counts for more or less than a no."""
    return bool((weights != 1).any()) if isinstance(weights, Tensor) else weights is not None
