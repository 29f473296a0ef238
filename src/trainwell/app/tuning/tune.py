"""`tune`: search the recipes around one, and judge the best on trainings that the search did not see."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainwell.app import settings
from trainwell.app.console import Console
from trainwell.app.fit import fit
from trainwell.app.recipes import placed, recipe_for
from trainwell.app.run import Run
from trainwell.app.sources import Prepared, prepare
from trainwell.app.transfer import to_search
from trainwell.app.tuning.folds import check_folds
from trainwell.app.tuning.group import Shared
from trainwell.app.tuning.live import span
from trainwell.app.tuning.options import check_options, parse_time
from trainwell.app.tuning.pace import Fitted, fitted
from trainwell.app.tuning.place import placed_space
from trainwell.app.tuning.plan import Plan
from trainwell.app.tuning.report import Tuning, counted
from trainwell.app.tuning.space import make_space
from trainwell.app.tuning.work import Builder, Work
from trainwell.app.tuning.workers import GROUP, GROUPS, make_pool
from trainwell.engine.hardware import choose_device
from trainwell.engine.interrupts import Interrupts
from trainwell.engine.streams import Streams
from trainwell.launch.pool import Pool
from trainwell.search.policy import choose_searcher
from trainwell.search.space import Space
from trainwell.search.study import Study, header_of
from trainwell.values.errors import UsageError
from trainwell.values.recipe import ModelSpec, Recipe
from trainwell.values.runfolder import RunFolder

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
    on: str = "here",
    workers: int | None = None,
    out: str | Path | bool | None = None,
    resume: bool = False,
    optuna_from: str | None = None,
    optuna_to: str | None = None,
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
        fidelity: `auto` pauses trainings at rungs where early results predict the end, `full` never does.
        folds: K or KxR: a trial is the mean over K folds (R times); 1 for one split, `auto` for folds where data are few.
        finalists, repeats: configurations that are judged beside the default, each on so many fresh seeds and splits.
        batch: trials that are proposed knowing the same results; None for 64, or a quarter of `trials`.
        on, workers: where trials run: `here`, or `ray[:ADDRESS]` (extra `[ray]`); with `workers` in so many processes, or
            tasks of Ray at a time. A script that does so begins under `if __name__ == "__main__":`.
        out: folder of the study; None makes `runs/...`, False keeps it in memory.
        resume: go on with the study in `out`.
        optuna_from, optuna_to: storages of Optuna, `sqlite:///study.db` or `sqlite:///study.db#name`: its trials begin
            the study, and all trials are written there at the end, for its dashboard.

    Raises:
        UsageError, DataError: something the message says how to mend.
        TrainingError: no trial gave a finite result.
    """
    began, seconds = time.monotonic(), parse_time(budget)
    given = {"searcher": searcher, "budget": budget, "trials": trials, "fidelity": fidelity, "folds": folds,
             "finalists": finalists, "repeats": repeats, "batch": batch, "on": on, "workers": workers,
             "optuna_from": optuna_from, "optuna_to": optuna_to}  # fmt: skip
    check_options(given, out=out, resume=resume)
    console, used = console or Console.silent(), choose_device(device)
    data, recipe, settings_, data_options = _around(data, target, recipe, preset, settings_, data_options)
    read, prepared = time.monotonic(), _prepared(data, target, model, loss, data_options)
    console.data(prepared)
    base = _base(prepared, recipe, preset, model, settings_, console)
    interrupts, build = Interrupts(), _builder(model, prepared)
    searched = _searched(base, space, prepared, build, loss, console)
    work = _work(prepared, base, build, loss, used, interrupts)
    check_folds(work, folds)
    prepared_s = time.monotonic() - read  # once more for the last training
    kept = header_of(Path(str(out)) / STUDY) if resume else None
    with _one_thread(work.device):
        made = fitted(
            work, searched, began + seconds - time.monotonic() - prepared_s, seed, kept,
            free=space is None, trials=trials, folds=str(folds),
            console=console, side_by_side=workers or 1,
        )  # fmt: skip
    pool = make_pool(on, workers, Shared.of(made.work, made.folds), console.say)
    folder = _folder(out, prepared, resume=resume)
    study = _study(made, kept, searcher, trials, batch, seed, folder, pool, console)
    with study, _one_thread(work.device):
        copied = _exchanged(study, optuna_from, optuna_to, console)
        end = began + seconds - prepared_s - made.final_s
        plan = Plan(
            made.work, study, began, end, trials, fidelity, made.folds, finalists, repeats, seed, console, pool,
        )  # fmt: skip
        found = _carried_out(plan, interrupts, pool)
        copied()
        found.path = folder.path if folder else None
        found.flags = [*_shortened(made.work.base, base), *found.flags]
        console.say(f"train     the winner once more, {span(made.final_s)} or so")
        found.run = _final(found, data, target, build, loss, device, folder, data_options)
    if folder is not None:
        folder.write_json("tuning", found.to_dict())
    return found


