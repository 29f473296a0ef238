"""The verb that searches: tune."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainwell.app.cli.output import complain, emit, json_option, quiet_option, several
from trainwell.app.cli.training import backbone_options, recipe_of, settings_of
from trainwell.app.console import Console
from trainwell.values.errors import UsageError
from trainwell.values.recipe import Recipe

if TYPE_CHECKING:
    from trainwell.app.tuning.report import Tuning

TABLE_OPTIONS = (
    "val",
    "test",
    "task",
    "metric",
    "group",
    "time",
    "split_seed",
    "drop",
    "na",
    "categorical",
    "numeric",
    "text",
    "max_bad",
    "size",
)
"""Options that are passed on to the data as they are."""


@click.command()
@click.argument("data")
@click.option("--target", metavar="COLUMN", help="Column to predict; needed for a table.")
@click.option(
    "--budget", default="10m", show_default=True, metavar="TIME", help="Time for all of it: 90s, 10m, 1h."
)
@click.option("--trials", type=int, metavar="N", help="Trainings of the search at most.")
@click.option(
    "--searcher", default="auto", show_default=True, metavar="NAME",
    help="auto, grid, random, sobol, gp, optuna:tpe, optuna:gp, optuna:cmaes.",
)  # fmt: skip
@several("--space", "FILE|LINE", "A space file, or 'lr=[1e-4, 0.1] log', 'model.depth=1|2|3', '-l1.rate'.")
@click.option("--fidelity", type=click.Choice(["auto", "full"]), default="auto", show_default=True,
              help="auto pauses trainings at rungs where early results predict the end.")  # fmt: skip
@click.option("--folds", default="auto", show_default=True, metavar="K|KxR",
              help="A trial is the mean over K folds, R times; 1: one split; auto: folds for few rows.")  # fmt: skip
@click.option(
    "--preset", default="balanced", show_default=True, metavar="NAME", help="quick, balanced or best."
)
@click.option(
    "--recipe", "recipe_file", metavar="FILE", help="Recipe to search around, e.g. RUN/recipe.json."
)
@several("--set", "FIELD=VALUE", "Field of the default recipe: epochs=10, model.width=64.")
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of the search and of the trainings."
)
@click.option("--val", metavar="FILE", help="Validation part; without it one is split off.")
@click.option("--test", metavar="FILE", help="Test part; without it one is split off, unless --val is given.")
@click.option("--task", metavar="KIND", help="binary, multiclass or regression; inferred without it.")
@click.option(
    "--metric", metavar="NAME", help="Primary metric, which is searched for; accuracy or rmse without it."
)
@click.option("--group", metavar="COLUMN", help="Rows of one value of it never stand in two parts.")
@click.option("--time", metavar="COLUMN", help="The latest rows by it are the test part.")
@click.option("--split-seed", type=int, default=0, show_default=True, help="Seed of the split.")
@several("--drop", "COLUMN", "Column to leave out.")
@several("--na", "WORD", "Word that stands for a missing value.")
@several("--categorical", "COLUMN", "Column to read as categories.")
@several("--numeric", "COLUMN", "Column to read as numbers.")
@several("--text", "COLUMN", "Column to read as text; with it the row is that text.")
@click.option("--size", type=int, metavar="PIXELS", help="Side that images are scaled to.")
@click.option("--max-bad", metavar="SHARE", help="Share of broken files that is left out, e.g. 1% [1%].")
@click.option("--backbone", metavar="NAME",
              help="Search for a head on its cached features; with --set model=NAME for its fine-tuning.")  # fmt: skip
@click.option("--weights", metavar="FILE", help="Weights of the backbone: a .safetensors file of yours.")
@click.option(
    "--allow-pickle", is_flag=True, help="Let --weights be a .pt file; read in a process of its own."
)
@click.option("--soup", type=click.IntRange(min=2), metavar="N",
              help="Train the N best trials again, and average their weights where that does no harm.")  # fmt: skip
@click.option("--device", metavar="NAME", help="cpu, cuda, mps ...; an accelerator where there is one.")
@click.option(
    "--workers", type=int, metavar="N", help="Train in N worker processes, or N tasks of Ray at a time."
)
@click.option("--on", default="here", show_default=True, metavar="WHERE", help="here, ray, or ray:ADDRESS.")
@click.option("--honest", type=click.IntRange(min=0), default=0, metavar="FOLDS",
              help="Repeat the whole study in so many outer folds, and report their test results.")  # fmt: skip
@click.option("--out", metavar="FOLDER", help="Folder of the study; a new one in runs/ without it.")
@click.option("--resume", is_flag=True, help="Go on with the study in --out.")
@click.option(
    "--optuna-from", metavar="STORAGE", help="Begin with the trials of Optuna's: sqlite:///old.db[#NAME]."
)
@click.option(
    "--optuna-to", metavar="STORAGE", help="Write all trials there at the end, for Optuna's dashboard."
)
@quiet_option
@json_option
def tune(**options: Any) -> int:
    """Search for the recipe that learns DATA best, and say how good it truly is.

    Prints the space before it starts; then the best of the search, what fresh seeds and splits confirm of it, the
    optimism between them, and the test result. Ctrl-C ends the search and confirms the best so far.
    """
    began, recipe = time.monotonic(), _check_before_torch(options)
    from trainwell.app.tuning.honest import tune_honest
    from trainwell.app.tuning.tune import tune as search

    console = Console.silent() if options["quiet"] else Console.stderr()
    common: dict[str, Any] = {
        "recipe": recipe, "preset": options["preset"], "settings_": settings_of(options["set"]),
        "space": _space(options["space"]), "searcher": options["searcher"], "budget": _left(options["budget"], began),
        "trials": options["trials"], "fidelity": options["fidelity"], "folds": options["folds"], "seed": options["seed"],
        "device": options["device"], "on": options["on"], "workers": options["workers"],
        "optuna_from": options["optuna_from"], "optuna_to": options["optuna_to"], "console": console, **_of_data(options),
    }  # fmt: skip
    if options["honest"]:
        honest = tune_honest(options["data"], options["target"], outer_folds=options["honest"], **common)
        emit(honest.to_dict(), honest.lines(), options["as_json"])
        return 0
    found = search(options["data"], options["target"], out=options["out"], resume=options["resume"], **common)
    averaged = _soup(found, options)
    emit({**found.to_dict(), **averaged[0]}, [*found.lines(), *averaged[1]], options["as_json"])
    if found.interrupted:
        complain(f"interrupted; what is told is of the trials so far. Go on with --resume --out {found.path}")
        return 128 + found.interrupted
    return 0


COMMANDS = (tune,)


def _of_data(options: dict[str, Any]) -> dict[str, Any]:
    return {**backbone_options(options), **{key: options[key] for key in TABLE_OPTIONS}}


def _soup(found: Tuning, options: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Average the best trials where that is asked for, and return what is told of it."""
    if options["soup"] is None or found.interrupted:
        return {}, []
    from trainwell.app.soup import soup

    out = found.path / "soup" if found.path else None
    made = soup(
        found, options["data"], options["target"], top=options["soup"], out=out, **_of_data(options)
    )  # fmt: skip
    scores = {part: dict(values) for part, values in made.run.scores.items()}
    about = {"taken": made.taken, "losses": made.losses, "loss": made.loss, "scores": scores, "out": str(out)}
    return {"soup": about}, ["", *made.lines(), f"soup       {out}"]


def _check_before_torch(options: dict[str, Any]) -> Recipe | None:
    """Refuse at once what is wrong without a look at the data; return the recipe to search around."""
    from trainwell.app.presets import check_preset
    from trainwell.app.tuning.options import check_honest, check_options

    if not Path(options["data"]).exists():
        raise UsageError(f"{options['data']}: there is no such file.")
    check_preset(options["preset"])
    check_options(options, out=options["out"], resume=options["resume"])
    if options["honest"]:
        check_honest(options["honest"], options)
    settings_of(options["set"])
    return recipe_of(options["recipe_file"])


def _left(budget: str, began: float) -> float:
    """Return the budget without what it took to import torch."""
    from trainwell.app.tuning.options import parse_time

    whole = parse_time(budget)
    return max(0.5 * whole, whole - (time.monotonic() - began))


def _space(given: tuple[str, ...]) -> Any:
    return None if not given else given[0] if len(given) == 1 else list(given)
