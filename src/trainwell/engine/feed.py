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
        batch_size: rows of a batch; the last one of an epoch may be smaller. A single row that would be left over
            goes with the batch before it: a batch norm cannot learn from one row.
        rows: which of the rows the feed gives, (N',) int64 on the same device; all by default.
        sorters: the techniques of the site `data`, which change the order of an epoch.
    """

    def __init__(
        self,
        x: tuple[Tensor, ...],
        y: Tensor,
        batch_size: int,
        streams: Streams,
        rows: Tensor | None = None,
        sorters: Sequence[Any] = (),
    ) -> None:
        self.x, self.y, self.batch_size, self.streams, self.rows = x, y, batch_size, streams, rows
        self.num_rows, self.sorters = y.shape[0] if rows is None else len(rows), tuple(sorters)
        self._last = 1 if self.num_rows % batch_size == 1 and self.num_rows > batch_size > 1 else 0
        self.steps_per_epoch = -(-(self.num_rows - self._last) // batch_size)
        row_bytes = sum(t[0].numel() * t.element_size() for t in (*x, y))
        per_block = max(1, BLOCK_BYTES // max(1, row_bytes * batch_size))
        self._block_rows = batch_size * min(per_block, 64)

    @property
    def last_batch_size(self) -> int:
        """Rows of the last batch of an epoch."""
        return self.num_rows - (self.steps_per_epoch - 1) * self.batch_size

    def order(self, epoch: int) -> Tensor:
        """Return the rows of the epoch in their order."""
        order = self.streams.order(self.num_rows, epoch).to(self.y.device)
        order = order if self.rows is None else self.rows.index_select(0, order)
        for m in self.sorters:
            generator = torch.Generator().manual_seed(derive(self.streams.seed, m.name, epoch))
            order = m.data(order, self.x, self.batch_size, generator)
        return order

    def blocks(self, epoch: int, first_step: int) -> Iterator[list[XY]]:
        order = self.order(epoch)
        # a resume in the middle of a block gathers all of it: where a batch begins in memory changes the last bits
        whole, skipped = divmod(first_step * self.batch_size, self._block_rows)
        end = self.num_rows - self._last
        for start in range(whole * self._block_rows, end, self._block_rows):
            stop = start + self._block_rows
            rows = order[start : stop if stop < end else self.num_rows]
            sizes = self._sizes(len(rows))
            parts = [t.index_select(0, rows).split(sizes) for t in (*self.x, self.y)]
            block = list(zip(zip(*parts[:-1], strict=True), parts[-1], strict=True))
            yield block[skipped // self.batch_size :]
            skipped = 0

    def _sizes(self, rows: int) -> list[int]:
        """Return the sizes of the batches of a block."""
        sizes = [self.batch_size] * (rows // self.batch_size)
        rest = rows % self.batch_size
        if rest == 1 and self._last and sizes:
            sizes[-1] += 1
        elif rest:
            sizes.append(rest)
        return sizes

    def sample(self, rows: int) -> tuple[Tensor, ...]:
        order = self.order(0)[:rows]
        return tuple(t.index_select(0, order) for t in self.x)


class LoaderFeed:
    """A user's loader of (*x, y) batches.

    What the loader draws from torch's global stream (its order, augmentation in this process) comes from a stream of
    its own that begins anew from (seed, epoch), so that an epoch can be had again; a resume in the middle of one
    passes over the batches that were seen. A generator of the loader's own begins anew likewise. What a data set
    draws from `random` or numpy's global stream is not reproduced.
    """

    def __init__(self, loader: Iterable[Any], device: torch.device, streams: Streams) -> None:
        self.loader, self.device, self.streams = loader, device, streams
        self.steps_per_epoch = len(loader)  # type: ignore[arg-type]
        dataset = getattr(loader, "dataset", None)
        self.num_rows = len(dataset) if dataset is not None and hasattr(dataset, "__len__") else 0

    def blocks(self, epoch: int, first_step: int) -> Iterator[list[XY]]:
        seed = derive(self.streams.seed, "order", epoch)
        for generator in _generators(self.loader):
            generator.manual_seed(seed)
        for i, batch in enumerate(_under_own_stream(self.loader, seed)):
            if i >= first_step:
                yield [split_batch(batch, self.device)]

    def sample(self, rows: int) -> tuple[Tensor, ...]:
        x, _ = next(self.blocks(0, 0))[0]
        return tuple(t[:rows] for t in x)


def _generators(loader: Any) -> list[torch.Generator]:
    """Return the generators that a loader and its samplers hold."""
    batches = getattr(loader, "batch_sampler", None)
    holders = (loader, getattr(loader, "sampler", None), batches, getattr(batches, "sampler", None))
    held = [getattr(holder, "generator", None) for holder in holders]
    return [g for g in held if isinstance(g, torch.Generator)]


def _under_own_stream(loader: Iterable[Any], seed: int) -> Iterator[Any]:
    """Iterate with torch's global stream set to one of this iteration, and put the outer one back between items."""
    outer = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would seed the streams of a GPU too
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
