"""Trains the trials of a study: in lanes where the data lie in memory, one after the other where not."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from trainwell.app.sources import Prepared
from trainwell.app.tuning_space import recipe_of
from trainwell.engine.assemble import Source, assemble
from trainwell.engine.lanes import LaneResult, LaneSpec, train_lanes
from trainwell.engine.lanes.paused import PAUSE, Paused, go_on, pause_training
from trainwell.engine.lanes.train import MAX_LANES
from trainwell.engine.streams import Streams, derive
from trainwell.engine.training import Row, Training, Watcher
from trainwell.search.forecast import best_until
from trainwell.search.halving import Halving
from trainwell.search.study import COMPLETE, DIVERGED, ERROR, STOPPED, Study
from trainwell.values.errors import Interrupted, NonFiniteError, TrainingError, TrainwellError
from trainwell.values.recipe import Recipe

Build = Callable[[Recipe, torch.Generator], torch.nn.Module]

PAUSED_BYTES = 512 * 2**20
"""Memory that the states of paused trainings may take; beyond it those of which least is hoped are let go."""

UNFINISHED = 0.8
"""A training begins only where this share of what the last full one took is left."""

LATE = "the budget is used up"

LEAST_REPEATS = 2
"""Repeats that are trained whatever they take: fewer confirm nothing."""


@dataclasses.dataclass(frozen=True)
class Work:
    """All that trainings are made from.

    Args:
        base: the recipe that configurations change.
        stopped: whether the user wants an end. stop: told of a signal that a training heard.
        max_lanes: networks in one stack, at most.
    """

    prepared: Prepared
    base: Recipe
    build: Build
    loss: Any
    device: torch.device
    stopped: Callable[[], bool] = lambda: False
    stop: Callable[[int], None] = lambda number: None
    max_lanes: int = MAX_LANES

    @property
    def source(self) -> Source:
        parts = self.prepared.parts
        return Source(parts["train"], parts.get("val"), self.prepared.columns)

    def value(self, row: Mapping[str, Any]) -> float:
        """Return what is minimised: the primary metric with its sign, or the validation loss where there is no task."""
        task = self.prepared.task
        metric = row.get("val_metric")
        found = row.get("val_loss") if task is None or metric is None else -task.metric_sign * float(metric)
        return math.nan if found is None else float(found)


def train(
    work: Work,
    specs: Iterator[LaneSpec | None],
    tell: Callable[[LaneResult], None],
    on_epoch: Callable[[LaneSpec, Row], str | None],
    source: Source | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Train what the iterator yields, as lanes or, where loaders feed, one after the other."""
    source = source or work.source
    task = work.prepared.task
    if isinstance(source.train, tuple) and (source.val is None or isinstance(source.val, tuple)):
        train_lanes(
            specs, source, task, model=work.build, loss=work.loss, device=work.device, tell=tell, on_epoch=on_epoch,
            say=say, max_lanes=work.max_lanes,
        )  # fmt: skip
        return
    for spec in specs:
        if spec is None:
            return
        tell(alone(work, spec, source, on_epoch))


class _Teller(Watcher):
    def __init__(self, spec: LaneSpec, on_epoch: Callable[[LaneSpec, Row], str | None]) -> None:
        self._spec, self._on_epoch = spec, on_epoch
        self.paused: Paused | None = None

    def on_epoch(self, training: Training, row: Row) -> None:
        asked = self._on_epoch(self._spec, row)
        if asked and not training.state.stop_reason:
            training.state.stop_reason = asked
            if asked == PAUSE:
                self.paused = pause_training(training, self._spec.seed)


def alone(
    work: Work, spec: LaneSpec, source: Source, on_epoch: Callable[[LaneSpec, Row], str | None]
) -> LaneResult:
    """Train one network that a loader feeds."""
    outer = torch.get_rng_state()
    torch.manual_seed(derive(spec.seed, "torch"))
    try:
        module = work.build(spec.recipe, Streams(spec.seed, work.device).generator("init"))
        teller = _Teller(spec, on_epoch)
        training = assemble(
            module, spec.recipe, source, task=work.prepared.task, loss=work.loss, seed=spec.seed, device=work.device,
            watcher=teller,
        )  # fmt: skip
        if spec.resume is not None:
            go_on(training, spec.resume)
        try:
            training.run()
        except (NonFiniteError, TrainingError):
            training.state.stop_reason = "non-finite"
    finally:
        torch.set_rng_state(outer)
    s = training.state
    return LaneResult(
        spec,
        training.model.eval(),
        s.history,
        s.best_epoch,
        s.best_value,
        s.stop_reason,
        s.step,
        "plain: loaders",
        teller.paused,
    )


