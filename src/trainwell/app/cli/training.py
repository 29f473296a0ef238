"""The verbs that train: fit, resume."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainwell.app.cli.data import check_data, data_options, of_data
from trainwell.app.cli.output import complain, emit, json_option, quiet_option, several
from trainwell.app.console import Console, result_lines
from trainwell.values.errors import TrainingError, UsageError

if TYPE_CHECKING:
    from trainwell.app.run import Run
    from trainwell.values.recipe import Recipe

baseline_option = click.option(
    "--no-baseline", "baseline", flag_value=False, default=True, type=bool,
    help="Do not fit scikit-learn's boosting on the same split for comparison.",
)  # fmt: skip
watch_option = click.option(
    "--no-watch", "watch", flag_value=False, default=True, type=bool,
    help="Do not look into the training, and say nothing of what ails it.",
)  # fmt: skip
live_option = click.option(
    "--treat-live", "treat", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
    help="Times that a run in trouble may go back to its last good state and on with another dose.",
)  # fmt: skip
log_option = several("--log", "NAME", "Log to tensorboard or mlflow too; each is an extra of that name.")
checkpoint_option = click.option(
    "--checkpoint-every", metavar="TEXT",
    help="Time between two checkpoints, e.g. 30s or 5m; ten seconds, or rarer where saving is slow, without it.",
)  # fmt: skip
device_option = click.option(
    "--device", metavar="NAME", help="cpu, cuda, mps ...; an accelerator where there is one."
)


@click.command()
@click.argument("data")
@click.option("--target", metavar="COLUMN", help="Column to predict; needed for a table.")
@click.option("--metric", metavar="NAME", help="Primary metric; accuracy or rmse without it.")
@data_options
@click.option("--val-fraction", type=float, help="Share of the validation part [0.15].")
@click.option("--test-fraction", type=float, help="Share of the test part [0.15].")
@click.option(
    "--preset", default="balanced", show_default=True, metavar="NAME", help="quick, balanced or best."
)
@click.option("--recipe", "recipe_file", metavar="FILE", help="Recipe to start from, e.g. RUN/recipe.json.")
@several("--set", "FIELD=VALUE", "Field of the recipe: lr=3e-4, model.width=128, dropout.rate=0.1.")
@several("--with", "TECHNIQUE", "Add a technique: dropout:rate=0.2. `trainwell techniques` lists them.")
@several("--without", "NAME", "Take a technique away.")
@click.option("--budget", metavar="TEXT", help="20ep (epochs), 90s, 5m, 1h, or both: 5m,20ep.")
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of all that is drawn in the training."
)
@device_option
@click.option("--out", metavar="FOLDER", help="Folder of the run; a new one in runs/ without it.")
@click.option(
    "--backbone", metavar="NAME", help="Pre-trained network to start from, e.g. efficientnet_lite0, minilm."
)
@click.option("--weights", metavar="FILE", help="Weights of the backbone: a .safetensors file of yours.")
@click.option(
    "--allow-pickle", is_flag=True, help="Let --weights be a .pt file; read in a process of its own."
)
@click.option("--on-duplicates", default="warn", show_default=True, metavar="WORD", help="warn or remove.")
@baseline_option
@watch_option
@live_option
@checkpoint_option
@log_option
@quiet_option
@json_option
def fit(**options: Any) -> int:
    """Train a network on DATA.

    DATA is a table (.csv, .tsv, .parquet), or a folder or .zip of images or sounds: a folder per class, or with a
    table of files and labels. Prints the scores and the folder of the run.
    """
    console = _console(options["quiet"]).logging(options["log"])
    recipe, added = _check_before_torch(options)
    from trainwell.app.fit import fit as train

    fractions = {k: options[k] for k in ("val_fraction", "test_fraction") if options[k] is not None}
    run = train(
        options["data"], options["target"], recipe=recipe, preset=options["preset"],
        settings_=settings_of(options["set"]), with_=added, without=options["without"], budget=options["budget"],
        seed=options["seed"], device=options["device"], out=options["out"],
        watch=options["watch"], treat=options["treat"], checkpoint_every=options["checkpoint_every"], console=console,
        baseline=options["baseline"], **backbone_options(options), **fractions,
        metric=options["metric"], on_duplicates=options["on_duplicates"], **of_data(options),
    )  # fmt: skip
    return _report(run, options["as_json"])


@click.command()
@click.argument("run")
@click.option(
    "--budget", metavar="TEXT", help="A longer budget, e.g. 40ep; the schedule is laid anew over it."
)
@device_option
@baseline_option
@watch_option
@checkpoint_option
@log_option
@quiet_option
@json_option
def resume(run: str, quiet: bool, as_json: bool, **options: Any) -> int:
    """Go on with an interrupted RUN.

    RUN is a folder, its name in runs/, or `latest`. It goes on from its newest valid checkpoint and ends as if it
    had never been interrupted.
    """
    from trainwell.values.runfolder import RunFolder

    RunFolder.open(run)  # a mistyped name is told before torch is imported
    from trainwell.app.fit import resume as go_on

    found = go_on(run, console=_console(quiet), **options)
    return _report(found, as_json)


COMMANDS = (fit, resume)


def _report(run: Run, as_json: bool) -> int:
    """Print the result of a run and return the exit code."""
    from trainwell.app.findings import Diagnosis

    findings = Diagnosis(run.findings, recipe=run.recipe, kind=run.kind).to_dict()["findings"]
    about = {"interrupted": run.interrupted, "unsaved": run.unsaved, "findings": findings}
    emit({**run.to_dict(), **about}, result_lines(run), as_json)
    if run.unsaved:
        complain(f"error: the end of the run could not be written to {run.path}: {run.unsaved}.")
        return 128 + run.interrupted if run.interrupted else TrainingError.exit_code
    if run.interrupted:
        again = f"trainwell resume {shlex.quote(str(run.path))}"
        complain(f"interrupted, and its state is saved. Go on with: {again}")
        return 128 + run.interrupted
    return 0


def _console(quiet: bool) -> Console:
    return Console.silent() if quiet else Console.stderr()


def _check_before_torch(options: dict[str, Any]) -> tuple[Recipe | None, list[Any]]:
    """Refuse at once what is wrong without a look at the data; return the recipe and the techniques to add."""
    import trainwell.techniques  # noqa: F401  (fills the registry)
    from trainwell.app.presets import check_preset
    from trainwell.app.settings import check, parse_seconds
    from trainwell.values.technique import Technique, technique

    check_data(options)
    check(settings=settings_of(options["set"]), budget=options["budget"], out=options["out"])
    parse_seconds(options["checkpoint_every"])
    check_preset(options["preset"])
    for name in options["without"]:
        technique(name, "--without")
    return recipe_of(options["recipe_file"]), [Technique.parse(text) for text in options["with"]]


def backbone_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a backbone, if one is named.

    Raises:
        UsageError: weights without a backbone.
    """
    names = ("backbone", "weights", "allow_pickle")
    if options["backbone"] is None and (options["weights"] or options["allow_pickle"]):
        raise UsageError("--weights and --allow-pickle are for a --backbone; name one.")
    return {} if options["backbone"] is None else {name: options[name] for name in names}