def _searched(
    base: Recipe, space: Any, prepared: Prepared, build: Builder, loss: Any, console: Console
) -> Space:
    rows = prepared.num_rows if isinstance(prepared.parts["train"], tuple) else None
    usual, made = (
        make_space(base, given, prepared.task, own_model=build.model is not None, num_rows=rows)
        for given in (None, space)
    )
    return placed_space(made, usual, base, build, prepared, loss, console.say)


def _builder(model: Model | None, prepared: Prepared) -> Builder:
    return Builder(model, prepared.inputs, prepared.task.num_outputs if prepared.task else 0)


def _work(
    prepared: Prepared, base: Recipe, build: Builder, loss: Any, device: torch.device, interrupts: Interrupts
) -> Work:
    return Work(
        prepared, base, build, loss, device, lambda: bool(interrupts.signal),
        lambda number: setattr(interrupts, "signal", number),
    )  # fmt: skip


def _carried_out(plan: Plan, interrupts: Interrupts, pool: Any) -> Tuning:
    with interrupts, contextlib.closing(pool) if pool else contextlib.nullcontext():
        found = plan.run()
    found.interrupted = interrupts.signal
    return found


def _shortened(used: Recipe, asked: Recipe) -> list[str]:
    """Return what to beware of where trainings were made shorter."""
    if used.epochs == asked.epochs:
        return []
    return [
        f"all of this, the default too, was trained for {used.epochs:g} epochs in place of {asked.epochs:g}; give more "
        "budget to learn what is best in the long run"
    ]


def _around(
    data: Any, target: str | None, recipe: Recipe | None, preset: str, settings_: Any, options: dict[str, Any]
) -> tuple[Any, Recipe | None, Any, dict[str, Any]]:
    """Return data, recipe, settings and options; around a backbone its features or its inputs stand for the data."""
    if options.get("backbone") is None:
        return data, recipe, settings_, options
    return (*to_search(data, target, recipe, preset, settings_, options), {})


def _prepared(
    data: Any,
    target: str | None,
    model: Model | None,
    loss: Any,
    options: Mapping[str, Any],
) -> Prepared:
    prepared = prepare(data, target, own_model=model is not None, loss=loss, options=options)
    if prepared.parts.get("val") is None:
        raise UsageError(
            "tune needs a validation part to choose by; give one, or leave val_fraction above 0."
        )
    return prepared


def _base(
    prepared: Prepared,
    recipe: Recipe | None,
    preset: str,
    model: Model | None,
    settings_: Any,
    console: Console,
) -> Recipe:
    """Return the recipe that is searched around."""
    by_preset, sizes = recipe is None and model is None, () if recipe is None else recipe.model.params
    recipe = recipe_for(prepared, recipe, preset, model, None)
    if model is not None:  # a function that makes a module is told them
        recipe = recipe.replace(model=ModelSpec("module", sizes))
    recipe = settings.apply(recipe.replace(seconds=None), settings=settings_)
    return placed(recipe, prepared, settings_, (), console.say) if by_preset else recipe


