"""Losses and metrics of the lanes of a stack, each on its own validation rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainwell.engine.feed import XY
from trainwell.engine.lanes.chain import ChainNetwork
from trainwell.engine.losses import Meter
from trainwell.engine.step import forward_of

if TYPE_CHECKING:
    from trainwell.engine.lanes.lane import Lane
    from trainwell.engine.lanes.stack import Stack

EVALUATION_BYTES = 4 << 20
"""Inputs of about this size are evaluated at once."""


@torch.no_grad()
def evaluate(stack: Stack, lanes: Sequence[int]) -> list[tuple[float | None, float | None]]:
    """Return loss and primary metric of these lanes, each on its own validation rows."""
    found: dict[int, tuple[float | None, float | None]] = dict.fromkeys(lanes, (None, None))
    sizes: dict[int, list[int]] = {}
    for k in lanes:
        rows = stack.lanes[k].spec.val_rows
        if rows is not None or stack.setting.val is not None:
            sizes.setdefault(-1 if rows is None else len(rows), []).append(k)
    for size, group in sizes.items():
        meter = _evaluate_alike(stack, group, own_rows=size >= 0)
        found.update(zip(group, meter.results(), strict=True))
    return [found[k] for k in lanes]


def _evaluate_alike(stack: Stack, lanes: Sequence[int], *, own_rows: bool) -> Meter:
    """Evaluate lanes whose validation parts are one, or as large as each other."""
    index = None if len(lanes) == len(stack.lanes) else torch.tensor(lanes, device=stack.device)
    named = {**stack.params.named(), **stack.fixed}
    weights = {n: t if index is None else t.index_select(0, index) for n, t in named.items()}
    buffers = {n: t if index is None else t.index_select(0, index) for n, t in stack.buffers.items()}
    network: Callable[..., Tensor] = lambda *x: stack.setting.network(weights, buffers, x, training=False)  # noqa: E731
    if not isinstance(stack.setting.network, ChainNetwork):  # which sees to its precision itself
        network = forward_of(network, stack.lanes[0].plan)
    meter = Meter(stack.setting.task, stack.device, (len(lanes),))
    for x, y in _batches(stack, lanes, own_rows=own_rows):
        outputs = network(*x)
        meter.add(outputs, y, stack.setting.objective.mean(outputs, y))
    return meter


def _batches(stack: Stack, lanes: Sequence[int], *, own_rows: bool) -> Iterator[XY]:
    """Yield validation batches, (K, B, ...)."""
    data = stack.setting.train if own_rows else stack.setting.val
    assert data is not None
    tensors = (*data[0], data[1])
    row_bytes = sum(t[:1].numel() * t.element_size() for t in tensors)
    members = int(getattr(stack.lanes[0].model, "num_members", 1))
    rows = max(64, EVALUATION_BYTES // max(1, row_bytes * len(lanes) * members))
    if not own_rows:
        for parts in zip(*(t.split(rows) for t in tensors), strict=True):
            *x, y = (p.expand(len(lanes), *p.shape) for p in parts)
            yield tuple(x), y
        return
    chosen = torch.stack([_val_rows(stack.lanes[k]) for k in lanes]).to(stack.device)
    for index in chosen.split(rows, 1):
        *x, y = (t.index_select(0, index.reshape(-1)).view(*index.shape, *t.shape[1:]) for t in tensors)
        yield tuple(x), y


def _val_rows(lane: Lane) -> Tensor:
    rows = lane.spec.val_rows
    assert rows is not None
    return rows
