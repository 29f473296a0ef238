"""What a training costs here, and the length of training that fits into a budget of time."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from trainwell.app.console import Console
from trainwell.app.tuning.folds import Fold, folds_for
from trainwell.app.tuning.work import Work, alone, train
from trainwell.engine.lanes import LaneResult, LaneSpec
from trainwell.engine.streams import kept_streams
from trainwell.search.space import Space
from trainwell.values.recipe import Recipe

LEAST_TRAININGS, JUDGING = 32, 12
"""Full trainings that a budget has to hold, else they are made shorter; those that judge one finalist and the default."""

FEW_TRAININGS = 64
"""Below so many the sizes stay as they are: networks of one size are trained together."""

PROBED_STEPS, PROBED_LANES = 6, 8
"""Steps and lanes of the measurement."""

LEAST_STEPS, LAST_STEPS, MADE_ANYWAY = 20, 2, 3
"""Steps below which no training is shortened; and below which not even where those that are made anyway, the default
and two repeats of it, would not fit."""

SCORED_S = 0.5
"""CPU-seconds that scoring and writing the last run take besides its training; measured on tables of 10,000 rows."""

STACK_SHARE = 0.04
"""Share of the budget that an epoch of a stack may take: the clock is looked at after every epoch."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds that an epoch of a network takes, and one look at the validation part at its end."""

    epoch_s: float
    judged_s: float = 0.0

    def of(self, epochs: float) -> float:
        """Return the seconds of a training; a part of an epoch is judged like a whole one."""
        return epochs * self.epoch_s + math.ceil(epochs) * self.judged_s

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.epoch_s + other.epoch_s, self.judged_s + other.judged_s)

    def __mul__(self, count: float) -> Cost:
        return Cost(count * self.epoch_s, count * self.judged_s)

    def length(self, seconds: float) -> float:
        """Return the epochs that fit, with two digits below two epochs; a look is worth no fifth of an epoch."""
        whole = seconds / (self.epoch_s + self.judged_s)
        if whole >= 2:
            return math.floor(whole)
        longer = (seconds - 2 * self.judged_s) / self.epoch_s
        fitting = longer if longer >= 1.2 else min(1.0, (seconds - self.judged_s) / self.epoch_s)
        return _two_digits(fitting)


@dataclasses.dataclass(frozen=True)
class Pace:
    """What a network costs by itself, and each of several that are trained together."""

    alone: Cost
    lane: Cost
    steps_per_epoch: int

    def affordable(self, epochs: float, seconds: float) -> float:
        """Return how many full trainings fit, one alone at the end."""
        return max(0.0, seconds - self.alone.of(epochs)) / self.lane.of(epochs)

    def epochs_for(self, epochs: float, seconds: float, trainings: int = LEAST_TRAININGS) -> float:
        """Return the length of training at which enough of them fit, `epochs` at most; a whole one from two on.

        Not below some steps, unless not even the fewest trainings would fit then.
        """
        needed = self.lane * trainings + self.alone
        if needed.of(epochs) <= seconds:
            return epochs
        fewest = min(LEAST_STEPS, self.steps_per_epoch * epochs) / self.steps_per_epoch
        if (self.lane * MADE_ANYWAY + self.alone).of(fewest) > seconds:
            fewest = (self.lane * MADE_ANYWAY + self.alone).length(seconds)
        fewest = _two_digits(max(fewest, LAST_STEPS / self.steps_per_epoch))
        return min(epochs, max(needed.length(seconds), fewest))

    def lanes(self, seconds: float) -> int:
        """Return how many networks a stack may have, so that the budget can be kept."""
        return int(max(1, min(64, STACK_SHARE * seconds / self.lane.of(1))))


def _two_digits(number: float) -> float:
    """Return a number > 0 with two digits, rounded down."""
    if number <= 0:
        return 0.0
    scale = 10.0 ** (1 - math.floor(math.log10(number)))
    return math.floor(number * scale) / scale


def measure(work: Work, seed: int, seconds: float) -> Pace:
    """Train a few steps of the default, alone and in a stack, and return what an epoch costs.

    Args:
        seconds: the budget; where a few steps alone take a thirtieth of it, a stack is not tried.
    """
    steps = _steps_per_epoch(work)
    if steps is None:  # a loader: how long it is, only an epoch tells
        found = _cost(work, work.base.replace(epochs=1), seed, 1)
        return Pace(found, found, 1)
    share = min(1.0, PROBED_STEPS / steps)
    first = _cost(work, work.base.replace(epochs=min(1.0, 2 / steps)), seed, 1)
    if first.of(share) > seconds / PROBED_STEPS:  # what only the first call costs is little of that
        return Pace(first, first, steps)
    short = work.base.replace(epochs=share)
    one = _cost(work, short, seed, 1)
    if one.of(share) * PROBED_LANES > seconds / 30:
        return Pace(one, one, steps)
    several = _cost(work, short, seed, PROBED_LANES)
    return Pace(one, min(one, several, key=lambda cost: cost.of(1)), steps)


def _steps_per_epoch(work: Work) -> int | None:
    part = work.source.train
    return math.ceil(len(part[1]) / work.base.batch_size) if isinstance(part, tuple) else None


def _cost(work: Work, recipe: Recipe, seed: int, count: int) -> Cost:
    """Train so many networks and return what each costs; the random numbers outside are left alone."""
    ended: list[LaneResult] = []
    specs = [LaneSpec(recipe, seed + i) for i in range(count)]
    start = time.perf_counter()
    with kept_streams(work.device):
        if count == 1:
            ended.append(alone(work, specs[0], work.source, lambda spec, row: None))
        else:
            train(work, iter(specs), ended.append, lambda spec, row: None)
    took = max(1e-6, time.perf_counter() - start) / count
    judged = sum(float(row.get("validation_s") or 0.0) for r in ended for row in r.history) / count
    judged = min(judged, 0.9 * took)
    return Cost((took - judged) / float(recipe.epochs), judged)


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
    start, used, whole = time.monotonic(), time.process_time(), float(work.base.epochs)
    pace = measure(work, seed, seconds)
    took = time.monotonic() - start
    scored_s = SCORED_S * max(
        1.0, took / max(1e-3, time.process_time() - used)
    )  # more where other work takes the core
    seconds -= took + scored_s
    shared = dataclasses.replace(pace, lane=pace.lane * (1 / side_by_side))
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
        stay = "stays as it is" if len(sizes) == 1 else "stay as they are"
        console.say(f"budget    {', '.join(sizes)} {stay}: trainings of one size go together")
    work = dataclasses.replace(work, base=work.base.replace(epochs=epochs) if epochs != whole else work.base,
                               max_lanes=pace.lanes(seconds))  # fmt: skip
    asked = folds if kept is None or folds != "auto" else str(kept["about"].get("folds", "1"))
    made, told = folds_for(work, asked, affordable if trials is None else 0.0, seed, console)
    if told != "1":
        about["folds"] = told
    return Fitted(work, space, affordable / len(made), pace.alone.of(epochs) + scored_s, about, made)


def _fitting(affordable: float) -> str:
    if affordable < 1.5:
        return "one full training fits at most; those that a verdict needs are made all the same"
    return f"about {affordable:,.0f} full trainings fit"
