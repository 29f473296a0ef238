"""Speed, honesty and worth of `tune`.

    python benchmarks/tune.py speed|equal|optuna [--studies 200] [--seeds 10] [--seconds 10] [--cells FILE]

speed:  complete trainings a second of a 20-16-16-4 network, 27 epochs, 750 rows (the data of ../shared/hpo_curves).
equal:  studies in which all configurations are equal (what is searched only draws other first weights);
        how often "better than the default" is claimed.
optuna: equal CPU time for `tune` and for Optuna's TPE with Hyperband over a hand-written sequential loop; on three
        data sets the test accuracy of the network that each gives back, and the mean of 16 fresh trainings of its
        configuration, each by its own loop, whose time is not counted. `--data NAME --first SEED --seeds 1` runs one
        cell, `--cells FILE` adds what was measured to a file; `cells --cells FILE` prints the table of it.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import trainwell as tw
from trainwell.engine.assemble import Source
from trainwell.engine.lanes import LaneSpec, train_lanes
from trainwell.engine.streams import seeded
from trainwell.search.parameter import Parameter
from trainwell.search.space import Space
from trainwell.values.task import Task

Part = tuple[Tensor, Tensor]

AGAIN, FRESH = 16, 50_000
"""Fresh trainings of what was chosen, and the first of their seeds."""


def hardclf(seed: int = 0) -> tuple[Part, Part, Part]:
    from sklearn.datasets import make_classification

    x, y = make_classification(1500, 20, n_informative=8, n_classes=4, flip_y=0.15, random_state=seed)
    return parts(x, y, seed)


def digits(seed: int = 0) -> tuple[Part, Part, Part]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return parts(x / 16, y, seed)


def cancer(seed: int = 0) -> tuple[Part, Part, Part]:
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return parts((x - x.mean(0)) / x.std(0), y, seed)


def parts(x: Any, y: Any, seed: int) -> tuple[Part, Part, Part]:
    """Return half of the rows to train, a quarter to choose and a quarter to test."""
    order = np.random.default_rng(seed).permutation(len(x))
    a, b = len(x) // 2, len(x) * 3 // 4
    x, y = torch.tensor(x[order], dtype=torch.float32), torch.tensor(y[order])
    return (x[:a], y[:a]), (x[a:b], y[a:b]), (x[b:], y[b:])


def network(inputs: int, classes: int, width: int, dropout: float = 0.0) -> nn.Sequential:
    drop = [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.ReLU(),
        *drop,
        nn.Linear(width, width),
        nn.ReLU(),
        *drop,
        nn.Linear(width, classes),
    )


def speed(options: argparse.Namespace) -> None:
    (x, y), (vx, vy), _ = hardclf()
    base = tw.Recipe(optimizer="adamw", lr=3e-3, epochs=27, batch_size=options.batch, schedule="cosine")
    task = Task("multiclass", (0, 1, 2, 3))
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(3):
        specs = [
            LaneSpec(
                base.replace(lr=float(10 ** rng.uniform(-4, -1))).with_("weight_decay", "dropout"), seed=s
            )
            for s in range(options.studies)
        ]
        start = time.process_time()
        data = Source(((x,), y), ((vx,), vy))
        train_lanes(specs, data, task, model=lambda r, g: network(20, 4, 16), max_lanes=options.lanes)
        rates.append(len(specs) / (time.process_time() - start))
    print(f"trainings a CPU-second: {np.median(rates):.1f} (batch {options.batch}, {options.lanes} lanes)")


def equal(options: argparse.Namespace) -> None:
    """Search a parameter that only changes the first weights: no value of it is better than another."""

    def build(recipe: tw.Recipe) -> nn.Module:
        torch.manual_seed(int(torch.randint(2**31, ())) + int(1e6 * recipe.model.get("unused", 0.5)))
        return network(20, 4, 8)

    claims, default = 0, 0
    space = Space((Parameter("model.unused", 0.0, 1.0, default=0.5),))
    base = tw.Recipe(lr=1e-2, epochs=4, batch_size=64, schedule="cosine")
    for study in range(options.first, options.first + options.studies):
        (x, y), (vx, vy), _ = hardclf(study)
        keep = 200
        found = tw.tune(
            ((x[:keep], y[:keep]), (vx[:100], vy[:100])), model=build, recipe=base, space=space,
            trials=24, budget=60.0, out=False, seed=study, fidelity="full", searcher="random",
        )  # fmt: skip
        claims += found.winner.beats_default
        default += found.winner.index == 0
        if (study + 1) % 20 == 0:
            done = study + 1 - options.first
            print(f"{done} studies: {claims} claims, default chosen {default} times", flush=True)


def by_tune(split: tuple[Part, Part, Part], seed: int, seconds: float) -> dict[str, float]:
    train, val, test = split
    classes = int(train[1].max()) + 1

    def build(recipe: tw.Recipe) -> nn.Module:
        return network(train[0].shape[1], classes, recipe.model.get("width", 16))

    start = time.process_time()
    found = tw.tune(
        (train, val), model=build, recipe=tw.Recipe(lr=1e-2, epochs=27, batch_size=32, schedule="cosine"),
        space=["model.width=16|32|64", "lr=[1e-4, 1e-1] log", "batch_size=16|32|64", "-label_smoothing.amount",
               "-l1.rate", "-schedule"],
        budget=seconds, out=False, seed=seed,
    )  # fmt: skip
    used = time.process_time() - start
    full = sum(t.state == "complete" for t in found.trials)

    def fresh(recipe: tw.Recipe, generator: torch.Generator) -> nn.Module:
        with seeded(int(torch.randint(2**31, (1,), generator=generator))):
            return build(recipe)

    specs = [LaneSpec(found.recipe, seed=FRESH + s) for s in range(AGAIN)]
    data = Source(((train[0],), train[1]), ((val[0],), val[1]))
    again = train_lanes(specs, data, Task("multiclass", tuple(range(classes))), model=fresh)
    return {
        "cpu_s": used, "tune": accuracy(found.model, test), "tune_trials": len(found.trials), "tune_full": full,
        "tune_again": float(np.mean([accuracy(r.model, test) for r in again])),
    }  # fmt: skip


@torch.no_grad()
def accuracy(model: nn.Module, part: Part) -> float:
    model.eval()
    return float((model(part[0]).argmax(1) == part[1]).float().mean())


def trained(
    split: tuple[Part, Part, Part], given: dict[str, Any], seed: int, goes_on: Callable[[int, float], bool]
) -> tuple[float, nn.Module]:
    """Train by a sequential loop with a fused optimizer; return validation accuracy and network of its best epoch.

    Args:
        goes_on: told of every epoch and the best accuracy so far.
    """
    train, val, _ = split
    torch.manual_seed(seed)
    model = network(train[0].shape[1], int(train[1].max()) + 1, given["width"], given["dropout"])
    opt = torch.optim.AdamW(model.parameters(), given["lr"], weight_decay=given["wd"], fused=True)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(opt, 27 * math.ceil(len(train[0]) / given["batch"]))
    best, kept = -math.inf, model
    for epoch in range(27):
        model.train()
        for rows in torch.randperm(len(train[0])).split(given["batch"]):
            loss = nn.functional.cross_entropy(model(train[0][rows]), train[1][rows])
            opt.zero_grad()
            loss.backward()
            opt.step()
            plan.step()
        now = accuracy(model, val)
        if now > best:
            best, kept = now, copy.deepcopy(model)
        if not goes_on(epoch + 1, best):
            break
    return best, kept


def by_optuna(split: tuple[Part, Part, Part], seed: int, seconds: float) -> dict[str, float]:
    """TPE with Hyperband over the sequential loop; the best network by validation at its best epoch."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    test, start = split[2], time.process_time()
    best: dict[str, Any] = {"value": -math.inf}

    def objective(trial: Any) -> float:
        def goes_on(epoch: int, value: float) -> bool:
            trial.report(value, epoch)
            if time.process_time() - start > seconds:
                trial.study.stop()
                return False
            return not trial.should_prune()

        given = {
            "lr": trial.suggest_float("lr", 1e-4, 1e-1, log=True),
            "wd": trial.suggest_float("wd", 1e-6, 1.0, log=True),
            "dropout": trial.suggest_float("dropout", 0, 0.7),
            "batch": trial.suggest_categorical("batch", [16, 32, 64]),
            "width": trial.suggest_categorical("width", [16, 32, 64]),
        }
        value, model = trained(split, given, trial.number + 1000 * seed, goes_on)
        if value > best["value"]:
            best.update(value=value, model=model, given=given)
        if trial.should_prune():
            raise optuna.TrialPruned
        return value

    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=27, reduction_factor=3),
    )  # fmt: skip
    study.optimize(objective)
    full = sum(len(t.intermediate_values) == 27 for t in study.trials)
    again = [trained(split, best["given"], FRESH + s, lambda *_: True)[1] for s in range(AGAIN)]
    return {
        "optuna": accuracy(best["model"], test), "optuna_trials": len(study.trials), "optuna_full": full,
        "optuna_again": float(np.mean([accuracy(m, test) for m in again])),
    }  # fmt: skip


