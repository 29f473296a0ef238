"""The command `trainwell`. Results go to standard output, everything else to standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainwell.values.errors import TrainwellError, UsageError

if TYPE_CHECKING:
    from trainwell.app.run import Run


def main() -> None:
    """Run the command line; the exit code tells what happened (see the README)."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    try:
        result = cli.main(arguments, prog_name="trainwell", standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except TrainwellError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("TRAINWELL_DEBUG"):
            raise
        said = f"{type(error).__name__}: {error}"
        click.echo(f"internal error: {said}; run with TRAINWELL_DEBUG=1 for the traceback.", err=True)
        return 1
    return result if isinstance(result, int) else 0


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def cli() -> None:
    """Train neural networks well."""


def _several(name: str, text: str) -> Callable[[Any], Any]:
    return click.option(name, multiple=True, metavar="TEXT", help=text)


JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
QUIET = click.option("--quiet", is_flag=True, help="Tell nothing on standard error but errors.")


@cli.command()
@click.argument("data")
@click.option("--target", required=True, help="Column to predict.")
@click.option("--val", help="File of the validation part; without it a part is split off.")
@click.option("--test", help="File of the test part.")
@click.option("--task", help="binary, multiclass or regression; inferred without it.")
@click.option("--metric", help="Primary metric.")
@click.option("--group", help="Column whose values must not stand in two parts.")
@click.option("--time", help="Column by which the latest rows are the test part.")
@_several("--set", "FIELD=VALUE of the recipe, e.g. lr=3e-4, model.width=128, dropout.rate=0.1.")
@_several("--with", "Technique to add, e.g. dropout:rate=0.2 (see `trainwell techniques`).")
@_several("--without", "Technique to take away.")
@click.option("--budget", help="e.g. 20ep (epochs), 90s, 5m, 1h.")
@click.option("--preset", default="balanced", show_default=True, help="quick, balanced or best.")
@click.option("--recipe", "recipe_file", help="Recipe to start from (a recipe.json).")
@click.option("--seed", default=0, show_default=True, help="Seed of the training.")
@click.option("--split-seed", default=0, show_default=True, help="Seed of the split.")
@click.option("--device", help="cpu, cuda, ...")
@click.option("--out", help="Folder of the run; a new one in runs/ without it.")
@_several("--drop", "Column to leave out.")
@_several("--na", "Word that stands for a missing value.")
@_several("--categorical", "Column to read as categories.")
@_several("--numeric", "Column to read as numbers.")
@click.option("--on-duplicates", default="warn", show_default=True, help="warn, or remove rows of two parts.")
@click.option("--baseline/--no-baseline", default=True, show_default=True, help="Compare with boosting.")
@QUIET
@JSON
def fit(**options: Any) -> int:
    """Train a network on the table DATA (.csv, .tsv, .parquet)."""
    from trainwell.app.fit import fit as train

    table = (
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
    )
    run = train(
        options["data"],
        options["target"],
        recipe=_read_recipe(options["recipe_file"]),
        preset=options["preset"],
        settings_=_settings(options["set"]),
        with_=options["with"],
        without=options["without"],
        budget=options["budget"],
        seed=options["seed"],
        device=options["device"],
        out=options["out"],
        baseline=options["baseline"],
        console=_console(options["quiet"]),
        on_duplicates=options["on_duplicates"],
        **{key: options[key] for key in table},
    )
    return _report(run, options["as_json"])


@cli.command()
@click.argument("run")
@click.option("--budget", help="A longer budget, e.g. 40ep; the schedule is laid anew over it.")
@click.option("--device", help="cpu, cuda, ...")
@click.option("--baseline/--no-baseline", default=True, show_default=True, help="Compare with boosting.")
@QUIET
@JSON
def resume(
    run: str, budget: str | None, device: str | None, baseline: bool, quiet: bool, as_json: bool
) -> int:
    """Go on with RUN (a folder, or `latest`) from its newest valid checkpoint."""
    from trainwell.app.fit import resume as go_on

    found = go_on(run, budget=budget, device=device, baseline=baseline, console=_console(quiet))
    return _report(found, as_json)


@cli.command()
@click.argument("run")
@click.argument("data")
@JSON
def evaluate(run: str, data: str, as_json: bool) -> None:
    """Score RUN on the labelled table DATA."""
    from trainwell.app.outcome import evaluate_run, load_run

    found = evaluate_run(load_run(run), data)
    click.echo(json.dumps(found) if as_json else "\n".join(f"{k}\t{v:.6g}" for k, v in found.items()))


@cli.command()
@click.argument("run")
@click.argument("data")
@click.option("--out", help="File to write (.csv or .parquet); standard output without it.")
@click.option("--proba", is_flag=True, help="Also the probability of each class.")
@JSON
def predict(run: str, data: str, out: str | None, proba: bool, as_json: bool) -> None:
    """Predict every row of the table DATA, in its order."""
    from trainwell.app.outcome import load_run, predictions, write_table

    frame = predictions(load_run(run), data, proba=proba)
    if out is not None:
        write_table(frame, Path(out))
        click.echo(json.dumps({"path": out, "rows": len(frame)}) if as_json else out)
    else:
        click.echo(frame.to_json(orient="records") if as_json else frame.to_csv(index=False), nl=as_json)


@cli.command()
@click.argument("run")
@click.option("--out", required=True, help="Folder to write.")
@click.option("--onnx", is_flag=True, help="Also model.onnx (needs the extra `export`).")
@JSON
def export(run: str, out: str, onnx: bool, as_json: bool) -> None:
    """Write the weights (safetensors) and all that a prediction needs (JSON) of RUN."""
    from trainwell.app.export import export_run
    from trainwell.app.outcome import load_run

    files = export_run(load_run(run), Path(out), onnx=onnx)
    click.echo(json.dumps({"files": [str(f) for f in files]}) if as_json else "\n".join(map(str, files)))


@cli.command()
@click.argument("name", required=False)
@JSON
def techniques(name: str | None, as_json: bool) -> None:
    """List the techniques: name, site, what each treats, range, source."""
    import trainwell.techniques  # noqa: F401
    from trainwell.app.catalogue import entries, text

    found = entries(name)
    click.echo(json.dumps(found, indent=1) if as_json else text(found, whole=name is not None))


@cli.command()
@JSON
def env(as_json: bool) -> None:
    """Tell versions, processor and devices."""
    from trainwell.engine.environment import environment

    found = environment()
    click.echo(json.dumps(found, indent=1) if as_json else "\n".join(f"{k}\t{v}" for k, v in found.items()))


def _report(run: Run, as_json: bool) -> int:
    if as_json:
        from trainwell.values.journal import dumps

        click.echo(dumps(run.to_dict()))
    else:
        for part, values in run.scores.items():
            click.echo(f"{part}\t" + "\t".join(f"{k} {v:.4f}" for k, v in values.items()))
        click.echo(f"run\t{run.path}")
    if run.interrupted:
        click.echo(f"interrupted; go on with: trainwell resume {run.path}", err=True)
        return 128 + run.interrupted
    return 0


def _console(quiet: bool) -> Any:
    from trainwell.app.console import Console

    return Console.silent() if quiet else Console.stderr()


def _settings(given: tuple[str, ...]) -> dict[str, str]:
    """Turn `FIELD=VALUE` words into a dictionary."""
    found = {}
    for item in given:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {item}: expected FIELD=VALUE, e.g. lr=3e-4.")
        found[key] = value
    return found


def _read_recipe(path: str | None) -> Any:
    """Read a recipe file, or return None."""
    if path is None:
        return None
    import trainwell.techniques  # noqa: F401
    from trainwell.values.journal import loads
    from trainwell.values.recipe import Recipe

    try:
        data = loads(Path(path).read_bytes())
    except OSError as error:
        raise UsageError(f"--recipe {path}: {error.strerror}.") from None
    except ValueError as error:
        raise UsageError(f"--recipe {path} is not JSON: {error}.") from None
    if not isinstance(data, dict):
        raise UsageError(f"--recipe {path}: expected a JSON object.")
    return Recipe.from_dict(data, path)
