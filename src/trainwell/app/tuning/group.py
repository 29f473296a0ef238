"""A fused group of trials or of repeats, as a worker trains it."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from trainwell.app.sources import Prepared
from trainwell.app.tuning.folds import Fold
from trainwell.app.tuning.search import Search
from trainwell.app.tuning.work import Builder, Work, repeats
from trainwell.search.halving import Halving
from trainwell.search.space import Config
from trainwell.search.study import Trial
from trainwell.values.errors import Interrupted
from trainwell.values.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Shared:
    """All that the groups of a search are trained with."""

    prepared: Prepared
    base: Recipe
    build: Builder
    loss: Any
    device: str
    max_lanes: int
    folds: Sequence[Fold]

    @classmethod
    def of(cls, work: Work, folds: Sequence[Fold]) -> Shared:
        """Return what a worker needs; the test part stays here."""
        prepared = work.prepared
        parts = {k: v for k, v in prepared.parts.items() if k != "test"}
        table = prepared.table
        if table is not None:  # its tensors are in the parts
            table = dataclasses.replace(table, splits={}, cells={}, labels={})
        prepared = dataclasses.replace(prepared, parts=parts, table=table, notes=())
        return cls(prepared, work.base, work.build, work.loss, str(work.device), work.max_lanes, folds)

    def work(self, stopped: Callable[[], bool]) -> Work:
        return Work(
            self.prepared, self.base, self.build, self.loss, torch.device(self.device), stopped,
            max_lanes=self.max_lanes,
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Trials:
    """A group of trials.

    Args:
        halving: what is known of rungs; the group learns on in a copy of it.
        deadline: `time.time()` at which the search ends, the same on every machine; None for no bound.
        has_best: whether a trial of the study has ended, so that time counts.
        took_s: what the last full training took.
    """

    trials: Sequence[tuple[int, Config]]
    halving: Halving | None
    deadline: float | None
    has_best: bool
    took_s: float


@dataclasses.dataclass(frozen=True)
class Repeat:
    """One fresh seed and split, on which all finalists are judged.

    Args:
        must: whether it is trained though the time is up.
    """

    recipes: Sequence[Recipe]
    split: Any
    seed: int
    deadline: float
    must: bool


class Given:
    """A study in a worker: it hands out the trials of its group and keeps what is told for the true one."""

    def __init__(self, group: Trials) -> None:
        self.trials = [Trial(n, c) for n, c in group.trials]
        self.told: dict[int, Mapping[str, Any]] = {}
        self._asked, self._has_best = 0, group.has_best

    @property
    def exhausted(self) -> bool:
        return self._asked >= len(self.trials)

    @property
    def best(self) -> Any:
        return True if self._has_best or any(t["state"] == "complete" for t in self.told.values()) else None

    def ask(self, count: int = 1, *, eager: bool = False) -> list[Trial]:
        found = self.trials[self._asked : self._asked + count]
        self._asked += len(found)
        return found

    def tell(self, number: int, value: float, state: str = "complete", **about: Any) -> bool:
        self.told[number] = {"number": number, "value": value, "state": state, **about}
        return True


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a group of trials: what is to be told, and the epochs and seconds that it took."""

    told: Sequence[Mapping[str, Any]]
    epochs: int
    took_s: float


def train_group(shared: Shared, group: Trials | Repeat, stopped: Callable[[], bool]) -> Any:
    """Train a group in a worker."""
    work = shared.work(stopped)
    if isinstance(group, Repeat):
        return _repeated(work, group)
    given: Any = Given(group)
    search = Search(
        work, given, trials=None, deadline=_here(group.deadline), halving=copy.deepcopy(group.halving),
        folds=shared.folds, took_s=group.took_s,
    )  # fmt: skip
    search.run()
    return Outcome([given.told[n] for n in sorted(given.told)], search.epochs, search.took_s)


def _repeated(work: Work, group: Repeat) -> Any:
    deadline = math.inf if group.must else _here(group.deadline)
    assert deadline is not None
    if time.monotonic() > deadline:
        return None
    try:
        losses = repeats(work, group.recipes, [group.split], [group.seed], deadline, least=0)
    except Interrupted:
        return None
    return losses.numpy() if losses.shape[1] else None


def _here(deadline: float | None) -> float | None:
    """Return a time of the clock of all machines as one of this machine's `time.monotonic()`."""
    return None if deadline is None else time.monotonic() + deadline - time.time()