def settings_of(given: tuple[str, ...]) -> dict[str, str]:
    """Turn `FIELD=VALUE` words into a dictionary."""
    found = {}
    for item in given:
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not key or not value:
            raise UsageError(f"--set {item}: expected FIELD=VALUE, e.g. lr=3e-4.")
        found[key] = value
    return found


def recipe_of(path: str | None) -> Recipe | None:
    """Read a recipe file.

    Raises:
        UsageError: --preset is given as well, or the file cannot be read. RecipeError: what it holds is wrong.
    """
    if path is None:
        return None
    from trainwell.values.journal import loads
    from trainwell.values.recipe import Recipe

    context = click.get_current_context()
    if context.get_parameter_source("preset") is click.core.ParameterSource.COMMANDLINE:
        raise UsageError(
            "--preset and --recipe exclude each other: a recipe file says all that a preset says."
        )
    try:
        data = loads(Path(path).read_bytes())
    except OSError as error:
        raise UsageError(f"--recipe {path}: {error.strerror}.") from None
    except ValueError as error:
        raise UsageError(f"--recipe {path} is not JSON: {error}.") from None
    if not isinstance(data, dict):
        raise UsageError(f"--recipe {path}: expected a JSON object, got {type(data).__name__}.")
    return Recipe.from_dict(data, path)
