"""Measures whether a stack pays: one step of it against one step of a network alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch

from trainwell.engine.lanes.lane import Lane
from trainwell.engine.lanes.stack import Setting, Stack
from trainwell.engine.training import Training

MEASURED_OPERATIONS = 1e10
"""Multiplications from which on it is measured, about a third of a second's work; below lanes are taken."""

TOLERANCE = 1.05
"""A stack is given up where it is slower than this: two probes of equal steps differ by up to 5 percent."""

REPEATS = 3


def is_large(lanes: Sequence[Lane]) -> bool:
    """Tell whether the work of these lanes is worth a measurement."""
    weights = sum(math.prod(shape) for _, shape, _, _ in lanes[0].structure.parameters)
    steps = sum(lane.state.total_steps - lane.state.step for lane in lanes)
    return 6.0 * weights * lanes[0].feed.batch_size * steps >= MEASURED_OPERATIONS


def step_times(lanes: Sequence[Lane], setting: Setting, alone: Training) -> tuple[float, float]:
    """Return the seconds of a step per network: in a stack, and alone. The lanes are left as they were.

    Args:
        alone: a training of one of the recipes that nobody needs.
    """
    saved = [lane.streams.state() for lane in lanes]
    stack, rows = Stack(lanes, setting), min(lanes[0].feed.batch_size, lanes[0].feed.num_rows)
    x, y = tuple(t[:rows] for t in setting.train[0]), setting.train[1][:rows]
    wide = [t.expand(len(lanes), *t.shape).contiguous() for t in (*x, y)]

    def together() -> None:
        stack._draw([rows])
        stack.step(tuple(wide[:-1]), wide[-1], 0.0)

    try:
        fused = _shortest(together) / len(lanes)
    finally:
        for lane, state in zip(lanes, saved, strict=True):
            lane.streams.restore(state)
    alone.model.train()
    return fused, _shortest(lambda: alone.step(x, y, 0.0))


def _shortest(call: Callable[[], object]) -> float:
    times = []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])