def quantile(count: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, max(1, count - 1)))


SETS: dict[str, Callable[[int], Any]] = {"hardclf": hardclf, "digits": digits, "cancer": cancer}


def against_optuna(options: argparse.Namespace) -> None:
    cells = list[dict[str, Any]]()
    for name in options.data:
        for seed in range(options.first, options.first + options.seeds):
            split = SETS[name](seed)
            mine = by_tune(split, seed, options.seconds)
            cells.append({"data": name, "seed": seed, **mine, **by_optuna(split, seed, mine["cpu_s"])})
            if options.cells:
                with options.cells.open("a") as file:
                    file.write(json.dumps(cells[-1]) + "\n")
    show(cells)


def show(cells: list[dict[str, Any]]) -> None:
    """Print the paired differences of what was measured."""
    for name in dict.fromkeys(c["data"] for c in cells):
        own = {
            k: np.array([c[k] for c in cells if c["data"] == name], dtype=float)
            for k in cells[0]
            if k != "data"
        }
        means = {k: v.mean() for k, v in own.items()}
        print(
            f"{name}, {len(own['seed'])} seeds, {means['cpu_s']:.1f} CPU-s each: tune {means['tune_trials']:.0f} trials, "
            f"{means['tune_full']:.0f} in full; TPE + Hyperband {means['optuna_trials']:.0f}, "
            f"{means['optuna_full']:.0f} in full"
        )
        for what, end in (("network", ""), ("configuration", "_again")):
            d = own[f"tune{end}"] - own[f"optuna{end}"]
            reach = quantile(len(d)) * d.std(ddof=1) / math.sqrt(len(d)) if len(d) > 1 else math.nan
            print(
                f"  {what:13s} tune {means['tune' + end]:.4f}  TPE + Hyperband {means['optuna' + end]:.4f}  "
                f"difference {d.mean():+.4f} +- {reach:.4f}",
                flush=True,
            )


def read_cells(options: argparse.Namespace) -> None:
    show([json.loads(line) for line in options.cells.read_text().splitlines()])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["speed", "equal", "optuna", "cells"])
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--data", nargs="*", choices=list(SETS), default=list(SETS))
    parser.add_argument("--cells", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lanes", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.machine()}, torch {torch.__version__}, one thread")
    {"speed": speed, "equal": equal, "optuna": against_optuna, "cells": read_cells}[options.what](options)


if __name__ == "__main__":
    main()
