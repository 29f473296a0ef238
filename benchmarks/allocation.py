"""Regret of allocations of epochs, on the learning curves of ../shared/hpo_curves, without training.

    python benchmarks/allocation.py [--seeds 20] [--trainings 64] [--lanes 16] [--searchers gp random]

So many lanes train side by side, an epoch at a time; a place that falls free is given away at once, as in `tune`. A
trial trains with one of the three seeds of the table, drawn by its number. Regret at equal epochs, of the finished
trial that looked best: (mean over seeds of its error at the end - least) / (median - least). Shown: mean over the
seeds of the search at a quarter, half and all of `--trainings` x 27 epochs, and the paired difference to the first.

full:    every trial to its end.
cut:     a trial behind at a rung is ended.
halving: it is paused and may go on. forecast: and the searcher is told what it is expected to reach, as in `tune`.
With --mean a trial has the mean curve of the three seeds, so that nothing is noise.
"""

from __future__ import annotations

import argparse
import math
import platform
from typing import Any

import numpy as np
import pandas as pd
from regret import CURVES, space_of

from trainwell.search.draws import generator
from trainwell.search.forecast import best_until
from trainwell.search.halving import Halving
from trainwell.search.space import Space
from trainwell.search.study import COMPLETE, STOPPED, Study

NAMES = ["lr", "wd", "dropout", "width", "act", "batch"]
EPOCHS = 27


def table(name: str) -> tuple[Space, np.ndarray[Any, Any]]:
    """Return the space and the errors, (*options, seeds, epochs)."""
    frame = pd.read_parquet(CURVES / f"{name}.parquet")
    axes = {n: sorted(frame[n].unique().tolist()) for n in NAMES}
    seeds = sorted(frame["seed"].unique())
    errors = np.zeros([*(len(v) for v in axes.values()), len(seeds), EPOCHS])
    for row in frame.itertuples():
        index = tuple(axes[n].index(getattr(row, n)) for n in NAMES)
        errors[(*index, seeds.index(row.seed))] = row.val_err
    return space_of(axes), errors


class Simulated:
    """A study whose trainings are looked up."""

    def __init__(
        self, space: Space, errors: np.ndarray[Any, Any], how: str, searcher: str, seed: int, mean: bool
    ) -> None:
        self.mean = mean
        self.space, self.errors, self.how, self.seed = space, errors, how, seed
        self.study = Study(space, searcher, seed=seed, batch=16)
        self.halving = None if how == "full" else Halving(EPOCHS)
        self.at: dict[int, int] = {}
        self.path: list[tuple[int, int]] = []

    def curve(self, number: int) -> np.ndarray[Any, Any]:
        config = self.study.trials[number].config
        index = tuple(p.options.index(config[p.name]) for p in self.space)
        curves: np.ndarray[Any, Any] = self.errors[index]
        if self.mean:
            return np.asarray(curves.mean(0))
        return curves[generator(self.seed, "seed", number).integers(len(curves))]

    def next(self) -> int | None:
        if self.halving is not None and self.how != "cut":
            paused = self.halving.promoted()
            if paused is not None:
                return paused
        asked = self.study.ask(1, eager=bool(self.halving and self.halving.rungs))
        return asked[0].number if asked else None

    def run(self, lanes: int, total: int) -> list[float]:
        running, spent = list[int](), 0
        while spent < total:
            while len(running) < lanes and (number := self.next()) is not None:
                running.append(number)
            for number in list(running):
                spent += 1
                self.at[number] = self.at.get(number, 0) + 1
                if self.ended(number, spent):
                    running.remove(number)
        return [self.regret(share * total) for share in (0.25, 0.5, 1.0)]

    def ended(self, number: int, spent: int) -> bool:
        epoch, curve = self.at[number], list(self.curve(number))
        if epoch == EPOCHS:
            self.study.tell(number, best_until(curve, EPOCHS), COMPLETE)
            if self.halving is not None:
                self.halving.end(curve)
            self.path.append((spent, number))
            return True
        if self.halving is not None and not self.halving.goes_on(epoch, curve[:epoch], number):
            if self.how == "forecast":
                value, spread = self.halving.forecast(curve[:epoch])
                self.study.tell(number, value, STOPPED, spread=spread)
            else:
                self.study.tell(number, best_until(curve, epoch), STOPPED)
            return True
        return False

    def regret(self, epochs: float) -> float:
        means = self.errors[..., -1].mean(-1)
        least, middle = means.min(), np.median(means)
        done = [n for s, n in self.path if s <= epochs] or [self.path[0][1]]
        best = min(done, key=lambda n: best_until(list(self.curve(n)), EPOCHS))
        config = self.study.trials[best].config
        index = tuple(p.options.index(config[p.name]) for p in self.space)
        return float((means[index] - least) / (middle - least))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trainings", type=int, default=64)
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--tables", nargs="*", default=["hardclf", "diabetes"])
    parser.add_argument("--searchers", nargs="*", default=["gp", "random"])
    parser.add_argument("--how", nargs="*", default=["full", "cut", "halving"])
    parser.add_argument("--mean", action="store_true")
    options = parser.parse_args()
    print(
        f"{platform.machine()}, numpy {np.__version__}, {options.seeds} seeds, {options.trainings} trainings"
    )
    for name in options.tables:
        space, errors = table(name)
        for searcher in options.searchers:
            first = None
            for how in options.how:
                runs = [
                    Simulated(space, errors, how, searcher, s, options.mean) for s in range(options.seeds)
                ]
                found = np.array([r.run(options.lanes, options.trainings * EPOCHS) for r in runs])
                first = found if first is None else first
                gap = (found - first)[:, -1]
                reach = 2.09 * gap.std(ddof=1) / math.sqrt(len(gap)) if len(gap) > 1 else math.nan
                shown = " ".join(f"{v:.3f}" for v in found.mean(0))
                print(
                    f"{name:9s} {searcher:7s} {how:8s} {shown}  ({gap.mean():+.3f} +- {reach:.3f})",
                    flush=True,
                )


if __name__ == "__main__":
    main()
