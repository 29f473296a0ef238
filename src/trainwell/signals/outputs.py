"""What the loss is given: the form of the outputs, and whether samples of a batch depend on each other."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from trainwell.signals.family import Family, Record
from trainwell.signals.scene import Look
from trainwell.values.signal import Signal

MATES = 16
"""Rows of a batch of which half go."""


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
                "loss_weighted": _differ(call.kwargs.get("weight")) or _weighs(call.kwargs.get("pos_weight")),
            }  # fmt: skip
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

        with torch.no_grad(), replica.mode(training=False):
            whole, part = answer(few)[:half], answer(half)
        if part.shape == whole.shape:
            scale = whole.float().pow(2).mean().sqrt().clamp(min=1e-12)
            record("mate_effect", (part - whole).float().abs().mean() / scale)


def _differ(weights: Any) -> bool:
    """Whether weights favour something: weights that are all alike are none."""
    if isinstance(weights, Tensor) and weights.numel() > 1:
        return bool((weights != weights.flatten()[0]).any())
    return weights is not None


def _weighs(weights: Any) -> bool:
    """Whether a yes counts for more or less than a no."""
    return bool((weights != 1).any()) if isinstance(weights, Tensor) else weights is not None