class _Over(Exception):
    """Ends all trainings at once: the time is up, or the user wants an end."""


class Search:
    """One go at a study, until its trials, its time or the user ends it.

    Args:
        trials: how many trials the study is to have in all; None for no bound.
        deadline: `time.monotonic()` at which the search ends; None for no bound.
        on_tell: told whenever a trial has ended.
    """

    def __init__(
        self,
        work: Work,
        study: Study,
        *,
        trials: int | None,
        deadline: float | None,
        halving: Halving | None,
        seed: int,
        on_tell: Callable[[], None] = lambda: None,
    ) -> None:
        self.work, self.study, self.halving, self.seed = work, study, halving, seed
        self.trials, self.deadline, self.on_tell = trials, deadline, on_tell
        self.epochs = 0
        self._curves: dict[int, list[float]] = {}
        self._began: dict[int, float] = {}
        self._took = 0.0
        self._paused: dict[int, tuple[Paused, list[float]]] = {}
        if halving is not None:
            kept = [t for t in study.trials if t.about.get("curve")]
            for t in kept:
                if t.state == COMPLETE:
                    halving.end(t.about["curve"])
            for t in kept:
                if t.state == STOPPED:
                    halving.saw(t.about["curve"])

    def run(self, say: Callable[[str], None] = lambda text: None) -> None:
        """Search until the end."""
        while not self._over() and not self.study.exhausted:
            before = len(self.study.trials)
            try:
                train(self.work, self._specs(), self._tell, self._on_epoch, say=say)
            except (_Over, Interrupted) as error:
                self._stop_all()
                if isinstance(error, Interrupted):
                    self.work.stop(error.exit_code - 128)
                return
            if len(self.study.trials) == before:
                break

    def _over(self) -> bool:
        return self._late() or self._too_long() or self._is_full()

    def _is_full(self) -> bool:
        return self.trials is not None and self._begun() >= self.trials

    def _late(self) -> bool:
        """Whether the search is to end; time only counts once a trial has ended, or there would be no result."""
        if self.deadline is None or time.monotonic() <= self.deadline:
            return self.work.stopped()
        return self.work.stopped() or self.study.best is not None

    def _too_long(self) -> bool:
        """Whether a training that began now would not end in time, going by the last full one."""
        if self.deadline is None or self.study.best is None:
            return False
        return time.monotonic() + UNFINISHED * self._took > self.deadline

    def _stop_all(self) -> None:
        """Keep what the running trials have reached; one without an epoch stays to be handed out again."""
        for number, curve in self._curves.items():
            if curve:
                self._tell_stopped(number, curve, "the end")

    def _tell_stopped(self, number: int, curve: Sequence[float], reason: str) -> None:
        """Keep what a training that did not end is expected to reach."""
        value, spread = self.halving.forecast(curve) if self.halving else (best_until(curve, len(curve)), 0.0)
        self.study.tell(number, value, STOPPED, curve=_short(curve), reason=reason, spread=spread)

    def _begun(self) -> int:
        return len(self.study.trials) - len(self.study._orphans)

    def _specs(self) -> Iterator[LaneSpec | None]:
        while not (self._late() or self._too_long()):
            promoted = self._promoted()
            if promoted is not None:
                yield promoted
                continue
            if self._is_full():
                if not self._curves:
                    return
                yield None  # what runs may show that a paused one was better
                continue
            # with rungs places fall free at any time, and the next trial does not wait for the slowest
            eager = bool(self.halving and self.halving.rungs)
            asked = self.study.ask(1, eager=eager)
            if not asked:
                if self.study.exhausted and not self._curves:
                    return
                yield None
                continue
            trial = asked[0]
            try:
                recipe = recipe_of(self.work.base, trial.config)
            except TrainwellError as error:
                self.study.tell(trial.number, math.nan, ERROR, reason=str(error))
                continue
            self._curves[trial.number] = []
            self._began[trial.number] = time.monotonic()
            yield LaneSpec(recipe, seed=self.seed, tag=trial.number)

    def _promoted(self) -> LaneSpec | None:
        """Return the paused trial that is to go on, if there is one."""
        number = self.halving.promoted() if self.halving else None
        if number is None:
            return None
        paused, self._curves[number] = self._paused.pop(number)
        self._began[number] = time.monotonic()
        return LaneSpec(paused.recipe, seed=paused.seed, tag=number, resume=paused)

    def _keep(self, number: int, paused: Paused, curve: list[float]) -> None:
        """Keep the state of a paused training, within bounds."""
        self._paused[number] = paused, curve
        while self.halving and sum(_size(p) for p, _ in self._paused.values()) > PAUSED_BYTES:
            worst = self.halving.worst_paused()
            if worst is None:
                break
            self.halving.forget(worst)
            self._paused.pop(worst, None)

    def _on_epoch(self, spec: LaneSpec, row: Row) -> str | None:
        curve = self._curves[spec.tag]
        curve.append(self.work.value(row))
        self.epochs += 1
        if self._late():
            raise _Over
        if self.halving is not None and not self.halving.goes_on(len(curve), curve, spec.tag):
            return PAUSE
        return None

    def _tell(self, result: LaneResult) -> None:
        number = result.spec.tag
        curve = self._curves.pop(number)
        began = self._began.pop(number)
        value, state = best_until(curve, len(curve)), COMPLETE
        if result.stop_reason == PAUSE and len(curve) < result.spec.recipe.epochs:
            self._tell_stopped(number, curve, result.stop_reason)
            if result.paused is not None:
                self._keep(number, result.paused, curve)
            self.on_tell()
            return
        if result.stop_reason == "non-finite" and not result.best_epoch:
            state, value = DIVERGED, math.nan
        if result.best_epoch and 0 < result.best_epoch <= len(curve):
            value = curve[result.best_epoch - 1]
        self.study.tell(number, value, state, curve=_short(curve), reason=result.stop_reason)
        if state == COMPLETE:
            self._took = time.monotonic() - began
        if self.halving is not None and state == COMPLETE:
            self.halving.end(curve)
        self.on_tell()


