"""Whether the answers of a sequence stand in what the network is shown: targets not shifted, or later tokens seen."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from trainwell.signals.family import Family, Record
from trainwell.signals.scene import Batch, Scene
from trainwell.values.signal import Signal

ROWS, PLACES = 16, 4
"""Rows that are looked at, and places of a sequence from which its order tells."""

EQUAL = 0.99
"""Share of the targets that are the tokens at one distance, from which they are taken from them."""


class Answers(Family):
    """Measure how far behind its token a target stands, and whether outputs change with the tokens after them."""

    signals: ClassVar = (
        Signal("answers", "facts of tokens and targets", cadence="once", cost="three forwards of 16 rows"),
    )

    def close(self, scene: Scene, record: Record) -> None:
        batch = next((b for b in scene.train if b.calls), None)
        if batch is None or scene.replica is None or not batch.forward.repeatable:
            return
        x, y = batch.x, batch.y
        if x.dim() != 2 or x.is_floating_point() or y.is_floating_point() or y.numel() != x.numel():
            return
        if x.shape[1] < PLACES or len(x) < 2:
            return
        offset = target_offset(x, y.reshape(x.shape))
        if offset is None:
            return
        scene.facts["target_offset"] = offset
        scene.replica.take(scene.model)
        seen = later_tokens_seen(scene.replica, batch)
        if seen is not None:
            scene.facts["later_tokens_seen"] = seen


def target_offset(x: Tensor, y: Tensor) -> int | None:
    """Return 0 where the targets are the tokens at their own place, 1 where they are the next ones, else nothing.

    Shapes: x, y: (N, T).
    """
    told = y >= 0
    same = ((x == y) & told).sum() / told.sum().clamp(min=1)
    after = told[:, :-1]
    following = ((x[:, 1:] == y[:, :-1]) & after).sum() / after.sum().clamp(min=1)
    if bool(same >= EQUAL) == bool(following >= EQUAL):
        return None  # neither, or tokens that repeat themselves
    return int(following >= EQUAL)


def later_tokens_seen(replica: Any, batch: Batch) -> float | None:
    """Return how much outputs of the first half change, in their size, when the second half is another row's."""
    forward, x = batch.forward, batch.x
    rows, half = min(len(x), ROWS), x.shape[1] // 2
    other = x[:rows].clone()
    other[:, half:] = other[:, half:].roll(1, 0)
    args, kwargs = forward.inputs()

    def answers(tokens: Tensor) -> Tensor | None:
        def given(value: Any) -> Any:
            if not isinstance(value, Tensor) or not value.dim() or len(value) != len(x):
                return value
            return tokens if value.shape == x.shape and torch.equal(value, x) else value[:rows]

        out = replica.model(*map(given, args), **{k: given(v) for k, v in kwargs.items()})
        return _by_place(out, tokens) if isinstance(out, Tensor) else None

    if forward.route is not None:
        return None
    with torch.no_grad(), replica.mode(training=False):
        first, changed, again = (answers(t) for t in (x[:rows], other, x[:rows]))
    if first is None or changed is None or again is None or not torch.allclose(first, again, 1e-4, 1e-6):
        return None
    size = first.float().pow(2).mean().sqrt().clamp(min=1e-12)
    return float((changed - first)[:, :half].float().abs().mean() / size)


def _by_place(out: Tensor, tokens: Tensor) -> Tensor | None:
    """Return outputs as (N, T, K)."""
    rows, length = tokens.shape
    if out.dim() == 2 and len(out) == rows * length:
        return out.reshape(rows, length, -1)
    if out.dim() != 3 or len(out) != rows or length not in out.shape[1:]:
        return None
    return out if out.shape[1] == length else out.transpose(1, 2)
