"""What follows a training: scores, the baseline, the files that tell of them; and reading a run back."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

import trainwell.techniques  # noqa: F401  (fills the registry)
from trainwell.app.findings import read_findings
from trainwell.app.predictor import Predictor
from trainwell.app.run import Run
from trainwell.app.scoring import interval, scores
from trainwell.app.several import grouped, named_rows
from trainwell.engine.checkpoint import Checkpoint, newest_valid
from trainwell.engine.compose import restore_structure
from trainwell.engine.feed import from_numpy
from trainwell.engine.recorder import Recorder
from trainwell.engine.training import Training
from trainwell.models import build_model
from trainwell.models.backbones import found_again
from trainwell.values.errors import RunError, TrainingError, UsageError
from trainwell.values.journal import epochs
from trainwell.values.recipe import Recipe
from trainwell.values.runfolder import RunFolder
from trainwell.values.task import InputSpec, Task

if TYPE_CHECKING:
    import pandas as pd

    from trainwell.app.fit import Setup


def finish(
    setup: Setup,
    training: Training,
    folder: RunFolder | None,
    *,
    interrupted: int,
    failure: TrainingError | None,
) -> Run:
    """Score the best weights, compare with the baseline, and write both into the run folder."""
    prepared, state = setup.prepared, training.state
    predictor = Predictor(training.model, prepared.task, prepared.transform)
    found, bounds = ({}, None) if failure is not None and not state.best_epoch else _scores(predictor, setup)
    baseline = {}
    if setup.baseline and prepared.table is not None and not interrupted and failure is None:
        from trainwell.app.baseline import boosting_baseline

        baseline = boosting_baseline(prepared.table.raw, prepared.table.task)
    reason = state.stop_reason or f"interrupted by signal {interrupted}"
    run = Run(
        setup.recipe, setup.seed, prepared.task, predictor, state.history, found, state.best_epoch, reason,
        state.seconds, baseline, interrupted, prepared.notes, folder.path if folder else None, prepared.fingerprint,
        findings=training.observer.findings, interval=bounds, treatments=tuple(state.treatments),
    )  # fmt: skip
    if isinstance(training.watcher, Recorder):
        event = "failed" if failure else "interrupted" if interrupted else "finished"
        about = {"reason": str(failure or reason), "step": state.step, "best_epoch": state.best_epoch}
        training.watcher.tell(event, **about)
        training.watcher.save_results(run.to_dict())
        run.unsaved = training.watcher.unsaved("last" if interrupted else "best", "results")
    setup.console.finish(run, watched=setup.watch)
    return run


def _scores(
    predictor: Predictor, setup: Setup
) -> tuple[dict[str, dict[str, float]], tuple[float, float] | None]:
    """Return the metrics of the validation and the test part, and the interval of the score on the last of them."""
    task = setup.prepared.task
    found: dict[str, dict[str, float]] = {}
    bounds = None
    for part in ("val", "test"):
        data = setup.prepared.parts.get(part)
        if task is None or data is None:
            continue
        if isinstance(data, tuple):
            x, y = data
            outputs = Predictor(predictor.model, task).scored(x)
        else:
            y = torch.cat([torch.as_tensor(batch[-1]) for batch in data])
            outputs = predictor.scored(data)
        target = in_unit(task, y.numpy())
        found[part], bounds = scores(task, target, outputs), interval(task, target, outputs)
    return found, bounds


def in_unit(task: Task, target: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return class indices as they are, and standardised numbers in the unit of the target, (N,)."""
    if task.is_classification:
        return target
    numbers = target.astype(np.float64) * task.scale + task.mean
    return numbers[:, 0] if numbers.ndim == 2 and numbers.shape[1] == 1 else numbers


def load_run(path: str | Path, model: nn.Module | None = None) -> Run:
    """Read a run back from its folder, with the best weights in its network.

    Args:
        path: the run folder, or `latest`.
        model: the user's own module, where the run trained one.
    """
    folder = RunFolder.open(path)
    data = folder.read_json("data")
    recipe = Recipe.from_dict(folder.read_json("recipe"), str(folder.path / "recipe.json"))
    task = Task.from_dict(data["task"]) if data["task"] else None
    transform = read_transform(data["transform"], "transform.json")
    best, problems = newest_valid(folder.path / "best")
    last, more = newest_valid(folder.path / "last")
    weights, epoch = _best_weights(folder, best, last, [*problems, *more])
    network = rebuild(recipe, data, task, model, folder)
    network.load_state_dict(weights)
    network.eval()
    results = folder.read_json("results") if (folder.path / "results.json").exists() else {}
    return Run(
        recipe, data["seed"], task, Predictor(network, task, transform), _history(folder, last),
        results.get("scores", {}), epoch, results.get("stop_reason", "unfinished"), results.get("seconds", 0.0),
        results.get("baseline", {}), 0, (), folder.path, data["fingerprint"], findings=read_findings(folder.path),
        treatments=tuple(results.get("treatments", ())),
    )  # fmt: skip


