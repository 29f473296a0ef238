"""Trains the trials of a study and says which of them go on."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence

from trainwell.app.tuning.folds import Fold
from trainwell.app.tuning.space import recipe_of
from trainwell.app.tuning.work import Work, pool, train
from trainwell.engine.lanes import LaneResult, LaneSpec
from trainwell.engine.lanes.paused import PAUSE, Paused
from trainwell.engine.training import Row
from trainwell.search.forecast import best_until
from trainwell.search.halving import Halving
from trainwell.search.study import COMPLETE, DIVERGED, ERROR, STOPPED, Study, Trial
from trainwell.values.errors import Interrupted, TrainwellError

BEHIND = "behind at a rung"

PAUSED_BYTES = 512 * 2**20
"""Memory that the states of paused trainings may take; beyond it those of which least is hoped are let go."""

MOST_FAILED = 64
"""Trials that may fail while none has a result; then the search ends."""

UNFINISHED = 0.8
"""A training begins only where this share of what the last full one took is left."""


class _Over(Exception):
    """Ends all trainings at once: the time is up, or the user wants an end."""


class Search:
    """One go at a study, until its trials, its time or the user ends it.

    Args:
        trials: how many trials the study is to have in all; None for no bound.
        deadline: `time.monotonic()` at which the search ends; None for no bound.
        folds: what a trial learns from and is judged by; several are lanes side by side, and a trial is their mean.
        took_s: what a full training takes, as far as is known.
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
        folds: Sequence[Fold],
        took_s: float = 0.0,
        on_tell: Callable[[], None] = lambda: None,
    ) -> None:
        self.work, self.study, self.halving, self.folds = work, study, halving, folds
        self.trials, self.deadline, self.on_tell = trials, deadline, on_tell
        self.epochs = 0
        self._failed = 0
        self._running: dict[int, _Running] = {}
        self.took_s = took_s
        self._paused: dict[int, tuple[LaneSpec, list[float]]] = {}
        self._learn(study.trials)

    def run(self, say: Callable[[str], None] = lambda text: None) -> None:
        """Search until the end."""
        while not self._over() and not self.study.exhausted:
            before = len(self.study.trials)
            try:
                source = None if self.folds[0].learns is None else pool(self.work)
                train(self.work, self._specs(), self._tell, self._on_epoch, source, say)
            except (_Over, Interrupted) as error:
                self._stop_all()
                if isinstance(error, Interrupted):
                    self.work.stop(error.exit_code - 128)
                return
            if len(self.study.trials) == before:
                break

    def _learn(self, trials: Sequence[Trial]) -> None:
        """Learn of rungs from trials that have ended elsewhere, in the order of their numbers, those in full first."""
        kept = sorted((t for t in trials if t.about.get("curve")), key=lambda t: t.number)
        for state in (COMPLETE, STOPPED):
            for t in kept:
                if self.halving is not None and t.state == state:
                    self.halving.learn(t.about["curve"], in_full=state == COMPLETE)

    def _over(self) -> bool:
        return self._late() or self._too_long() or self._is_full()

    def _is_full(self) -> bool:
        return self.trials is not None and self._begun() >= self.trials

    def _late(self) -> bool:
        """Whether the search is to end; time only counts once a trial has ended, or there would be no result."""
        if self.work.stopped():
            return True
        late = self.deadline is not None and time.monotonic() > self.deadline
        if self.study.best is None:
            return self._failed >= (1 if late else MOST_FAILED)
        return late

    def _too_long(self) -> bool:
        """Whether a training that began now would not end in time, going by the last full one."""
        if self.deadline is None or self.study.best is None:
            return False
        return time.monotonic() + UNFINISHED * self.took_s > self.deadline

    def _stop_all(self) -> None:
        """Keep what the running trials have reached; one without an epoch stays to be handed out again."""
        for number, running in self._running.items():
            curve = running.curve
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
                if not self._running:
                    return
                yield None  # what runs may show that a paused one was better
                continue
            # with rungs places fall free at any time, and the next trial does not wait for the slowest
            eager = bool(self.halving and self.halving.rungs)
            asked = self.study.ask(1, eager=eager)
            if not asked:
                if self.study.exhausted and not self._running:
                    return
                yield None
                continue
            trial = asked[0]
            try:
                recipe = recipe_of(self.work.base, trial.config)
            except TrainwellError as error:
                self.study.tell(trial.number, math.nan, ERROR, reason=str(error))
                self._failed += 1
                continue
            self._running[trial.number] = _Running(len(self.folds))
            for i, fold in enumerate(self.folds):
                yield LaneSpec(
                    recipe, fold.seed_of(trial.number), fold.learns, fold.judges, tag=(trial.number, i)
                )

    def _promoted(self) -> LaneSpec | None:
        """Return the paused trial that is to go on, if there is one."""
        number = self.halving.promoted() if self.halving else None
        if number is None:
            return None
        spec, curve = self._paused.pop(number)
        self._running[number] = _Running(1, [curve])
        return spec

    def _keep(self, number: int, spec: LaneSpec, paused: Paused, curve: list[float]) -> None:
        """Keep the state of a paused training, within bounds."""
        self._paused[number] = dataclasses.replace(spec, resume=paused), curve
        while self.halving and sum(_size(s.resume) for s, _ in self._paused.values()) > PAUSED_BYTES:
            worst = self.halving.worst_paused()
            if worst is None:
                break
            self.halving.forget(worst)
            self._paused.pop(worst, None)

    def _on_epoch(self, spec: LaneSpec, row: Row) -> str | None:
        number, fold = spec.tag
        running = self._running[number]
        running.curves[fold].append(self.work.value(row))
        self.epochs += 1
        if self._late():
            raise _Over
        if self.halving is None or running.is_behind:
            return BEHIND if running.is_behind else None
        curve = running.curve
        if len(self.folds) == 1:
            return None if self.halving.goes_on(len(curve), curve, number) else PAUSE
        if (
            len(curve) > running.judged
        ):  # the last of the folds has come so far; the others hear of it an epoch later
            running.judged = len(curve)
            running.is_behind = not self.halving.goes_on(len(curve), curve)
        return BEHIND if running.is_behind else None

    def _tell(self, result: LaneResult) -> None:
        number, fold = result.spec.tag
        running = self._running[number]
        running.results[fold] = self._value(result, running.curves[fold])
        if len(running.results) < len(running.curves):
            return
        del self._running[number]
        curve, reason = running.curve, result.stop_reason
        value, epochs = running.value, result.spec.recipe.epochs
        if (running.is_behind or reason == PAUSE) and len(curve) < epochs:
            self._tell_stopped(number, curve, reason)
            if result.paused is not None:
                self._keep(number, result.spec, result.paused, curve)
        else:
            state = COMPLETE if math.isfinite(value) else DIVERGED
            self._failed += state == DIVERGED
            self.study.tell(number, value, state, curve=_short(curve), reason=reason, **running.about)
            self.took_s = time.monotonic() - running.began
            if self.halving is not None and state == COMPLETE:
                self.halving.end(curve)
        self.on_tell()

    def _value(self, result: LaneResult, curve: Sequence[float]) -> float:
        """Return the value of the best epoch; NaN where no epoch had one."""
        if result.best_epoch and result.best_epoch <= len(curve):
            return curve[result.best_epoch - 1]
        return math.nan if result.stop_reason == "non-finite" else best_until(curve, len(curve))


