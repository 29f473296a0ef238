"""What probes stand on: a copy of the model, a few batches, and streams that are given back."""

from __future__ import annotations

import contextlib
import copy
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainwell.values.errors import UsageError
from trainwell.watch.replica import Replica, same_streams
from trainwell.watch.told import streams_of

Loss = Callable[[Any, Tensor], Tensor]
Rows = tuple[Tensor, ...]
"""One batch: the arguments of the model, then the target."""
Data = tuple[Tensor, Tensor] | Iterable[Any]


class Bench:
    """A copy of the model, its loss and its streams."""

    def __init__(self, who: str, model: nn.Module, loss: Loss, seed: int) -> None:
        self.who, self.source, self.seed = who, model, seed
        if not any(p.requires_grad for p in model.parameters()):
            raise UsageError(
                f"{who} needs a model that learns, but none of its parameters requires a gradient."
            )
        if any(isinstance(p, nn.parameter.UninitializedParameter) for p in model.parameters()):
            raise UsageError(
                f"{who} needs a model with weights, but it has lazy layers. Call it once on a batch first."
            )
        try:
            self.replica = Replica(model)
            self.loss = copy.deepcopy(loss) if isinstance(loss, nn.Module) else loss
        except (RuntimeError, TypeError) as error:
            raise UsageError(
                f"{who} works on a copy, and the model or the loss cannot be copied: {error}"
            ) from error
        self.learning = [p for p in self.replica.params if p.requires_grad]
        self.streams = streams_of(self.replica.model)
        self.stream_states = [g.get_state() for g in self.streams]
        self.restart()

    def restart(self) -> None:
        """Set weights, buffers, modes and streams to the start of every run."""
        self.replica.take(self.source)
        if not self.source.training:
            self.replica.model.train()
        for param in self.replica.params:
            param.grad = None
        self.reseed()

    def reseed(self) -> None:
        random.seed(self.seed)
        np.random.seed(self.seed % 2**32)
        torch.default_generator.manual_seed(self.seed)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed(self.seed)
        for stream, state in zip(self.streams, self.stream_states, strict=True):
            stream.set_state(state)

    def placed(self, batches: Sequence[Rows]) -> list[Rows]:
        device = self.learning[0].device
        return [tuple(t.detach().to(device) for t in batch) for batch in batches]

    def loss_of(self, batch: Rows) -> Tensor:
        value = self.loss(self.replica.model(*batch[:-1]), batch[-1])
        if not isinstance(value, Tensor) or value.numel() != 1:
            came = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise UsageError(
                f"{self.who} needs a loss(output, y) that is one number, got {came}. Take its mean."
            )
        return value.reshape(())

    def check_mean(self, batch: Rows) -> None:
        """Refuse a loss that is a sum: twice the same rows must not give twice the loss."""
        with torch.no_grad():
            once = float(self.loss_of(batch))
            twice = float(self.loss_of(tuple(torch.cat([t, t]) for t in batch)))
        if not math.isfinite(once):
            raise UsageError(
                f"{self.who} needs a finite loss at the start, got {once}. Look for NaN in data or weights."
            )
        if abs(twice - 2 * once) < 0.2 * abs(once):
            raise UsageError(
                f"{self.who} needs a loss that is the mean over the rows, got a sum. Use reduction='mean'."
            )

    def gradient(self, batch: Rows) -> list[Tensor]:
        with torch.enable_grad():
            found = torch.autograd.grad(self.loss_of(batch), self.learning, allow_unused=True)
        return [
            torch.zeros_like(p) if g is None else g.detach()
            for p, g in zip(self.learning, found, strict=True)
        ]


@contextlib.contextmanager
def untouched(model: nn.Module, data: Data) -> Iterator[None]:
    """Give global streams, those of the model and those of the loader back as they were."""
    holders = [data, *(getattr(data, n, None) for n in ("sampler", "batch_sampler"))]
    holders.append(getattr(holders[-1], "sampler", None))
    found = [getattr(h, "generator", None) for h in holders]
    streams = [g for g in found if isinstance(g, torch.Generator)]
    streams += streams_of(model) if isinstance(model, nn.Module) else []
    states = [g.get_state() for g in streams]
    with same_streams():
        try:
            yield
        finally:
            for stream, state in zip(streams, states, strict=True):
                stream.set_state(state)


def need_count(who: str, name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{who} needs {name} of at least {least}, as a whole number, got {value!r}.")


def batches_of(
    who: str, data: Data, size: int, count: int, seed: int, most_rows: int | None = None
) -> list[Rows]:
    """Return the first `count` batches, or as many as hold `most_rows`."""
    if isinstance(data, tuple) and len(data) == 2 and all(isinstance(t, Tensor) for t in data):
        return _cut(who, data[0], data[1], size, count, seed)
    if isinstance(data, Tensor | np.ndarray | tuple) or not isinstance(data, Iterable) or iter(data) is data:
        raise UsageError(
            f"{who} needs data as two tensors (x, y) or as a loader that can be read twice, got {type(data).__name__}. "
            "Wrap arrays in torch.as_tensor."
        )
    found: list[Rows] = []
    rows = 0
    for batch in data:
        good = (
            isinstance(batch, tuple | list) and len(batch) >= 2 and all(isinstance(t, Tensor) for t in batch)
        )
        if not good:
            raise UsageError(
                f"{who} needs a loader of (x, y) batches of tensors, got {type(batch).__name__}."
            )
        found.append(tuple(batch))
        rows += len(batch[-1])
        if rows >= most_rows if most_rows is not None else len(found) >= count:
            break
    if not rows:
        raise UsageError(f"{who} needs data with rows, got an empty loader.")
    return found


def _cut(who: str, x: Tensor, y: Tensor, size: int, count: int, seed: int) -> list[Rows]:
    if not x.dim() or not y.dim() or len(x) != len(y) or not len(x):
        raise UsageError(
            f"{who} needs as many rows of x as of y, got shapes {tuple(x.shape)} and {tuple(y.shape)}."
        )
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    # a short last batch would be noisier than the others
    starts = range(0, max(1, len(x) - size + 1), size)[:count]
    return [(x[order[i : i + size].to(x.device)], y[order[i : i + size].to(y.device)]) for i in starts]


def joined(batches: Sequence[Rows]) -> Rows:
    try:
        return tuple(torch.cat(parts) for parts in zip(*batches, strict=True))
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"batch_size_probe needs batches of one shape but for the rows: {error}") from error
