"""Which batch size? The noise of the gradient and the clock answer, on a copy."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from trainwell.values.errors import UsageError
from trainwell.watch.probe_bench import Bench, Data, Loss, Rows, batches_of, joined, need_count, untouched

NOISE_ROWS = 4096
"""Rows whose gradients measure the noise."""
REPEATS, CLOSE = 3, 1.05
"""Timed steps per size, and the predicted time within which the smaller size is taken."""


@dataclasses.dataclass(frozen=True)
class BatchSizeProbe:
    """What gradients and clock say of the batch size.

    Args:
        value: the size to take.
        noise_scale: variance of a row's gradient over the squared length of the mean gradient, in rows; infinite
            where the mean gradient drowns in the noise.
        rows_per_second: of a forward and a backward, per size.
        reason: why, in a sentence.
    """

    value: int
    noise_scale: float
    rows_per_second: dict[int, float]
    reason: str


def batch_size_probe(
    model: nn.Module,
    data: Data,
    *,
    loss: Loss,
    sizes: Sequence[int] = (16, 32, 64, 128, 256, 512),
    seed: int = 0,
) -> BatchSizeProbe:
    """Recommend a batch size from the noise of the gradient and from the rows per second of each size.

    Helps to stop buying rows that tell the optimizer nothing new. The noise scale is that of the present weights and
    grows during training: repeat it after the first epochs.

    Args:
        data: `(x, y)` tensors, or a loader of batches whose last tensor is the target.
        loss: `loss(output, y)`, the mean over the rows.
        sizes: the sizes among which one is recommended; those above the number of rows are left out.

    Raises:
        UsageError: an argument does not fit, too few rows, or the loss is a sum over the rows.

    Source: McCandlish et al. 2018, arXiv:1812.06162, appendix A.1; steps against size: section 2.2.
    """
    for size in sizes:
        need_count("batch_size_probe", "sizes", size, 1)
    with untouched(model, data):
        bench = Bench("batch_size_probe", model, loss, seed)
        most = max([NOISE_ROWS, *sizes])
        rows = bench.placed([joined(batches_of("batch_size_probe", data, most, 1, seed, most))])[0]
        usable = sorted({s for s in sizes if s <= len(rows[-1])})
        if not usable or len(rows[-1]) < 2 * usable[0]:
            raise UsageError(
                f"batch_size_probe needs at least twice as many rows as the smallest of sizes, got {len(rows[-1])} "
                f"rows and sizes={tuple(sizes)}. Give more rows or smaller sizes."
            )
        bench.check_mean(tuple(t[: usable[0]] for t in rows))
        noise = noise_scale(_gradient_squares(bench, rows, usable[0]))
        return _best_size(noise, _speeds(bench, rows, usable))


@dataclasses.dataclass(frozen=True)
class GradientSquares:
    """Squared length of the gradient on `small` rows, on average, and on all `big` rows that these make up."""

    small: int
    small_square: float
    big: int
    big_square: float


def noise_scale(seen: GradientSquares) -> float:
    """Return the simple noise scale tr(Sigma) / |G|^2, both without bias, from gradients at two sizes.

    Source: McCandlish et al. 2018, arXiv:1812.06162, appendix A.1.
    """
    gap = seen.big - seen.small
    signal = (seen.big * seen.big_square - seen.small * seen.small_square) / gap
    noise = (seen.small_square - seen.big_square) / (1 / seen.small - 1 / seen.big)
    if noise <= 0:
        return 0.0
    return noise / signal if signal > 0 else math.inf


def _gradient_squares(bench: Bench, rows: Rows, small: int) -> GradientSquares:
    parts = len(rows[-1]) // small
    total: list[Tensor] = []
    squares = 0.0
    for i in range(parts):
        grads = [g.double() for g in bench.gradient(tuple(t[i * small : (i + 1) * small] for t in rows))]
        squares += _square(grads)
        total = [a + b for a, b in zip(total, grads, strict=True)] if total else grads
    return GradientSquares(small, squares / parts, parts * small, _square(total) / parts**2)


def _speeds(bench: Bench, rows: Rows, sizes: Sequence[int]) -> dict[int, float]:
    """Return rows per second of a forward and a backward, up to the largest size that fits in memory."""
    found: dict[int, float] = {}
    for size in sizes:
        batch = tuple(t[:size] for t in rows)
        try:
            bench.gradient(batch)  # the first of a shape pays for its set-up
            found[size] = size / statistics.median(_seconds(bench, batch) for _ in range(REPEATS))
        except torch.OutOfMemoryError:
            if not found:
                raise
            break
    return found


def _seconds(bench: Bench, batch: Rows) -> float:
    began = time.perf_counter()
    bench.gradient(batch)
    if batch[-1].is_cuda:
        torch.cuda.synchronize()
    return max(1e-9, time.perf_counter() - began)


def _best_size(noise: float, speeds: dict[int, float]) -> BatchSizeProbe:
    # steps fall as 1 + noise / size, a step takes size / speed: the product is the time to the same loss
    seconds = {s: (1 / v if math.isinf(noise) else (s + noise) / v) for s, v in speeds.items()}
    least = min(seconds.values())
    value = min(s for s, t in seconds.items() if t <= CLOSE * least)
    if math.isinf(noise):
        why = (
            "the mean gradient drowns in the noise of the rows measured, so that the fastest size is the best"
        )
    else:
        why = f"the noise scale is {noise:.3g} rows, and (size + noise scale) / speed, the time to a loss, is least there"
    reason = f"{value} rows: {why} ({speeds[value]:.3g} rows/s; the fastest of the sizes has {max(speeds.values()):.3g})."
    return BatchSizeProbe(value, noise, speeds, reason)


def _square(grads: Iterable[Tensor]) -> float:
    return float(sum(float((g * g).sum()) for g in grads))
