"""The verbs that use a trained run: evaluate, predict, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainwell.app.cli.output import complain, emit, json_option
from trainwell.values.errors import UsageError

if TYPE_CHECKING:
    from trainwell.app.run import Run

UNFINISHED = "unfinished"
"""Why a run ended that has not."""
PREDICTION_FILES = (".csv", ".parquet")


@click.command()
@click.argument("run")
@click.argument("data", nargs=-1, required=True)
@json_option
def evaluate(run: str, data: tuple[str, ...], as_json: bool) -> None:
    """Score RUN on labelled DATA.

    DATA is of the kind that RUN was trained on: tables, or folders of images or sounds; several are taken together.
    Metrics are by scikit-learn's definitions. RUN is a run or what `export` wrote.
    """
    trained = _load(run)
    from trainwell.app.outcome import evaluate_run

    scores = evaluate_run(trained, *data)
    assert trained.task is not None
    _note_training_data(trained, data)
    about = {
        "run": str(trained.path),
        "data": _as_told(data),
        "task": trained.task.kind,
        "metric": trained.task.metric,
    }
    emit({**about, "scores": scores}, [f"{k:17s} {v:.6g}" for k, v in scores.items()], as_json)


@click.command()
@click.argument("run")
@click.argument("data", nargs=-1, required=True)
@click.option("--out", metavar="FILE", help="A .csv or .parquet to write; standard output (CSV) without it.")
@click.option("--proba", is_flag=True, help="Also the probability of each class.")
@json_option
def predict(run: str, data: tuple[str, ...], out: str | None, proba: bool, as_json: bool) -> None:
    """Predict the rows of DATA.

    One prediction for every row or file, in their order; DATA is of the kind that RUN was trained on: a table, a folder,
    files, or several of them. RUN is a run or what `export` wrote.
    """
    if out is not None and Path(out).suffix not in PREDICTION_FILES:
        raise UsageError(f"--out {out}: expected a name that ends in .csv or .parquet.")
    trained = _load(run)
    from trainwell.app.outcome import predictions, write_table

    frame = predictions(trained, *data, proba=proba)
    about: dict[str, Any] = {"run": str(trained.path), "data": _as_told(data), "rows": len(frame), "out": out}
    if out is not None:
        write_table(frame, Path(out))
        emit(about, [out], as_json)
    elif as_json:
        emit({**about, "predictions": frame.to_dict(orient="records")}, (), as_json)
    else:
        click.echo(frame.to_csv(index=False), nl=False)


@click.command()
@click.argument("run")
@click.option("--out", required=True, metavar="FOLDER", help="New folder to write.")
@click.option(
    "--onnx", is_flag=True, help="Also model.onnx, checked against torch (needs the extra `export`)."
)
@click.option(
    "--peft", is_flag=True, help="Also the adapter of a run with LoRA, as the library peft reads it."
)
@json_option
def export(run: str, out: str, onnx: bool, peft: bool, as_json: bool) -> None:
    """Write what a prediction with RUN needs.

    Weights (safetensors), transform, task and recipe (JSON), in one new folder that `predict` takes as well.
    """
    if onnx:
        from trainwell.app.export import require_onnx

        require_onnx()
    trained = _load(run)
    from trainwell.app.export import export_run

    files = export_run(trained, Path(out), formats=("onnx",) * onnx + ("peft",) * peft)
    emit({"run": str(trained.path), "files": [str(f) for f in files]}, map(str, files), as_json)


COMMANDS = (evaluate, predict, export)


def _note_training_data(run: Run, data: tuple[str, ...]) -> None:
    """Say where rows are scored that the run was trained on."""
    if run.path is None or not (run.path / "data.json").is_file():
        return
    from trainwell.values.runfolder import RunFolder

    source = RunFolder(run.path).read_json("data")["source"].get("data")
    for name in data:
        if source and Path(name).resolve() == Path(source):
            held = run.scores.get("test", {}).get(run.task.metric) if run.task is not None else None
            test = f"; its test part alone: {held:.6g}" if held is not None else ""
            complain(f"note: the run was trained on rows of {name}, which says little of new ones{test}")


def _as_told(data: tuple[str, ...]) -> str | list[str]:
    return data[0] if len(data) == 1 else list(data)


def _load(run: str) -> Run:
    """Load a run or an exported folder; a mistyped name is told before torch is imported."""
    from trainwell.values.runfolder import RunFolder

    if not (Path(run) / "model.json").is_file():
        RunFolder.open(run)
    from trainwell.app.export import load

    found = load(run)
    if found.stop_reason == UNFINISHED:
        complain(
            f"note: {run} is unfinished; its weights are those of epoch {found.best_epoch}, the best so far"
        )
    return found
