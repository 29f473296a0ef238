"""Sends the trials of a study to workers, a generation at a time; this process alone writes the journal."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from trainwell.app.tuning.group import Outcome, Repeat, Shared, Trials, train_group
from trainwell.app.tuning.search import Search
from trainwell.app.tuning.space import recipe_of
from trainwell.app.tuning.work import LEAST_REPEATS
from trainwell.launch.pool import Lost, Pool
from trainwell.search.study import ERROR, Trial
from trainwell.values.errors import Interrupted, TrainwellError
from trainwell.values.recipe import Recipe

GROUP, GROUPS = 16, 4
"""Trials of a group, at most, and the groups of a generation, at least where it has so many trials."""


def group_size(batch: int) -> int:
    """Return the trials of a group; it does not depend on the workers, so that neither do the results."""
    return max(1, min(GROUP, batch // GROUPS))


def make_pool(on: str, workers: int | None, shared: Shared, say: Callable[[str], None]) -> Pool | None:
    """Return where the trials run; None for this process.

    Args:
        on: `here`, `ray`, or `ray:ADDRESS`.
        workers: processes, or tasks of Ray at a time.
    """
    kind, _, address = on.partition(":")
    if kind == "here":
        if workers is None:
            return None
        from trainwell.launch.processes import Processes

        say(f"workers   {workers} processes, groups of {GROUP} trials at most")
        return Processes(train_group, shared, workers, lambda text: say(f"workers   {text}"))
    from trainwell.launch.on_ray import OnRay

    pool = OnRay(train_group, shared, address or None, workers)
    say(f"workers   Ray, {pool.workers} tasks at a time, groups of {GROUP} trials at most")
    return pool


class Spread(Search):
    """A search whose trainings run on workers.

    The trials of a generation are cut into groups of one size and structure; each is trained as a stack by one worker,
    which knows of rungs what the generations before have shown. So the results are the same whatever the number of
    workers, and whichever ends first.
    """

    pool: Pool

    def run(self, say: Callable[[str], None] = lambda text: None) -> None:
        while not self._over() and not self.study.exhausted:
            room = math.inf if self.trials is None else self.trials - self._begun()
            asked = self.study.ask(int(min(self.study.searcher.batch, room)))
            if not asked:
                return
            groups = [self._group(g) for g in self._grouped(asked)]
            try:
                for index, found in self.pool.run(groups, self.work.stopped):
                    self._take(groups[index], found)
            except Interrupted as error:
                self.work.stop(error.exit_code - 128)
                return
            self._learn(asked)

    def _grouped(self, asked: Sequence[Trial]) -> Iterator[list[Trial]]:
        """Cut a generation into groups of trials of one structure each, as far as their numbers allow."""
        keyed: list[tuple[str, int, Trial]] = []
        for trial in asked:
            try:
                recipe = recipe_of(self.work.base, trial.config)
            except TrainwellError as error:
                self.study.tell(trial.number, math.nan, ERROR, reason=str(error))
                continue
            kind = f"{recipe.model} {recipe.batch_size} {[t.name for t in recipe.techniques]}"
            keyed.append((kind, trial.number, trial))
        ordered = [t for _, _, t in sorted(keyed, key=lambda k: k[:2])]
        size = group_size(self.study.searcher.batch)
        for start in range(0, len(ordered), size):
            yield ordered[start : start + size]

    def _group(self, trials: Sequence[Trial]) -> Trials:
        deadline = None if self.deadline is None else time.time() + self.deadline - time.monotonic()
        return Trials(
            [(t.number, t.config) for t in trials],
            self.halving,
            deadline,
            self.study.best is not None,
            self.took_s,
        )

    def _take(self, group: Trials, found: Outcome | Lost) -> None:
        """Keep what became of a group."""
        if isinstance(found, Lost):
            for number, _ in group.trials:
                self.study.tell(number, math.nan, ERROR, reason=found.reason)
            return
        self.epochs += found.epochs
        self.took_s = max(self.took_s, found.took_s)
        for told in found.told:
            self.study.tell(**told)
            self.on_tell()


def spread_repeats(
    pool: Pool,
    recipes: Sequence[Recipe],
    splits: Sequence[Any],
    seeds: Sequence[int],
    deadline: float,
    on_tell: Callable[[], None] = lambda: None,
) -> np.ndarray[Any, Any]:
    """Return what `repeats` returns, one group for each repeat."""
    wall = time.time() + min(deadline - time.monotonic(), 1e9)
    groups = [
        Repeat(recipes, split, seed, wall, i < LEAST_REPEATS)
        for i, (split, seed) in enumerate(zip(splits, seeds, strict=True))
    ]
    found = dict[int, Any]()
    for index, losses in pool.run(groups):
        found[index] = losses
        for _ in recipes:
            on_tell()
    whole = [found[i] for i in sorted(found) if isinstance(found[i], np.ndarray)]
    if len(whole) < min(LEAST_REPEATS, len(groups)):
        raise Interrupted("interrupted before the confirmation had two repeats.")
    return np.concatenate(whole, 1)