@dataclasses.dataclass
class _Running:
    """A trial that is being trained, in one lane for each fold.

    Args:
        curves: the values of every fold, one per epoch. results: those of the folds that have ended.
        judged: the epoch until which rungs have decided. is_behind: whether it is to end.
    """

    folds: int
    curves: list[list[float]] = dataclasses.field(default_factory=list)
    results: dict[int, float] = dataclasses.field(default_factory=dict)
    began: float = dataclasses.field(default_factory=time.monotonic)
    judged: int = 0
    is_behind: bool = False

    def __post_init__(self) -> None:
        self.curves = self.curves or [[] for _ in range(self.folds)]

    @property
    def curve(self) -> list[float]:
        """The values of each epoch that all folds have had; the mean of their best ones where there are several.

        A fold that has ended stays at what it reached.
        """
        if self.folds == 1:
            return self.curves[0]
        going = [len(c) for i, c in enumerate(self.curves) if i not in self.results]
        length = min(going, default=max(map(len, self.curves)))
        return [sum(best_until(c, e) for c in self.curves) / self.folds for e in range(1, length + 1)]

    @property
    def value(self) -> float:
        """The mean of the folds' values."""
        return sum(self.results.values()) / self.folds

    @property
    def about(self) -> dict[str, list[float]]:
        """The value of each fold, where there are several."""
        return {"folds": _short([self.results[i] for i in range(self.folds)])} if self.folds > 1 else {}


def _size(paused: Paused | None) -> int:
    return sum(t.numel() * t.element_size() for t in paused.tensors.values()) if paused else 0


def _short(curve: Sequence[float]) -> list[float]:
    """Return a learning curve with as many digits as tell anything."""
    return [round(v, 6) for v in curve]
