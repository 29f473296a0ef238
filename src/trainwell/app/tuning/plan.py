"""The plan of a search with its budget: the search, then the judgement on what the search did not see."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from trainwell.app.console import Console
from trainwell.app.tuning.folds import Fold, shared_rows
from trainwell.app.tuning.live import LiveJudging, LiveSearch
from trainwell.app.tuning.report import Tuning, flags
from trainwell.app.tuning.search import Search
from trainwell.app.tuning.space import recipe_of
from trainwell.app.tuning.work import LEAST_REPEATS, Work, repeats
from trainwell.app.tuning.workers import Spread, spread_repeats
from trainwell.engine.streams import derive
from trainwell.launch.pool import Pool
from trainwell.search.belief import promising
from trainwell.search.halving import Halving
from trainwell.search.importance import importances
from trainwell.search.space import same
from trainwell.search.study import COMPLETE, Study, Trial
from trainwell.search.winner import Winner, choose_winner, least_repeats, unjudged
from trainwell.values.errors import Interrupted, TrainingError
from trainwell.values.recipe import Recipe

CONFIRM_SHARE, MOST_SHARE = 0.25, 0.45
"""Share of the budget that judges instead of searching, and how far it may grow so that one finalist can be judged.
Source: docs/log-search.md."""

SLACK, LEAST_SLACK = 1.5, 1.2
"""Time that is left for the judgement, over what it takes at the pace of the search: its stacks are smaller. The
second where time is short."""

OVERRUN = 0.05
"""Share of the budget by which the fewest repeats may overrun it; where they would take more, nothing is judged."""


@dataclasses.dataclass
class Plan:
    """A study with its budget: the search, then the judgement."""

    work: Work
    study: Study
    began: float
    end: float
    trials: int | None
    fidelity: str
    folds: Sequence[Fold]
    finalists: int
    repeats: int
    seed: int
    console: Console
    pool: Pool | None = None

    def run(self) -> Tuning:
        """Search, confirm, explain."""
        halving = None if self.fidelity == "full" else Halving(math.ceil(self.work.base.epochs))
        now = time.monotonic()
        search = self._search(now, halving)
        live = LiveSearch(self.console, self.study, search, self.began, self.end)

        def told() -> None:
            search.deadline = self._deadline(start, search.epochs)
            live.update()

        search.on_tell, start = told, time.monotonic()
        with live:
            search.run()
        spent = time.monotonic() - start
        if halving is not None and halving.why:
            at = ", ".join(map(str, halving.rungs))
            rungs = f"rungs at the end of epoch {at}" if at else "full trainings"
            self.console.say(f"fidelity  {rungs}; {halving.why}")
        return dataclasses.replace(self._judged(search, spent), before=live.before)

    def _search(self, now: float, halving: Halving | None) -> Search:
        given: dict[str, Any] = {"deadline": self._deadline(now, 0), "halving": halving, "folds": self.folds}
        if self.pool is None:
            return Search(self.work, self.study, trials=self.trials, **given)
        found = Spread(self.work, self.study, trials=self.trials, **given)
        found.pool = self.pool
        return found

    def _deadline(self, start: float, epochs: int) -> float:
        """Return when the search is to end: a quarter of its time before the end.

        Earlier where one finalist could not be judged else, later where the judgement takes less.

        Args:
            start: when the search began. epochs: that were trained since.
        """
        whole_s = self.end - start
        judged_s = whole_s * CONFIRM_SHARE
        if epochs:
            one_s = (time.monotonic() - start) / epochs * math.ceil(self.work.base.epochs)
            least_s = LEAST_SLACK * one_s * 2 * min(self.repeats, least_repeats(1))
            judged_s = max(judged_s, min(least_s, whole_s * MOST_SHARE))
            judged_s = min(judged_s, SLACK * one_s * self.repeats * (1 + self.finalists))
        return max(start, self.end - judged_s)

    def _judged(self, search: Search, spent: float) -> Tuning:
        default = next(
            (t for t in self.study.trials if same(t.config) == same(self.study.space.default())), None
        )
        done = self._promising()
        if self.work.stopped() and not done:
            path = self.study.path
            go_on = f" Go on with --resume --out {path.parent}" if path else ""
            raise Interrupted(f"interrupted before the first trial had ended.{go_on}")
        if not done or default is None:
            raise TrainingError(
                f"no trial of {len(self.study.trials)} ended with a finite result; give more budget, or a lower lr."
            )
        top = [default, *(t for t in done if t is not default)][: 1 + self.finalists]
        top, count = self._fitting(top, spent, search.epochs)
        recipes = [recipe_of(self.work.base, t.config) for t in top]
        if count:
            losses, winner = self._confirmed(recipes, count)
        else:
            self.console.say("confirm   nothing: no time is left for it, and the default is kept")
            losses, winner = np.empty((1, 0)), unjudged()
        told = [t.told() for t in self.study.trials if t.state == COMPLETE]
        best = top[winner.index]
        return Tuning(
            recipe=recipes[winner.index], config=best.config, winner=winner, task=self.work.prepared.task,
            trials=self.study.trials, losses=losses, configs=[t.config for t in top], space=self.study.space,
            importance=importances(self.study.space, told, self.seed), seconds=time.monotonic() - self.began,
            flags=flags(self.study.space, best.config, winner, self.work, len(told)), search_seconds=spent,
            best_seen=done[0].value, seed=self._seed_of(best), enough_s=self._enough_s(winner),
        )  # fmt: skip

    def _fitting(self, top: list[Trial], spent: float, epochs: int) -> tuple[list[Trial], int]:
        """Return the trials that are judged, the default first, and on how many repeats; 0 where none fit."""
        count = self._affordable(len(top), spent, epochs)
        while count / SLACK < least_repeats(len(top) - 1) and len(top) > 2:  # rather few that can be judged
            top = top[:-1]
            count = self._affordable(len(top), spent, epochs)
        repeats = max(LEAST_REPEATS, min(self.repeats, int(count)))
        left_s = self.end - time.monotonic()
        needed_s = left_s * LEAST_REPEATS / count if count > 0 else math.inf
        if needed_s - left_s > OVERRUN * (self.end - self.began) and not self.work.stopped():
            return top[:1], 0
        return top, repeats

    def _confirmed(self, recipes: Sequence[Recipe], count: int) -> tuple[Any, Winner]:
        """Train the default and its rivals on fresh seeds and splits; return their losses and the winner."""
        splits, share = self._splits(count)
        self._tell_judged(len(recipes) - 1, count)
        seeds = [derive(self.seed, "confirm", i) for i in range(count)]
        with LiveJudging(self.console, count * len(recipes), self.end) as live:
            if self.pool is None:
                losses = repeats(self.work, recipes, splits, seeds, self.end, on_tell=live.one).numpy()
            else:
                losses = spread_repeats(self.pool, recipes, splits, seeds, self.end, live.one)
        return losses, choose_winner(losses, share)

    def _tell_judged(self, rivals: int, count: int) -> None:
        names = ["the default", "1 configuration and the default", f"{rivals} configurations and the default"]
        each = " each" if rivals else ""
        self.console.say(f"confirm   {names[min(rivals, 2)]}, up to {count} fresh seeds{each}")

    def _seed_of(self, trial: Trial) -> int:
        """Return the seed with which a trial's network was trained on the parts as they are."""
        return self.folds[0].seed_of(trial.number) if len(self.folds) == 1 else self.seed

    def _enough_s(self, winner: Winner) -> float:
        """Return the budget with which a claim could be made, 0 where it can be made or nothing tells."""
        if winner.decided or not winner.repeats or self.work.stopped() or self.repeats < winner.needed:
            return 0.0
        return (self.end - self.began) * winner.needed / winner.repeats

    def _promising(self) -> list[Trial]:
        """Return the complete trials that are worth judging, the one that looked best first."""
        done = [t for t in self.study.trials if t.state == COMPLETE]
        chosen = promising(self.study.space, [t.told() for t in done], self.finalists + 1)
        return [done[i] for i in chosen]

    def _affordable(self, count: int, spent: float, epochs: int) -> float:
        """Return how many repeats fit into what is left, going by the pace of the search."""
        left = self.end - time.monotonic()
        if self.work.stopped():
            left = min(left, 0.1 * spent)
        pace = spent / max(1, epochs)
        one = pace * math.ceil(self.work.base.epochs)  # a part of an epoch counts as one
        return left / max(one * count, 1e-9)

    def _splits(self, count: int) -> tuple[list[Any], float]:
        """Return fresh splits of training and validation part, and validation over training rows.

        Where groups or time decide the split, or loaders feed, the parts stay and only the seeds are fresh.
        """
        if shared_rows(self.work) is None:
            return [None] * count, 0.0
        train, val = (len(self.work.prepared.parts[p][1]) for p in ("train", "val"))
        splits = []
        for i in range(count):
            order = np.random.default_rng([derive(self.seed, "splits"), i]).permutation(train + val)
            rows = torch.from_numpy(order)
            splits.append((rows[val:].sort().values, rows[:val].sort().values))
        return splits, val / train