def _size(paused: Paused) -> int:
    return sum(t.numel() * t.element_size() for t in paused.tensors.values())


def _short(curve: Sequence[float]) -> list[float]:
    """Return a learning curve with as many digits as tell anything."""
    return [round(v, 6) for v in curve]


def repeats(
    work: Work, recipes: Sequence[Recipe], splits: Sequence[tuple[Any, Any] | None], seeds: Sequence[int],
    deadline: float = math.inf,
) -> torch.Tensor:  # fmt: skip
    """Train every recipe on every split with its seed; return the losses, (recipes, splits) float64.

    Args:
        deadline: `time.monotonic()` after which further repeats are given up; those that are whole come back.
        splits: (train rows, validation rows) of training and validation part together; None for the parts as they
            are, so that only the seed is fresh.
    """
    losses = torch.full((len(recipes), len(seeds)), math.nan, dtype=torch.float64)
    pooled = pool(work) if any(s is not None for s in splits) else work.source
    specs: list[LaneSpec | None] = []
    for column, (split, seed) in enumerate(zip(splits, seeds, strict=True)):
        learns, judges = split or (None, None)
        specs += [LaneSpec(r, seed, learns, judges, tag=(i, column)) for i, r in enumerate(recipes)]
    told = torch.zeros(len(seeds), dtype=torch.int64)

    def late(spec: LaneSpec) -> bool:
        return spec.tag[1] >= LEAST_REPEATS and time.monotonic() > deadline

    def in_time() -> Iterator[LaneSpec | None]:
        yield from itertools.takewhile(lambda spec: spec is not None and not late(spec), specs)

    def tell(result: LaneResult) -> None:
        if result.best_epoch:
            losses[result.spec.tag] = work.value(result.history[result.best_epoch - 1])
        told[result.spec.tag[1]] += result.stop_reason != LATE

    try:
        train(work, in_time(), tell, lambda spec, row: LATE if late(spec) else None, pooled)
    except Interrupted as error:
        if int((told == len(recipes)).sum()) < LEAST_REPEATS:
            raise
        work.stop(error.exit_code - 128)
    return losses[:, told == len(recipes)]


def pool(work: Work) -> Source:
    """Return training and validation part as one training part."""
    (x, y), (vx, vy) = work.prepared.parts["train"], work.prepared.parts["val"]
    whole = tuple(torch.cat([a, b]) for a, b in zip(x, vx, strict=True)), torch.cat([y, vy])
    return Source(whole, None, work.prepared.columns)
