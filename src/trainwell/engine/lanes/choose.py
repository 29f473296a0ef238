"""Measures whether stacks pay, and of how many networks: steps of them against steps of a network alone."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence

import torch

from trainwell.engine.feed import XY
from trainwell.engine.lanes.lane import Lane, Structure
from trainwell.engine.lanes.memory import products_of
from trainwell.engine.lanes.stack import Setting, Stack
from trainwell.engine.training import Training

MEASURED_OPERATIONS = 1e10
"""Multiplications from which on it is measured, about a third of a second's work; below lanes are taken."""

LARGEST_STEP = 4e9
"""Multiplications in a step of one network from which on vmap is not tried on a CPU: beside them calls are nothing, and
where they were, it was slower. A fine-tuned MiniLM has 6e10. Source: docs/log-lanes.md."""

SHARE_OF_WORK = 0.1
"""Smaller stacks are measured too where the steps of all measurements are at most this share of the work."""

SMALLER = (16, 4, 1)
"""Lanes of the smaller stacks: of wide networks the weights and activations of few fit into the caches."""

TOLERANCE = 1.05
"""A stack is given up where it is slower than this: two probes of equal steps differ by up to 5 percent."""

LONG_S = 2e-3
"""Seconds of a step of one network from which on its calls, some 0.2 ms, cost next to nothing. Of stacks that are as fast
the smallest is taken then, whose weights stay nearer to the caches than in the few steps that are measured; before, the
largest."""

REPEATS = 3
"""Steps of each side, in turn; the shortest counts, for other work on the machine only ever adds to a step."""

MEASURED: dict[tuple[Structure, torch.device, int], float] = {}
"""Seconds of a step per network by structure, device and lanes, as measured in this process; 0 lanes is alone."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """How to train a group.

    Args:
        lanes: networks in a stack; 0 where the plain engine is the faster.
        told: the seconds that say so.
    """

    lanes: int
    told: str


def choose(
    lanes: Sequence[Lane], setting: Setting, alone: Callable[[], Training], device: torch.device
) -> Choice:
    """Measure and return the fastest way to train these lanes, which are left as they were.

    Args:
        alone: makes a training of one of the recipes that nobody needs.
    """
    structure, seconds = lanes[0].structure, dict[int, float]()
    plain = Plain(lanes[0], setting, alone)
    for count in _counts(lanes):
        key = structure, device, count
        if key not in MEASURED:
            MEASURED[key], beside = step_times(lanes[:count], setting, plain)
            MEASURED[structure, device, 0] = min(beside, MEASURED.get((structure, device, 0), math.inf))
        seconds[count] = MEASURED[key]
    lone = MEASURED[structure, device, 0]
    best = _best(seconds, lone)
    told = "; ".join(f"{1e3 * s:.3g} ms a step and network in a stack of {n}" for n, s in seconds.items())
    told += f", {1e3 * lone:.3g} ms alone"
    return Choice(best if seconds[best] <= TOLERANCE * lone else 0, told)


def _best(seconds: Mapping[int, float], lone: float) -> int:
    """Return how many networks a stack is to have, by the seconds of a step per network in a stack and alone."""
    equal = [n for n, s in seconds.items() if s <= TOLERANCE * min(seconds.values())]
    if lone >= LONG_S:
        return min(equal)
    most = max(seconds)
    return most if most in equal else min(seconds, key=lambda n: seconds[n])


def operations(lane: Lane) -> float:
    """Return about how many multiplications a step of one network takes: each weight is used at every place."""
    rows = lane.feed.sample(min(2, lane.feed.num_rows))
    weights = sum(math.prod(shape) for _, shape, _, _ in lane.structure.parameters)
    products = products_of(lane.model, rows) / len(rows[0])
    return 6.0 * max(weights, products) * lane.feed.batch_size


def why_too_large(lane: Lane, device: torch.device) -> str:
    """Return why networks of this size are trained alone, before anything is stacked; empty where they may not be."""
    if lane.chain or device.type != "cpu" or (count := operations(lane)) < LARGEST_STEP:
        return ""
    return f"a step of one network is {count / 1e9:.0f} billion multiplications, which no stack makes faster"


def is_large(lanes: Sequence[Lane]) -> bool:
    """Tell whether the work of these lanes is worth a measurement."""
    return operations(lanes[0]) * _steps(lanes) >= MEASURED_OPERATIONS


def _steps(lanes: Sequence[Lane]) -> int:
    return sum(lane.state.total_steps - lane.state.step for lane in lanes)


def _counts(lanes: Sequence[Lane]) -> list[int]:
    """Return how many lanes to try: all, and fewer where the work bears it."""
    counts, structure = [len(lanes)], lanes[0].structure
    for count in SMALLER:
        spent = (1 + REPEATS) * (sum(counts) + count)
        known = any(key[0] == structure and key[2] == count for key in MEASURED)
        if 2 * count <= len(lanes) and (known or spent <= SHARE_OF_WORK * _steps(lanes)):
            counts.append(count)
    return counts


class Plain:
    """Steps of the plain engine, to hold those of stacks against.

    Args:
        alone: makes a training of one of the recipes that nobody needs.
    """

    def __init__(self, lane: Lane, setting: Setting, alone: Callable[[], Training]) -> None:
        self._lane, self._setting, self._alone = lane, setting, alone
        self._training: Training | None = None

    def __call__(self) -> None:
        """Take a step."""
        if self._training is None:
            self._training = self._alone()
            self._training.model.train()
        self._training.step(*_batch(self._lane, self._setting), 0.0)


def step_times(lanes: Sequence[Lane], setting: Setting, plain: Callable[[], None]) -> tuple[float, float]:
    """Return the seconds of a step of a stack, per network, and of one of the plain engine, taken in turn.

    The lanes are left as they were.
    """
    stack = Stack(lanes, setting)
    if stack.bits is not None:  # the states of all streams take longer to keep than the steps
        stack.bits.generators = [torch.Generator(stack.device)] * len(lanes)
    names = [m.name for m in stack.step.sites.at("batch")]
    drawn = [lane.streams.generator(name) for lane in lanes for name in names]
    saved = [generator.get_state() for generator in drawn]
    x, y = _batch(lanes[0], setting)
    wide = [t.expand(len(lanes), *t.shape).contiguous() for t in (*x, y)]

    def together() -> None:
        stack.draw([len(y)])
        stack.step(tuple(wide[:-1]), wide[-1], 0.0)

    try:
        times = [(_seconds(together), _seconds(plain)) for _ in range(1 + REPEATS)][1:]
    finally:
        for generator, state in zip(drawn, saved, strict=True):
            generator.set_state(state)
    return min(t for t, _ in times) / len(lanes), min(t for _, t in times)


def _batch(lane: Lane, setting: Setting) -> XY:
    rows = min(lane.feed.batch_size, lane.feed.num_rows)
    return tuple(t[:rows] for t in setting.train[0]), setting.train[1][:rows]


def _seconds(call: Callable[[], object]) -> float:
    """Return the time of a call; where one thread does it all, without what others took of the processor."""
    cuda = torch.cuda.is_available()
    clock = time.thread_time if torch.get_num_threads() == 1 and not cuda else time.perf_counter
    start = clock()
    call()
    if cuda:
        torch.cuda.synchronize()
    return clock() - start