def read_transform(data: dict[str, Any] | None, where: str) -> Any:
    """Return the transform that was written, of a table or of a kind of `data/samples`; None where there was none."""
    if data is None:
        return None
    if "kind" in data:
        from trainwell.data.samples import transform_of

        if data["kind"] == "features":
            import trainwell.app.feature_cache  # noqa: F401  (registers the transform)
        return transform_of(data)
    from trainwell.data import TableTransform

    return TableTransform.from_dict(data, where)


def _best_weights(
    folder: RunFolder, best: Checkpoint | None, last: Checkpoint | None, problems: list[str]
) -> tuple[dict[str, Tensor], int]:
    """Return the best weights and their epoch: from `best/`, or from the last checkpoint of an unfinished run."""
    # a finished run that was extended and then killed has newer best weights in `last`
    if last is not None and last.state["best_epoch"] > (best.state["epoch"] if best is not None else 0):
        return last.tensors["best"], last.state["best_epoch"]
    if best is not None:
        return best.tensors["weights"], best.state["epoch"]
    why = f" ({'; '.join(problems)})" if problems else ""
    again = f"trainwell resume {shlex.quote(str(folder.path))}"
    raise RunError(f"{folder.path}: no weights yet{why}. Go on with `{again}`.")


def _history(folder: RunFolder, last: Checkpoint | None) -> list[dict[str, Any]]:
    """Return a row per epoch: those of the last checkpoint, and of an unfinished run those that followed it.

    The journal alone will not do: a full disk or damage may have left holes in it.
    """
    kept = list(last.state["history"]) if last is not None else []
    if last is None or not last.state["stop_reason"]:
        told = [
            {k: v for k, v in row.items() if k not in ("event", "time")}
            for row in epochs(folder.read_journal()[0])
        ]
        kept += [row for row in told if row["epoch"] > len(kept)]
    return kept


def rebuild(
    recipe: Recipe, data: dict[str, Any], task: Task | None, model: nn.Module | None, folder: RunFolder
) -> nn.Module:
    """Build the network of a run with its structure; the numbers are then loaded."""
    generator = torch.Generator().manual_seed(0)
    if model is None:
        if recipe.model.family == "module" or data["spec"] is None or task is None:
            raise RunError(f"{folder.path}: the run trained a module of yours; give it again with model=.")
        own = found_again(recipe.model, folder.path)
        model = build_model(own, InputSpec.from_dict(data["spec"]), task.num_outputs, generator)
    return restore_structure(model, recipe)


def evaluate_run(run: Run, *data: Any) -> dict[str, float]:
    """Return all metrics of a run on labelled data of its kind: paths, frames, folders, taken together."""
    transform, task = run.predictor.transform, run.task
    if transform is None or task is None:
        raise RunError("evaluate is for runs on data of ours; score a module of yours with run.predict.")
    bare = Predictor(run.model, task)
    targets, outputs = [], []
    for source in data:
        for arrays, y in transform.labelled(source, task):
            outputs.append(bare.scored(from_numpy(arrays, y)[0]))
            targets.append(y)
    return scores(task, in_unit(task, np.concatenate(targets)), np.concatenate(outputs))


def predictions(run: Run, *data: Any, proba: bool = False) -> pd.DataFrame:
    """Return the prediction of every row in its order, its file's name, the probability of each class if asked for.

    Args:
        data: a source, or several; of several every row has the name of its file.
    """
    import pandas as pd

    if proba:
        run.predictor.check_probabilities()
    named = getattr(run.predictor.transform, "names", None)
    together = grouped(data, of_files=named is not None) if len(data) > 1 else list(data)
    frames = []
    for source in together:
        outputs = run.predictor.outputs(source)
        files = list(named(source)) if named is not None else []
        files = named_rows(source, files, len(outputs)) if len(data) > 1 else files
        frame = pd.DataFrame({"file": files} if files else {}, index=range(len(outputs)))
        frame["prediction"] = run.predictor.decided(outputs)
        if proba:
            table = run.predictor.probabilities(outputs)
            for i, label in enumerate(run.task.classes if run.task is not None else ()):
                frame[f"probability_{label}"] = table[:, i]
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame as .csv or .parquet, whole or not at all."""
    from trainwell.values.atomic import temporary_beside

    kinds: dict[str, Any] = {".csv": frame.to_csv, ".parquet": frame.to_parquet}
    if path.suffix not in kinds:
        raise UsageError(f"--out {path}: expected a name that ends in .csv or .parquet.")
    if not path.parent.is_dir():
        raise UsageError(f"--out {path}: there is no folder {path.parent}.")
    temporary = temporary_beside(path)
    try:
        kinds[path.suffix](temporary, index=False)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"--out {path} cannot be written: {error.strerror or error}.") from error
