"""`fit` and `resume`: data + recipe + seed -> Run."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

import trainwell.techniques  # noqa: F401  (fills the registry)
from trainwell.app import settings
from trainwell.app.console import Console
from trainwell.app.live import checked_number, prescribe
from trainwell.app.outcome import finish
from trainwell.app.recipes import network_of, placed, recipe_for
from trainwell.app.run import Run
from trainwell.app.sources import Prepared, note_shapes, prepare, same_data
from trainwell.engine.assemble import Source, assemble
from trainwell.engine.checkpoint import newest_valid
from trainwell.engine.environment import environment
from trainwell.engine.hardware import choose_device, step_flops, threads_for
from trainwell.engine.live import Live, treated_line
from trainwell.engine.recorder import Recorder, load_weights
from trainwell.engine.streams import derive, seeded
from trainwell.engine.training import Row, Training, Watcher
from trainwell.models.backbones import keep_companions
from trainwell.values.errors import (
    Interrupted,
    NonFiniteError,
    RunError,
    TrainingError,
    UsageError,
)
from trainwell.values.recipe import Recipe
from trainwell.values.runfolder import RunFolder
from trainwell.values.task import Task
from trainwell.values.technique import Technique


def fit(
    data: Any,
    target: str | None = None,
    *,
    model: nn.Module | None = None,
    loss: Callable[..., Any] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    recipe: Recipe | None = None,
    preset: str = "balanced",
    settings_: Mapping[str, Any] | None = None,
    with_: Iterable[str | Technique] = (),
    without: Iterable[str] = (),
    budget: str | float | None = None,
    seed: int = 0,
    device: str | None = None,
    out: str | Path | bool | None = None,
    baseline: bool = True,
    watch: bool = True,
    treat: int = 0,
    start_from: Mapping[str, torch.Tensor] | None = None,
    checkpoint_every: str | float | None = None,
    log: str | Iterable[str] = (),
    console: Console | None = None,
    **data_options: Any,
) -> Run:
    """Train a network on data and return the run, with the weights of the best epoch.

    Args:
        data: a path (.csv, .tsv, .parquet; a folder or .zip of images or sounds),
            a data frame (pandas or polars), (X, y) arrays or tensors, a pair
            ((X, y), (X_val, y_val)), or a loader or pair of loaders of (x, y).
        target: the column to predict, for a path or a frame.
        model: the user's own network; its parameters are trained in place. None builds the family of the recipe.
        loss: the user's own loss (outputs, target) -> scalar.
        optimizer: the user's own `torch.optim` optimizer over the parameters of `model`.
        recipe: what to train; None takes that of the preset.
        preset: `quick`, `balanced` or `best`.
        settings_: fields to set, e.g. {"lr": 3e-4, "model.width": 128, "dropout.rate": 0.1}.
        with_, without: techniques to add (`"dropout:rate=0.2"` or values) and names to take away.
        budget: `"20ep"`, `"5m"`, or a number of epochs.
        seed: of initialization, order and everything drawn in the training; the split has its own `split_seed`.
        device: `cpu`, `cuda`, ...; None takes an accelerator if there is one.
        out: folder of the run; None makes `runs/...`, False writes nothing.
        baseline: also fit scikit-learn's boosting on the same split of a table.
        watch: look into some of the steps, and say at the end what ails the training: `run.findings`. Costs
            about 3 % of a training of 16 s, 10 % of one of 2 s (docs/log-doctor.md), and changes nothing in it.
        treat: how often a run in trouble (a loss that is not finite, a spike, an exploding gradient) may go back to
            its last good state and on with another dose; `run.treatments` tells. 0 for never; a run without trouble
            is the same either way.
        start_from: weights to begin with, the `state_dict` of a network of the same recipe.
        checkpoint_every: `"10s"`, `"5m"` or seconds between two checkpoints, whatever they cost; None for every ten
            seconds, or rarer where saving would take more than 2 % of the time.
        log: `"tensorboard"`, `"mlflow"`: where losses and scores are written beside the folder of the run.
        console: where to tell what happens; None is a table in a notebook, and silence elsewhere.
        data_options: `backbone`, with `weights` and `allow_pickle`: a pre-trained network, as `trainwell.transfer`
            takes it; `val`, `test`, `task`, `metric`, `split_seed`, `val_fraction`, `test_fraction`, `group`, `time`,
            `drop`, `categorical`, `numeric`, `na`, `on_duplicates`; see `trainwell.data.prepare_table`.

    Raises:
        UsageError, DataError: something the message says how to mend; nothing has been written then.
        NonFiniteError: a loss or weight became non-finite; `error.run` holds the best finite weights.
    """
    console = (console or Console.of_caller()).logging(log)
    backbone = data_options.get("backbone") is not None
    # with a backbone the model may be called as it is, which no family is
    named = {k: v for k, v in (settings_ or {}).items() if k != "model" or not backbone}
    settings.check(settings=named, budget=budget, out=out)
    settings.check_kinds(model, recipe, seed)
    if backbone:
        from trainwell.app.transfer import transfer

        _refuse_beside_a_backbone(model=model, loss=loss, optimizer=optimizer, start_from=start_from)
        return transfer(
            data, target, recipe=recipe, preset=preset, settings_=settings_, with_=with_, without=without, out=out,
            console=console, budget=budget, seed=seed, device=device, watch=watch, treat=treat,
            checkpoint_every=checkpoint_every, **data_options,
        )  # fmt: skip
    chosen_device = choose_device(device)
    if isinstance(optimizer, torch.optim.Optimizer) and model is None:
        raise UsageError("optimizer= needs model=: it holds the parameters of a module of yours.")
    prepared = prepare(
        data, target, own_model=model is not None, loss=loss, options=data_options, device=chosen_device
    )
    console.data(prepared)
    with_, chosen = tuple(settings.several(with_)), recipe is None and model is None
    recipe = recipe_for(prepared, recipe, preset, model, optimizer)
    recipe = settings.apply(recipe, settings=settings_, with_=with_, without=without, budget=budget)
    recipe = placed(recipe, prepared, settings_, with_, console.say) if chosen else recipe
    network = model if model is not None else network_of(recipe, prepared, seed)
    setup = Setup(
        prepared, recipe, network, loss, optimizer, seed, chosen_device, baseline, console,
        settings.parse_seconds(checkpoint_every), watch, checked_number(treat), start_from,
    )  # fmt: skip
    return _train(setup, lambda: _new_folder(setup, out), go_on=False)


def resume(
    path: str | Path,
    data: Any = None,
    *,
    model: nn.Module | None = None,
    loss: Callable[..., Any] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    budget: str | float | None = None,
    device: str | None = None,
    baseline: bool = True,
    watch: bool = True,
    checkpoint_every: str | float | None = None,
    log: str | Iterable[str] = (),
    console: Console | None = None,
    **data_options: Any,
) -> Run:
    """Go on with a run from its newest valid checkpoint; it ends as if it had never been interrupted.

    Args:
        path: the run folder, or `latest`.
        data, model, loss, optimizer: again what was given to `fit`, where it was not a path and a family of ours.
        budget: a longer budget, e.g. `"40ep"`; the schedule is laid anew over it.
        watch, checkpoint_every, log: as for `fit`.
        data_options: again those options of the data that are no plain values, e.g. `val=` of a frame.

    Raises:
        RunError: the folder holds no run, or the run is of another model. DataError: it is of other data.
        UsageError: the budget ends before the checkpoint.
    """
    console = (console or Console.of_caller()).logging(log)
    folder = RunFolder.open(path)
    known = folder.read_json("data")
    recipe = settings.with_budget(Recipe.from_dict(folder.read_json("recipe")), budget)
    chosen = choose_device(device or known["device"])
    prepared = same_data(folder, known, data, loss, data_options, own_model=model is not None, device=chosen)
    seed = int(known["seed"])
    if recipe.model.family == "module" and model is None:
        raise RunError(f"{folder.path}: the run trained a module of yours; give it again with model=.")
    network = model if model is not None else network_of(recipe, prepared, seed)
    setup = Setup(
        prepared, recipe, network, loss, optimizer, seed, chosen, baseline, console,
        settings.parse_seconds(checkpoint_every), watch, int(known.get("treat", 0)),
    )  # fmt: skip
    return _train(setup, lambda: folder, go_on=True)


@dataclasses.dataclass(frozen=True)
class Setup:
    """All that a training is made from."""

    prepared: Prepared
    recipe: Recipe
    model: nn.Module
    loss: Callable[..., Any] | None
    optimizer: torch.optim.Optimizer | None
    seed: int
    device: torch.device
    baseline: bool
    console: Console
    checkpoint_every_s: float | None = None
    watch: bool = True
    treat: int = 0
    start_from: Mapping[str, torch.Tensor] | None = None

    def training(self) -> Training:
        """Assemble the training."""
        parts = self.prepared.parts
        return assemble(
            self.model, self.recipe, Source(parts["train"], parts.get("val"), self.prepared.columns),
            task=self.prepared.task, loss=self.loss, optimizer=self.optimizer, seed=self.seed, device=self.device,
        )  # fmt: skip

    def flops(self) -> float:
        inputs, numbers = self.prepared.inputs, sum(p.numel() for p in self.model.parameters())
        return step_flops(numbers, self.recipe.batch_size) * (inputs.places if inputs is not None else 1)


def _refuse_beside_a_backbone(**given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise UsageError(
                f"backbone= and {name}= exclude each other: a backbone brings a network of its own."
            )


def _new_folder(setup: Setup, out: str | Path | bool | None) -> RunFolder | None:
    """Make the run folder with all that decides the run; None if the run is not to be written."""
    if out is False:
        return None
    prepared = setup.prepared
    hint = Path(str(prepared.source.get("data", prepared.kind))).stem
    folder = RunFolder.create(None if out in (None, True) else Path(str(out)), hint)
    about = {
        "kind": prepared.kind,
        "source": dict(prepared.source),
        "task": prepared.task.to_dict() if prepared.task else None,
        "spec": prepared.inputs.to_dict() if prepared.inputs else None,
        "transform": prepared.transform.to_dict() if prepared.transform else None,
        "fingerprint": prepared.fingerprint,
        "provenance": dict(prepared.provenance),
        "notes": [dataclasses.asdict(n) for n in prepared.notes],
        "seed": setup.seed,
        "device": str(setup.device),
        "treat": setup.treat,
    }
    # the recipe last: a folder with one is a run
    files = {"environment": environment(setup.device), "data": about, "recipe": setup.recipe.to_dict()}
    try:
        for name, value in files.items():
            folder.write_json(name, value)
    except OSError as error:
        for name in files:
            (folder.path / f"{name}.json").unlink(missing_ok=True)
        raise UsageError(f"the folder {folder.path} cannot be written: {error.strerror}.") from error
    return folder


def _train(setup: Setup, open_folder: Callable[[], RunFolder | None], *, go_on: bool) -> Run:
    """Assemble the training, then open its folder, so that a recipe that does not fit leaves nothing behind."""
    console = setup.console
    try:
        with seeded(derive(setup.seed, "torch"), setup.device), threads_for(setup.flops(), setup.device):
            training = setup.training()
            if setup.start_from is not None:
                load_weights(training, setup.start_from)
            if setup.treat:
                training.live = Live(training, prescribe, setup.treat, lambda: _attend(setup, training))
            folder = open_folder()
            if folder is None:
                training.watcher = _RowWatcher(console.epoch, console.say)
                _attend(setup, training)
                return _run(setup, training, None)
            recorder = Recorder(folder, console.say, console.epoch, setup.checkpoint_every_s)
            training.watcher = recorder
            with folder.lock():
                keep_companions(setup.recipe.model, folder.path)
                if go_on:
                    _restore(setup, training, recorder)
                elif setup.start_from is not None:
                    recorder.save(training)  # a run that is cut early must not begin from other weights
                _attend(setup, training)
                return _run(setup, training, folder)
    finally:
        console.close()


def _attend(setup: Setup, training: Training) -> None:
    """Let the watcher look into a training that has steps to take."""
    if setup.watch and not training.state.stop_reason:
        from trainwell.app.data_facts import facts_of, start_facts
        from trainwell.app.watching import Attending

        rows = setup.prepared.rows_of("val")
        training.observer = attending = Attending(training, setup.console.say, rows)
        attending.watch.traces.facts |= {
            **facts_of(setup.prepared, setup.recipe), **start_facts(setup.prepared, training)
        }  # fmt: skip


def _run(setup: Setup, training: Training, folder: RunFolder | None) -> Run:
    """Train to the end and score; an interruption gives the run so far, a failure raises with it."""
    setup.console.start(setup.recipe, training, folder)
    failure: TrainingError | None = None
    interrupted = 0
    try:
        if training.state.stop_reason:
            training.return_best()
        else:
            training.run()
    except Interrupted as error:
        interrupted = error.exit_code - 128
    except NonFiniteError as error:
        failure = error
    except Exception as error:
        note_shapes(error, setup.prepared, training.state.step)
        raise
    training.observer.on_end(training)  # where an error broke it off
    if isinstance(training.watcher, Recorder):
        training.watcher.save_best(training)
    try:
        run = finish(setup, training, folder, interrupted=interrupted, failure=failure)
    except KeyboardInterrupt:
        again = f" `trainwell resume {shlex.quote(str(folder.path))}` scores it." if folder else ""
        raise Interrupted(
            f"interrupted while the trained network was scored; its weights are kept.{again}"
        ) from None
    if failure is not None:
        failure.run = run  # type: ignore[attr-defined]
        raise failure
    return run


def _restore(setup: Setup, training: Training, recorder: Recorder) -> None:
    """Put the newest valid checkpoint back; without one the run starts again from its first step."""
    folder, say = recorder.folder, setup.console.say
    last, skipped = newest_valid(folder.path / "last")
    for line in [*folder.journal.notes, *skipped]:
        say(f"warning: {line}")
    if last is not None:
        recorder.restore(training, last)
        if training.state.stop_reason and last.path.name != "last":  # no step will come that saves it there
            recorder.save(training)
    else:
        why = "no checkpoint is whole" if skipped else "no checkpoint yet"
        say(f"{'warning: ' * bool(skipped)}{why}: the run starts again from its first step.")
    try:
        if folder.read_json("recipe") != setup.recipe.to_dict():  # the budget is new
            folder.write_json("recipe", setup.recipe.to_dict())
        if not training.state.stop_reason:  # results of weights that are about to change
            (folder.path / "results.json").unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{folder.path} cannot be written: {error.strerror}.") from error
    recorder.tell("resumed", step=training.state.step)


class _RowWatcher(Watcher):
    """Passes the rows on and writes nothing."""

    def __init__(self, on_row: Callable[[Training, Row], None], say: Callable[[str], None]) -> None:
        self._on_row, self._say = on_row, say

    def on_epoch(self, training: Training, row: Row) -> None:
        self._on_row(training, row)

    def on_return(self, training: Training, treatment: dict[str, Any]) -> None:
        self._say(treated_line(treatment))


__all__ = ["Task", "fit", "resume"]
