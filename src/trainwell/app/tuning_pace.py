"""What a training costs here, and the length of training that fits into a budget of time."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from trainwell.app.console import Console
from trainwell.app.tuning_folds import Fold, folds_for
from trainwell.app.tuning_work import Work, alone, train
from trainwell.engine.lanes import LaneResult, LaneSpec
from trainwell.engine.streams import kept_streams
from trainwell.search.space import Space
from trainwell.values.recipe import Recipe

LEAST_TRAININGS, JUDGING = 32, 12
"""Full trainings that a budget has to hold, else they are made shorter; those that judge one finalist and the default."""

FEW_TRAININGS = 64
"""Below so many the sizes stay as they are: networks of one size are trained together."""

PROBED_STEPS, PROBED_LANES, LEAST_STEPS = 6, 8, 20
"""Steps and lanes of the measurement, and the steps below which no training is shortened."""

STACK_SHARE = 0.04
"""Share of the budget that an epoch of a stack may take: the clock is looked at after every epoch."""


@dataclasses.dataclass(frozen=True)
class Pace:
    """Seconds of one epoch, its validation included.

    Args:
        alone_s: of a network by itself. lane_s: of each of several that are trained together.
    """

    alone_s: float
    lane_s: float
    steps_per_epoch: int

    def affordable(self, epochs: float, seconds: float) -> float:
        """Return how many full trainings fit, one alone at the end."""
        return max(0.0, seconds - epochs * self.alone_s) / (epochs * self.lane_s)

    def epochs_for(self, epochs: float, seconds: float, trainings: int = LEAST_TRAININGS) -> float:
        """Return the length of training at which enough of them fit, `epochs` at most; a whole one from two on."""
        needed = epochs * (trainings * self.lane_s + self.alone_s)
        if needed <= seconds:
            return epochs
        fitting = max(epochs * seconds / needed, LEAST_STEPS / self.steps_per_epoch)
        digits = 0 if fitting >= 2 else 1 - math.floor(math.log10(fitting))
        return min(epochs, math.floor(fitting * 10.0**digits) / 10.0**digits)

    def lanes(self, seconds: float) -> int:
        """Return how many networks a stack may have, so that the budget can be kept."""
        return int(max(1, min(64, STACK_SHARE * seconds / self.lane_s)))


def measure(work: Work, seed: int, seconds: float) -> Pace:
    """Train a few steps of the default, alone and in a stack, and return what an epoch costs.

    Args:
        seconds: the budget; where a few steps alone take a thirtieth of it, a stack is not tried.
    """
    steps = _steps_per_epoch(work)
    if steps is None:  # a loader: how long it is, only an epoch tells
        took = _timed(work, work.base.replace(epochs=1), seed, 1)
        return Pace(took, took, 1)
    short = work.base.replace(epochs=min(1.0, PROBED_STEPS / steps))
    _timed(work, work.base.replace(epochs=min(1.0, 2 / steps)), seed, 1)  # what only the first call costs
    val = work.source.val
    judged_s = _validation_s(work, short, seed) if val is not None else 0.0
    some = min(steps, PROBED_STEPS)
    one = _timed(work, short, seed, 1)
    alone_s = judged_s + max(0.1 * one, one - judged_s) / some * steps
    if one * PROBED_LANES > seconds / 30:
        return Pace(alone_s, alone_s, steps)
    several = _timed(work, short, seed, PROBED_LANES) / PROBED_LANES
    lane_s = min(judged_s, 0.5 * several) + max(0.5 * several, several - judged_s) / some * steps
    return Pace(alone_s, min(alone_s, lane_s), steps)


def _steps_per_epoch(work: Work) -> int | None:
    part = work.source.train
    return math.ceil(len(part[1]) / work.base.batch_size) if isinstance(part, tuple) else None


def _validation_s(work: Work, recipe: Recipe, seed: int) -> float:
    result = alone(work, LaneSpec(recipe, seed), work.source, lambda spec, row: None)
    return float(result.history[-1].get("validation_s") or 0.0) if result.history else 0.0


def _timed(work: Work, recipe: Recipe, seed: int, count: int) -> float:
    """Return the seconds that so many trainings take together; the random numbers outside are left alone."""
    ended: list[LaneResult] = []
    start = time.perf_counter()
    specs = [LaneSpec(recipe, seed + i) for i in range(count)]
    with kept_streams(work.device):
        train(work, iter(specs), ended.append, lambda spec, row: None)
    return max(1e-6, time.perf_counter() - start)


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A search that its budget can hold.

    Args:
        affordable: full trainings that fit. final_s: what the last training of the winner takes.
        about: what a resume has to agree with. folds: what a trial learns from and is judged by.
    """

    work: Work
    space: Space
    affordable: float
    final_s: float
    about: Mapping[str, Any]
    folds: Sequence[Fold]


def fitted(
    work: Work, space: Space, seconds: float, seed: int, kept: Mapping[str, Any] | None, *, free: bool,
    trials: int | None, folds: str, console: Console, side_by_side: int = 1,
) -> Fitted:  # fmt: skip
    """Measure what a training costs, and shorten the trainings where the budget would hold too few.

    Args:
        seconds: what is left of the budget. kept: what the study was begun with, if it goes on.
        free: whether the space is our own choice; its sizes are then left out where few trainings fit.
        side_by_side: workers that train at a time.
        folds: how many are asked for, as `folds_for` reads it.
        trials: as many as the user wants; then the clock does not decide what is searched.
    """
    about: dict[str, Any] = {"fingerprint": work.prepared.fingerprint}
    start, whole = time.monotonic(), float(work.base.epochs)
    pace = measure(work, seed, seconds)
    seconds -= time.monotonic() - start
    shared = dataclasses.replace(pace, lane_s=pace.lane_s / side_by_side)
    least = LEAST_TRAININGS if trials is None else min(LEAST_TRAININGS, trials + JUDGING)
    epochs = shared.epochs_for(whole, seconds, least)
    if kept is not None:
        epochs = float(kept["about"].get("epochs", whole))
        space = Space.from_dict(kept["space"]) if free else space
    if epochs != whole:
        about["epochs"] = epochs
        console.say(
            f"budget    trainings of {epochs:g} epochs instead of {whole:g}, so that enough of them fit"
        )
    affordable = shared.affordable(epochs, seconds)
    console.say(f"budget    {_fitting(affordable)}")
    sizes = [p.name for p in space if p.name in ("batch_size", "model.width", "model.depth")]
    if kept is None and free and trials is None and affordable < FEW_TRAININGS and sizes:
        for name in sizes:
            space = space.changed(f"-{name}")
        console.say(f"budget    {', '.join(sizes)} stay as they are: trainings of one size go together")
    work = dataclasses.replace(work, base=work.base.replace(epochs=epochs) if epochs != whole else work.base,
                               max_lanes=pace.lanes(seconds))  # fmt: skip
    asked = folds if kept is None or folds != "auto" else str(kept["about"].get("folds", "1"))
    made, told = folds_for(work, asked, affordable if trials is None else 0.0, seed, console)
    if told != "1":
        about["folds"] = told
    return Fitted(work, space, affordable / len(made), epochs * pace.alone_s, about, made)


def _fitting(affordable: float) -> str:
    if affordable < 1.5:
        return "one full training fits at most; those that a verdict needs are made all the same"
    return f"about {affordable:,.0f} full trainings fit"
