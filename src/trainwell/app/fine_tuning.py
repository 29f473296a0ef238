"""Fine-tuning from a probe: whether there is time for it, from which weights, and whether it was worth it."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trainwell.app.data_facts import base_loss
from trainwell.app.feature_cache import silent
from trainwell.app.fit import fit
from trainwell.app.joined import joined_net
from trainwell.app.predictor import Predictor
from trainwell.engine.assemble import Source, assemble
from trainwell.engine.tensorfile import write_tensors
from trainwell.models import FAMILIES, build_model
from trainwell.models.backbones import Backbone
from trainwell.models.probe import ProbeNet
from trainwell.values.recipe import ModelSpec, Recipe
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from trainwell.app.console import Console
    from trainwell.app.run import Run
    from trainwell.app.sources import Prepared

EPOCHS = {"quick": 0, "balanced": 3, "best": 10}
LEAST_EPOCHS = 2
"""Of fine-tuning that the user asked for under a preset that leaves it out."""
SECONDS = {"quick": 0.0, "balanced": 600.0, "best": 7200.0}
"""Fine-tuning is left out when it would take longer than this; what it would take is measured on one step, and said."""
RATE = 1e-4
Z = 1.96


def why_not(run: Run, preset: str) -> str:
    """Say why fine-tuning is left out; empty if it is not."""
    if not EPOCHS.get(preset):
        return f"the preset {preset} leaves fine-tuning out"
    if run.interrupted:
        return "it was interrupted"
    if not isinstance(run.model, ProbeNet) or run.model.blocks:
        return "fine-tuning starts from a linear probe"
    return "" if run.path is not None else "fine-tuning needs a folder to start from"


def fine_tuned(
    run: Run,
    features: Prepared,
    inputs: Prepared,
    model: ModelSpec,
    preset: str,
    how: Mapping[str, Any],
    console: Console | None,
) -> Run:
    """Fine-tune from the probe, where the preset has time for it, and return the better run."""
    say = console.say if console is not None else silent
    assert run.path is not None
    recipe = fine_recipe(model.replace(weights=str(_joined(run, inputs, model))), preset)
    seconds = _seconds_of(recipe, inputs)
    if seconds > SECONDS[preset]:
        most = SECONDS[preset] / 60
        say(
            f"kept      the probe: fine-tuning would take {seconds / 60:.0f} minutes here, preset {preset} has {most:.0f}"
        )
        return run
    say(f"tuning    all layers from the probe, about {seconds:.0f} s")
    out = run.path.with_name(run.path.name + "-tuned")
    inputs = _with_start(inputs, float(losses_of(run, features).mean()))
    tuned = fit(inputs, recipe=recipe, out=out, baseline=False, console=console, **{**how, "budget": None})
    better, reason = compare(run, features, tuned, inputs)
    say(f"kept      {'fine-tuning' if better else 'the probe'}: {reason}")
    return tuned if better else run


def _joined(run: Run, inputs: Prepared, model: ModelSpec) -> Path:
    """Write backbone and probe as the weights of one network, with what belongs beside them, into the run."""
    assert run.path is not None and run.task is not None and inputs.inputs is not None
    assert isinstance(run.model, ProbeNet)
    net = joined_net(run.model, model, inputs.inputs, run.task.num_outputs)
    home = run.path / "start"
    home.mkdir(exist_ok=True)
    for beside in net.family.companions():
        shutil.copyfile(beside, home / beside.name)
    file = home / "model.safetensors"
    write_tensors(file, dict(net.state_dict()))
    return file.resolve()


def fine_recipe(model: ModelSpec, preset: str) -> Recipe:
    """Return the recipe of fine-tuning: low rates, lower near the input, norms as they were trained."""
    backbone = FAMILIES[model.family](**dict(model.params))
    norms = ["freeze_norms"] if isinstance(backbone, Backbone) and backbone.has_batch_norms() else []
    techniques = ["layer_decay:factor=0.85", "weight_decay:rate=0.01", *norms, "clip_grad:max_norm=1"]
    return Recipe(
        model=model, optimizer="adam", schedule="one_cycle", lr=RATE, batch_size=32,
        epochs=EPOCHS.get(preset) or LEAST_EPOCHS, techniques=tuple(map(Technique.parse, techniques)),
    )  # fmt: skip


def _seconds_of(recipe: Recipe, inputs: Prepared) -> float:
    """Return the seconds that a recipe would take, from one step on real rows."""
    assert inputs.task is not None and inputs.inputs is not None
    x, y = inputs.parts["train"]
    rows = min(len(y), recipe.batch_size)
    some = (tuple(t[:rows] for t in x), y[:rows])
    net = build_model(recipe.model, inputs.inputs, inputs.task.num_outputs, torch.Generator().manual_seed(0))
    run = assemble(net, recipe.replace(batch_size=rows), Source(some, None), task=inputs.task)
    run.model.train()
    run.step(*some, 1e-9)
    start = time.perf_counter()
    run.step(*some, 1e-9)
    return (time.perf_counter() - start) / rows * len(y) * recipe.epochs * 1.1


def compare(first: Run, features: Prepared, second: Run, inputs: Prepared) -> tuple[bool, str]:
    """Say whether the second run's validation losses are smaller, row by row, beyond chance, and why."""
    return verdict(losses_of(second, inputs) - losses_of(first, features))


def losses_of(run: Run, prepared: Prepared) -> np.ndarray:
    """Return the validation loss of every row under a run."""
    x, y = prepared.parts["val"]
    return row_losses(Predictor(run.model, run.task).scored(x), y.numpy(), run)


def _with_start(inputs: Prepared, loss: float) -> Prepared:
    """Let the doctor know the validation loss that fine-tuning starts from."""
    made, task = inputs.samples, inputs.task
    assert made is not None and task is not None
    unit = 1.0 if task.is_classification else task.scale**2
    facts = {**made.facts, "start_of_base": loss / (base_loss(made) * unit)}
    return dataclasses.replace(inputs, samples=dataclasses.replace(made, facts=facts))


def row_losses(shown: np.ndarray, y: np.ndarray, run: Run) -> np.ndarray:
    """Return the loss of every row: minus the logarithm of the class's probability, or the squared error."""
    assert run.task is not None
    if run.task.is_classification:
        return np.asarray(-np.log(np.clip(shown[np.arange(len(y)), y], 1e-12, 1)))
    return np.square(shown - (y[:, 0] * run.task.scale + run.task.mean))


def verdict(difference: np.ndarray) -> tuple[bool, str]:
    """Judge paired differences of losses, second minus first: better if the interval of 95 % lies below 0."""
    mean = float(difference.mean())
    half = Z * float(difference.std(ddof=1)) / max(1, len(difference)) ** 0.5
    words = f"its validation loss differs by {mean:+.4f} +- {half:.4f} (95 %, {len(difference)} rows, paired)"
    if mean + half < 0:
        return True, f"{words}: better"
    return False, f"{words}: fine-tuning is {'worse' if mean - half > 0 else 'not better beyond chance'}"