def _batch(trials: int | None, name: str, workers: int) -> int:
    """Return the trials of a generation: a stack full, or a quarter of few trials, so that something is learned.

    More than four workers need larger generations to be busy.
    """
    if name.startswith("optuna"):
        return 8
    most = GROUP * max(GROUPS, workers)
    return most if trials is None else max(4, min(most, trials // 4))


def _tell_plan(console: Console, space: Space, name: str, why: str) -> None:
    console.say(f"searcher  {name}: {why}")
    size = f"{space.size:,.0f} configurations" if math.isfinite(space.size) else "reals among them"
    console.say(f"space     {counted(len(space), 'parameter')}, {size}")
    for line in space.lines():
        console.say(f"          {line}")


def _folder(out: str | Path | bool | None, prepared: Prepared, *, resume: bool) -> RunFolder | None:
    if resume:
        return RunFolder(Path(str(out)).resolve())
    if out is False:
        return None
    hint = Path(str(prepared.source.get("data", prepared.kind))).stem
    return RunFolder.create(None if out in (None, True) else Path(str(out)), f"tune-{hint}")


def _study(
    made: Fitted, kept: Mapping[str, Any] | None, searcher: str, trials: int | None, batch: int | None, seed: int,
    folder: RunFolder | None, pool: Pool | None, console: Console,
) -> Study:  # fmt: skip
    """Choose the searcher and the size of a generation, tell the plan and open the study.

    Args:
        kept: what the study was begun with, if it goes on.
    """
    name, why = choose_searcher(made.space, trials) if searcher == "auto" else (searcher, "as asked")
    if kept is not None and searcher == "auto":
        name, why = str(kept["searcher"]), "as the study began"
    _tell_plan(console, made.space, name, why)
    most = trials if made.affordable > GROUP * GROUPS**2 else int(min(trials or math.inf, made.affordable))
    size = batch or (
        int(kept["batch"]) if kept is not None else _batch(most, name, pool.workers if pool else 1)
    )
    path = folder.path / STUDY if folder is not None else None
    first = [made.space.default()]
    study = Study(made.space, name, seed=seed, batch=size, first=first, path=path, about=made.about)
    for note in study.notes:
        console.say(f"warning   {note}")
    return study


def _exchanged(study: Study, source: str | None, to: str | None, console: Console) -> Callable[[], None]:
    """Begin a fresh study with the trials of Optuna's, and return what writes all trials for it."""
    from trainwell.search import exchange

    if source and not study.trials:
        count = exchange.import_optuna(study, *exchange.named(source))
        if not count:
            raise UsageError(f"{source}: none of its complete trials lies in the space.")
        console.say(f"optuna    {count} trials of {source} begin the study")
    elif source:
        console.say(f"optuna    {source} is not read: the study has begun, and only a fresh one takes trials")
    if to is None:
        return lambda: None
    exchange.reserve(study, *exchange.named(to))

    def copied() -> None:
        exchange.export_optuna(study, *exchange.named(to))
        console.say(f"optuna    the trials are in {to}")

    return copied


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
    found: Tuning, data: Any, target: str | None, build: Builder, loss: Any, device: str | None,
    folder: RunFolder | None, data_options: Mapping[str, Any],
) -> Run:  # fmt: skip
    """Train the winner once more, with the seed that it had; the test part is opened here, once."""
    out: Any = False
    if folder is not None:  # a study that went on has a winner before
        names = ("best", *(f"best-{i}" for i in range(2, 1000)))
        out = next(folder.path / n for n in names if not (folder.path / n).exists())
    first = Streams(found.seed).generator("init")
    own: dict[str, Any] = {} if build.model is None else {"model": build(found.recipe, first)}
    return fit(
        data, target, recipe=found.recipe, seed=found.seed, device=device, out=out, loss=loss, watch=False,
        baseline=False, **own, **data_options,
    )  # fmt: skip
