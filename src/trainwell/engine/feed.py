"""Where the batches come from: tensors in memory, indexed in blocks, or the user's own loaders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from trainwell.engine.streams import Streams, derive

XY = tuple[tuple[Tensor, ...], Tensor]
BLOCK_BYTES = 4 << 20


class Feed(Protocol):
    """Batches of one epoch, as a pure function of (seed, epoch)."""

    num_rows: int
    steps_per_epoch: int

    def blocks(self, epoch: int, first_step: int) -> Iterator[list[XY]]:
        """Yield the batches of the epoch from `first_step` on, in blocks."""
        ...

    def sample(self, rows: int) -> tuple[Tensor, ...]:
        """Return inputs of the first rows of epoch 0, for data-driven initialization."""
        ...


class MemoryFeed:
    """Rows held in memory; a block of batches is gathered at once and split into views.

    Args:
        x, y: tensors with N rows on the device of the training.
        batch_size: rows of a batch; the last one of an epoch may be smaller.
    """

    def __init__(self, x: tuple[Tensor, ...], y: Tensor, batch_size: int, streams: Streams) -> None:
        self.x, self.y, self.batch_size, self.streams = x, y, batch_size, streams
        self.num_rows = y.shape[0]
        self.steps_per_epoch = -(-self.num_rows // batch_size)
        row_bytes = sum(t[0].numel() * t.element_size() for t in (*x, y))
        per_block = max(1, BLOCK_BYTES // max(1, row_bytes * batch_size))
        self._block_rows = batch_size * min(per_block, 64)

    def blocks(self, epoch: int, first_step: int) -> Iterator[list[XY]]:
        order = self.streams.order(self.num_rows, epoch).to(self.y.device)
        for start in range(first_step * self.batch_size, self.num_rows, self._block_rows):
            rows = order[start : start + self._block_rows]
            parts = [t.index_select(0, rows).split(self.batch_size) for t in (*self.x, self.y)]
            yield list(zip(zip(*parts[:-1], strict=True), parts[-1], strict=True))

    def sample(self, rows: int) -> tuple[Tensor, ...]:
        order = self.streams.order(self.num_rows, 0).to(self.y.device)[:rows]
        return tuple(t.index_select(0, order) for t in self.x)


class LoaderFeed:
    """A user's loader of (*x, y) batches.

    What the loader draws from torch's global stream (its order, augmentation in this process) comes from a stream of
    its own that begins anew from (seed, epoch), so that an epoch can be had again; a resume in the middle of one
    passes over the batches that were seen.
    """

    def __init__(self, loader: Iterable[Any], device: torch.device, streams: Streams) -> None:
        self.loader, self.device, self.streams = loader, device, streams
        self.steps_per_epoch = len(loader)  # type: ignore[arg-type]
        dataset = getattr(loader, "dataset", None)
        self.num_rows = len(dataset) if dataset is not None and hasattr(dataset, "__len__") else 0

    def blocks(self, epoch: int, first_step: int) -> Iterator[list[XY]]:
        for i, batch in enumerate(_under_own_stream(self.loader, derive(self.streams.seed, "order", epoch))):
            if i >= first_step:
                yield [split_batch(batch, self.device)]

    def sample(self, rows: int) -> tuple[Tensor, ...]:
        x, _ = next(self.blocks(0, 0))[0]
        return tuple(t[:rows] for t in x)


def _under_own_stream(loader: Iterable[Any], seed: int) -> Iterator[Any]:
    """Iterate with torch's global stream set to one of this iteration, and put the outer one back between items."""
    outer = torch.get_rng_state()
    torch.manual_seed(seed)
    items = iter(loader)
    while True:
        item = next(items, None)
        own = torch.get_rng_state()
        torch.set_rng_state(outer)
        if item is None:
            return
        yield item
        outer = torch.get_rng_state()
        torch.set_rng_state(own)


def split_batch(batch: Any, device: torch.device) -> XY:
    """Split what a loader yields into inputs and target: (x, y), (x1, x2, y) or ((x1, x2), y)."""
    if not isinstance(batch, Sequence) or isinstance(batch, str | bytes) or len(batch) < 2:
        raise TypeError(f"a loader must yield (x, y), got {type(batch).__name__}")
    *x, y = batch
    if len(x) == 1 and isinstance(x[0], list | tuple):
        x = list(x[0])
    return tuple(t.to(device, non_blocking=True) for t in x), y.to(device, non_blocking=True)


def evaluation_batches(x: tuple[Tensor, ...], y: Tensor, rows: int) -> Iterator[XY]:
    """Yield views of `rows` rows in order."""
    for *part, target in zip(*(t.split(rows) for t in (*x, y)), strict=True):
        yield tuple(part), target


def from_numpy(x: Sequence[Any], y: Any) -> XY:
    """Return arrays as tensors that share their memory."""
    return tuple(torch.from_numpy(part) for part in x), torch.from_numpy(y)
