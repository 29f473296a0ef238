"""Losses and metrics of the lanes of a stack, each on its own validation rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainwell.engine.feed import XY
from trainwell.engine.lanes.chain import Chain, ChainNetwork
from trainwell.engine.losses import Meter
from trainwell.engine.step import forward_of

if TYPE_CHECKING:
    from trainwell.engine.lanes.lane import Lane
    from trainwell.engine.lanes.stack import Stack

EVALUATION_BYTES = 4 << 20
"""Inputs of about this size are evaluated at once."""

CACHE_BYTES = 1 << 19
"""On a CPU so many lanes of a chain are evaluated at once that a layer's activations take about this: they stay near."""

MOST_ROWS = 512
"""Rows that are evaluated at once, at most, where lanes go in groups: the outputs of all lanes are kept for a while."""


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
    if isinstance(stack.setting.network, ChainNetwork):  # which sees to its precision itself
        if _goes_in_groups(stack):
            network = _in_groups(stack.setting.network, weights, buffers)
    else:
        network = forward_of(network, stack.lanes[0].plan)
    meter = Meter(stack.setting.task, stack.device, (len(lanes),))
    for x, y in _batches(stack, lanes, own_rows=own_rows):
        outputs = network(*x)
        meter.add(outputs, y, stack.setting.objective.mean(outputs, y))
    return meter


def _goes_in_groups(stack: Stack) -> bool:
    """Tell whether the lanes are evaluated a few at a time: those of a chain of features, on a CPU."""
    return (
        isinstance(stack.setting.network, ChainNetwork)
        and stack.device.type == "cpu"
        and stack.setting.train[0][0].ndim == 2
    )


def _in_groups(
    network: ChainNetwork, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor]
) -> Callable[..., Tensor]:
    """Return the forward pass of a few lanes after the other, each group with buffers of its own.

    Compiled layers go lane by lane themselves.
    """
    whole = network.bind(weights, buffers, {})
    if whole.is_compiled:
        return lambda *x: whole.forward(x, None, training=False).mT
    bound = list[tuple[slice, Chain]]()
    widest = max(t[0].numel() // t.shape[-1] for t in weights.values() if t.ndim > 1)

    def forward(*x: Tensor) -> Tensor:
        if not bound:  # the first batch is the largest
            lanes, rows = x[0].shape[:2]
            size = max(1, CACHE_BYTES // (4 * rows * widest))
            for some in (slice(start, start + size) for start in range(0, lanes, size)):
                first, second = ({n: t[some] for n, t in own.items()} for own in (weights, buffers))
                bound.append((some, network.bind(first, second, {})))
        outputs = [chain.forward(tuple(t[k] for t in x), None, training=False) for k, chain in bound]
        return (outputs[0] if len(outputs) == 1 else torch.cat(outputs)).mT

    return forward


def _batches(stack: Stack, lanes: Sequence[int], *, own_rows: bool) -> Iterator[XY]:
    """Yield validation batches, (K, B, ...)."""
    data = stack.setting.train if own_rows else stack.setting.val
    assert data is not None
    tensors = (*data[0], data[1])
    row_bytes = sum(t[:1].numel() * t.element_size() for t in tensors)
    members = int(getattr(stack.lanes[0].model, "num_members", 1))
    rows = max(64, EVALUATION_BYTES // max(1, row_bytes * len(lanes) * members))
    if _goes_in_groups(stack) and not own_rows:
        rows = max(64, min(MOST_ROWS, EVALUATION_BYTES // max(1, row_bytes * members)))
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
