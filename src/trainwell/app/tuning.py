"""`tune`: search the recipes around one, and judge the best on trainings that the search did not see."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from trainwell.app import settings
from trainwell.app.console import Console
from trainwell.app.fit import fit
from trainwell.app.presets import preset as preset_recipe
from trainwell.app.run import Run
from trainwell.app.sources import Prepared, prepare
from trainwell.app.tuning_folds import Fold, shared_rows
from trainwell.app.tuning_live import Live
from trainwell.app.tuning_pace import Fitted, fitted
from trainwell.app.tuning_report import Tuning, flags
from trainwell.app.tuning_search import Search
from trainwell.app.tuning_space import make_space, recipe_of
from trainwell.app.tuning_work import Work, repeats
from trainwell.engine.hardware import choose_device
from trainwell.engine.interrupts import Interrupts
from trainwell.engine.streams import derive
from trainwell.search.belief import expected
from trainwell.search.halving import Halving
from trainwell.search.importance import importances
from trainwell.search.policy import choose_searcher
from trainwell.search.space import Space, same
from trainwell.search.study import COMPLETE, Study, Trial, header_of
from trainwell.search.winner import choose_winner, least_repeats
from trainwell.values.errors import Interrupted, TrainingError, UsageError
from trainwell.values.recipe import ModelSpec, Recipe
from trainwell.values.runfolder import RunFolder

CONFIRM_SHARE = 0.25
"""Share of the budget that judges instead of searching. Source: docs/log-search.md."""

FINALISTS, REPEATS = 4, 8
"""Configurations that are judged beside the default, and on how many seeds and splits."""

STUDY = "study.jsonl"

Model = nn.Module | Callable[..., nn.Module]


def tune(
    data: Any,
    target: str | None = None,
    *,
    model: Model | None = None,
    loss: Callable[..., Any] | None = None,
    recipe: Recipe | None = None,
    preset: str = "balanced",
    settings_: Mapping[str, Any] | None = None,
    space: Space | str | Path | Iterable[str] | None = None,
    searcher: str = "auto",
    budget: str | float = "10m",
    trials: int | None = None,
    fidelity: str = "auto",
    folds: str | int = "auto",
    finalists: int = FINALISTS,
    repeats: int = REPEATS,
    seed: int = 0,
    batch: int | None = None,
    device: str | None = None,
    out: str | Path | bool | None = None,
    resume: bool = False,
    console: Console | None = None,
    **data_options: Any,
) -> Tuning:
    """Search for the recipe that learns these data best, and say how good it truly is.

    Helps where the default recipe does not fit the data. Harms where the validation part is so small that the best of
    many trials is the luckiest: the result then says that the default is not beaten.

    Args:
        data, target, loss, data_options: as for `fit`.
        model: a module, copied for every trial; or a function recipe -> module, which may read `recipe.model.get(...)`.
        recipe, preset, settings_: the default that is searched around.
        space: a Space, a file, or lines like `lr=[1e-4, 0.1] log`, `model.depth=1|2|3`, `-l1.rate`.
        searcher: `auto`, `grid`, `random`, `sobol`, `gp`, `optuna:tpe`, ...
        budget: time for all of it, e.g. `"90s"`, `"10m"`, `"1h"`, or seconds.
        trials: trainings of the search at most.
        fidelity: `auto` ends trainings early where early results predict the end, `full` never does.
        folds: K or KxR: a trial is the mean over K folds (R times); 1 for one split, `auto` for folds where data are few.
        finalists, repeats: configurations that are judged beside the default, each on so many fresh seeds and splits.
        batch: trials that are proposed knowing the same results; None for 64, or a quarter of `trials`.
        out: folder of the study; None makes `runs/...`, False keeps it in memory.
        resume: go on with the study in `out`.

    Raises:
        UsageError, DataError: something the message says how to mend.
        TrainingError: no trial gave a finite result.
    """
    began = time.monotonic()
    console = console or Console.silent()
    seconds = _seconds(budget)
    prepared = prepare(data, target, own_model=model is not None, loss=loss, options=data_options)
    if prepared.parts.get("val") is None:
        raise UsageError(
            "tune needs a validation part to choose by; give one, or leave val_fraction above 0."
        )
    console.data(prepared)
    base = settings.apply(_base(prepared, recipe, preset, model), settings=settings_)
    searched = make_space(base, space, prepared.task, own_model=model is not None, num_rows=prepared.num_rows)
    folder = _folder(out, prepared, resume=resume)
    interrupts = Interrupts()
    work = Work(
        prepared, base, _builder(model, prepared), loss, choose_device(device), lambda: bool(interrupts.signal),
        lambda number: setattr(interrupts, "signal", number),
    )  # fmt: skip
    prepared_s = time.monotonic() - began
    kept = header_of(folder.path / STUDY) if folder is not None and resume else None
    left = seconds - 2 * prepared_s
    with _one_thread(work.device):
        made = fitted(
            work,
            searched,
            left,
            seed,
            kept,
            free=space is None,
            counted=trials is not None,
            folds=str(folds),
            console=console,
        )
    study = _study(made, kept, searcher, trials, batch, seed, folder, console)
    with study, _one_thread(work.device):
        end = began + seconds - prepared_s - made.final_s
        plan = Plan(
            made.work, study, began, end, trials, fidelity, made.folds, finalists, repeats, seed, console
        )
        with interrupts:
            found = plan.run()
        found.interrupted = interrupts.signal
        found.path = folder.path if folder else None
        last = {} if model is None else {"model": _made(model, found.recipe, seed)}
        found.run = _final(found, data, target, last, loss, seed, device, folder, data_options)
    if folder is not None:
        folder.write_json("tuning", found.to_dict())
    return found


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

    def run(self) -> Tuning:
        """Search, confirm, explain."""
        halving = None if self.fidelity == "full" else Halving(math.ceil(self.work.base.epochs))
        now = time.monotonic()
        deadline = now + max(0.0, self.end - now) * (1 - CONFIRM_SHARE)
        live = Live(self.console, self.study, self.work, self.began, deadline, halving)
        search = Search(
            self.work, self.study, trials=self.trials, deadline=deadline, halving=halving, folds=self.folds,
            on_tell=live.update,
        )  # fmt: skip
        start = time.monotonic()
        with live:
            search.run()
        spent = time.monotonic() - start
        if halving is not None and halving.why:
            self.console.say(f"fidelity  rungs {halving.rungs or 'none: full trainings'}; {halving.why}")
        return self._judged(search, spent)

    def _judged(self, search: Search, spent: float) -> Tuning:
        default = next((t for t in self.study.trials if same(t.config) == same(self.study.first[0])), None)
        done = self._promising()
        if self.work.stopped() and not done:
            raise Interrupted("interrupted before the first trial had ended.")
        if not done or default is None:
            raise TrainingError(
                f"no trial of {len(self.study.trials)} ended with a finite result; give more budget, or a lower lr."
            )
        top = [default, *(t for t in done if t is not default)][: 1 + self.finalists]
        count = self._affordable(len(top), spent, search.epochs)
        while count < least_repeats(len(top) - 1) and len(top) > 2:  # rather few that can be judged
            top.pop()
            count = self._affordable(len(top), spent, search.epochs)
        recipes = [recipe_of(self.work.base, t.config) for t in top]
        splits, share = self._splits(count)
        self.console.say(
            f"confirm   {len(top) - 1} configurations and the default, up to {count} fresh seeds each"
        )
        seeds = [derive(self.seed, "confirm", i) for i in range(count)]
        losses = repeats(self.work, recipes, splits, seeds, self.end).numpy()
        seen = [t.value for t in top]
        winner = choose_winner(losses, seen, share)
        told = [t.told() for t in self.study.trials if t.state == COMPLETE]
        best = top[winner.index]
        return Tuning(
            recipe=recipes[winner.index], config=best.config, winner=winner, task=self.work.prepared.task,
            trials=self.study.trials, losses=losses, configs=[t.config for t in top], space=self.study.space,
            importance=importances(self.study.space, told, self.seed), seconds=time.monotonic() - self.began,
            flags=flags(self.study.space, best.config, winner, self.work.prepared, len(told)), search_seconds=spent,
            best_seen=done[0].value,
        )  # fmt: skip

    def _promising(self) -> list[Trial]:
        """Return the complete trials: the one that looked best, then by what is expected of them on another seed."""
        done = sorted((t for t in self.study.trials if t.state == COMPLETE), key=lambda t: t.value)
        losses = expected(self.study.space, [t.told() for t in done])
        order = np.argsort(losses, kind="stable")
        return [*done[:1], *(done[i] for i in order if i)]

    def _affordable(self, count: int, spent: float, epochs: int) -> int:
        """Return how many repeats fit into what is left, going by the pace of the search; at least 2."""
        left = self.end - time.monotonic()
        if self.work.stopped():
            left = min(left, 0.1 * spent)
        pace = spent / max(1, epochs)
        one = pace * self.work.base.epochs
        return max(2, min(self.repeats, int(left / max(one * count, 1e-9))))

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


def _seconds(budget: str | float) -> float:
    fields = {"seconds": float(budget)} if isinstance(budget, int | float) else settings.parse_budget(budget)
    if set(fields) != {"seconds"} or fields["seconds"] <= 0:
        raise UsageError(
            f"--budget {budget}: tune takes a time, e.g. 90s, 10m or 1h; --trials counts trainings."
        )
    return fields["seconds"]


def _base(prepared: Prepared, recipe: Recipe | None, preset: str, model: Model | None) -> Recipe:
    """Return the recipe that is searched around."""
    if recipe is None and model is not None:
        recipe = Recipe(techniques=())
    if recipe is None:
        if prepared.task is None or prepared.inputs is None:
            raise UsageError(
                "these data need a model: give model=your_module or a function recipe -> module."
            )
        recipe = preset_recipe(preset, prepared.task, prepared.num_rows, prepared.inputs)
    if model is not None and recipe.model.family != "module":
        recipe = recipe.replace(model=ModelSpec("module", recipe.model.params))
    return recipe.replace(seconds=None)


def _made(model: Model, recipe: Recipe, seed: int) -> nn.Module:
    """Return a fresh module of the user's; a function draws its weights from torch's own stream."""
    import copy

    if isinstance(model, nn.Module):
        return copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "init"))
        return model(recipe)


def _builder(model: Model | None, prepared: Prepared) -> Callable[[Recipe, torch.Generator], nn.Module]:
    """Return what makes the network of a recipe."""

    def build(recipe: Recipe, generator: torch.Generator) -> nn.Module:
        if model is not None:
            return _made(model, recipe, int(torch.randint(2**31, (1,), generator=generator)))
        assert prepared.inputs is not None and prepared.task is not None
        from trainwell.models import build_model

        return build_model(recipe.model, prepared.inputs, prepared.task.num_outputs, generator)

    return build


def _batch(trials: int | None, name: str) -> int:
    """Return the trials of a generation: a stack full, or a quarter of few trials, so that something is learned."""
    if name.startswith("optuna"):
        return 8
    return 64 if trials is None else max(4, min(64, trials // 4))


def _tell_plan(console: Console, space: Space, name: str, why: str) -> None:
    console.say(f"searcher  {name}: {why}")
    size = f"{space.size:,.0f} configurations" if math.isfinite(space.size) else "reals among them"
    console.say(f"space     {len(space)} parameters, {size}")
    for line in space.lines():
        console.say(f"          {line}")


def _folder(out: str | Path | bool | None, prepared: Prepared, *, resume: bool) -> RunFolder | None:
    if resume:
        if out in (None, True, False) or not Path(str(out)).is_dir():
            raise UsageError("--resume needs --out FOLDER, the folder of the study.")
        return RunFolder(Path(str(out)).resolve())
    if out is False:
        return None
    hint = Path(str(prepared.source.get("data", prepared.kind))).stem
    return RunFolder.create(None if out in (None, True) else Path(str(out)), f"tune-{hint}")


def _study(
    made: Fitted, kept: Mapping[str, Any] | None, searcher: str, trials: int | None, batch: int | None, seed: int,
    folder: RunFolder | None, console: Console,
) -> Study:  # fmt: skip
    """Choose the searcher and the size of a generation, tell the plan and open the study.

    Args:
        kept: what the study was begun with, if it goes on.
    """
    name, why = choose_searcher(made.space, trials) if searcher == "auto" else (searcher, "as asked")
    if kept is not None and searcher == "auto":
        name, why = str(kept["searcher"]), "as the study began"
    _tell_plan(console, made.space, name, why)
    most = trials if made.affordable > 4 * 64 else int(min(trials or math.inf, made.affordable))
    size = batch or (int(kept["batch"]) if kept is not None else _batch(most, name))
    path = folder.path / STUDY if folder is not None else None
    first = [made.space.default()]
    study = Study(made.space, name, seed=seed, batch=size, first=first, path=path, about=made.about)
    for note in study.notes:
        console.say(f"warning   {note}")
    return study


@contextlib.contextmanager
def _one_thread(device: torch.device) -> Any:
    """Small networks train fastest on one thread."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(min(before, int(os.environ.get("OMP_NUM_THREADS", "1") or 1)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _final(
    found: Tuning, data: Any, target: str | None, own: dict[str, Any], loss: Any, seed: int, device: str | None,
    folder: RunFolder | None, data_options: Mapping[str, Any],
) -> Run:  # fmt: skip
    """Train the winner once more on the parts as they are; the test part is opened here, once."""
    out: Any = False
    if folder is not None:  # a study that went on has a winner before
        names = ("best", *(f"best-{i}" for i in range(2, 1000)))
        out = next(folder.path / n for n in names if not (folder.path / n).exists())
    return fit(
        data, target, recipe=found.recipe, seed=seed, device=device, out=out, loss=loss, watch=False,
        baseline=False, **own, **data_options,
    )  # fmt: skip
