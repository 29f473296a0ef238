"""Writes a trained network for use elsewhere, and reads it back: safetensors and JSON, and ONNX as an extra.

model.json             task, transform, recipe, shape of the inputs, scores, checksums of the weights
weights.safetensors    the best weights; of a linear probe with those of its backbone
backbone/              what a backbone needs beside its weights, such as its configuration
model.onnx             the network with its last link to the user's unit: probabilities, or numbers as given
adapter_model...       what LoRA learned, as the library peft reads it (app/peft.py)
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from trainwell.app.joined import joined, with_companions
from trainwell.app.outcome import load_run, read_transform, rebuild
from trainwell.app.predictor import Predictor
from trainwell.app.run import Run
from trainwell.engine.tensorfile import fill, read_tensors, write_tensors
from trainwell.report.model_card import CARD, model_card
from trainwell.values.atomic import atomic_write_text, sync_folder, temporary_beside
from trainwell.values.errors import RunError, UsageError, did_you_mean
from trainwell.values.journal import dumps, loads
from trainwell.values.recipe import Recipe
from trainwell.values.runfolder import RunFolder
from trainwell.values.task import Task
from trainwell.values.version import version

FORMAT = 1
"""Version of model.json; a reader refuses a newer one."""

MODEL, WEIGHTS, ONNX = "model.json", "weights.safetensors", "model.onnx"
FORMATS = ("onnx", "peft")


def export_run(run: Run, out: str | Path, *, formats: Sequence[str] = ()) -> list[Path]:
    """Write a run into a new folder, whole or not at all, and return the files.

    Args:
        out: the folder to make; one that is there must be empty.
        formats: further forms of the network: `onnx`; of a run with LoRA `peft`.
    Raises:
        UsageError: the folder is taken or cannot be made; the format is unknown, or its extra is missing.
    """
    for name in formats:
        if name not in FORMATS:
            raise UsageError(
                f"there is no format '{name}'; expected {', '.join(FORMATS)}.{did_you_mean(name, FORMATS)}"
            )
    if "onnx" in formats:
        require_onnx()
    out = Path(out).expanduser()
    run = joined(run)
    with _new_folder(out) as folder:
        run = with_companions(run, folder)
        entry = write_tensors(folder / WEIGHTS, dict(run.model.state_dict()))
        about = _about(run, entry)
        if "onnx" in formats:
            from trainwell.app.onnx import write_onnx

            about["onnx"] = write_onnx(run, folder / ONNX)
        if "peft" in formats:
            from trainwell.app.peft import write_peft

            write_peft(run, folder)
        atomic_write_text(folder / MODEL, dumps(about, indent=1) + "\n")
        atomic_write_text(folder / CARD, model_card(about, [f.ailment for f in run.findings if f.is_alarm]))
        names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    return [out / name for name in names]


def require_onnx() -> None:
    """Raise a UsageError that says how to install what ONNX needs, where it is missing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UsageError(f"--onnx needs an extra: pip install 'trainwell[export]' ({error}).") from None


def load(path: str | Path, model: nn.Module | None = None) -> Run:
    """Read a run, or what `export_run` wrote, with the best weights in its network.

    Args:
        path: the folder, its name in runs/, or `latest`.
        model: the user's own module, where the run trained one.
    Raises:
        RunError: there is no such run, it has no weights yet, or a file of it is damaged.
    """
    folder = Path(path).expanduser()
    if not (folder / MODEL).is_file():
        return load_run(path, model)
    about = _read_about(folder / MODEL)
    recipe = Recipe.from_dict(about["recipe"], f"{folder / MODEL}, recipe")
    task = Task.from_dict(about["task"]) if about["task"] else None
    transform = read_transform(about["transform"], f"{folder / MODEL}, transform")
    network = rebuild(recipe, {"spec": about["inputs"]}, task, model, RunFolder(folder))
    network.load_state_dict(
        {n: t for n, t in read_tensors(folder / WEIGHTS, about["weights"], fill) if t is not None}
    )
    network.eval()
    return Run(
        recipe, about["seed"], task, Predictor(network, task, transform), (), about["scores"], about["best_epoch"],
        about["stop_reason"], 0.0, about["baseline"], 0, (), folder.resolve(), about["fingerprint"],
    )  # fmt: skip


def _about(run: Run, weights: dict[str, Any]) -> dict[str, Any]:
    transform = run.predictor.transform
    return {
        "format": FORMAT,
        "trainwell": version(),
        "recipe": run.recipe.to_dict(),
        "task": run.task.to_dict() if run.task else None,
        "inputs": transform.spec.to_dict() if transform else _recorded_inputs(run),
        "transform": transform.to_dict() if transform else None,
        "weights": weights,
        "scores": {k: dict(v) for k, v in run.scores.items()},
        "baseline": dict(run.baseline),
        "best_epoch": run.best_epoch,
        "stop_reason": run.stop_reason,
        "seed": run.seed,
        "fingerprint": run.fingerprint,
    }


def _recorded_inputs(run: Run) -> Any:
    """Return the shape of a row of a run on tensors, as its folder has it."""
    return RunFolder(run.path).read_json("data").get("spec") if run.path is not None else None


def _read_about(path: Path) -> dict[str, Any]:
    try:
        about = loads(path.read_bytes())
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged or was edited: it is not JSON ({error}).") from error
    if not isinstance(about, dict) or "weights" not in about or "recipe" not in about:
        raise RunError(f"{path} is not what `trainwell export` writes; give a run or an exported folder.")
    if about.get("format", FORMAT) > FORMAT:
        raise RunError(f"{path}: written by a newer trainwell; update to read it.")
    return about


@contextlib.contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes `out` when all went well, and vanishes otherwise."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        what = "is there and not empty" if out.is_dir() else "is a file"
        raise UsageError(f"{out} {what}; give a new or an empty folder.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = temporary_beside(out)
        folder.mkdir()
    except OSError as error:
        raise UsageError(f"the folder {out} cannot be made: {error.strerror}.") from error
    try:
        yield folder
        os.replace(folder, out)
        sync_folder(out.parent)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
