"""A run in memory as plain data, and back: what an estimator hands to pickle, which trainwell itself never uses."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import safetensors.torch
from torch import nn

from trainwell.app.predictor import Predictor
from trainwell.app.run import Run
from trainwell.data import Note, TableTransform
from trainwell.engine.compose import restore_structure
from trainwell.engine.streams import Streams, derive, seeded
from trainwell.models import build_model
from trainwell.values.errors import UsageError
from trainwell.values.recipe import Recipe
from trainwell.values.task import InputSpec, Task

Model = nn.Module | Callable[[int, int], nn.Module] | None
"""A user's module, a callable (num_features, num_outputs) that makes one, or None for a family of ours."""


def make_network(
    model: Model, recipe: Recipe, inputs: InputSpec | None, row: tuple[int, ...], task: Task, seed: int
) -> nn.Module:
    """Return a network that has not been trained; a user's module is copied, so that theirs stays as it is.

    Args:
        inputs: the row as a family of ours sees it. row: the shape of a row of X, as a user's module sees it.
    Raises:
        UsageError: the callable made no module.
    """
    if model is None:
        assert inputs is not None
        return build_model(recipe.model, inputs, task.num_outputs, Streams(seed).generator("init"))
    if isinstance(model, nn.Module):
        return copy.deepcopy(model)
    if not callable(model):
        raise UsageError(
            f"model must be a torch module or a callable that makes one, got {type(model).__name__}."
        )
    with seeded(derive(seed, "init")):
        made = model(row[0], task.num_outputs)
    if not isinstance(made, nn.Module):
        raise UsageError(
            f"model(num_features, num_outputs) must return a torch module, got {type(made).__name__}."
        )
    return made


def freeze(run: Run) -> dict[str, Any]:
    """Return a run as plain data: dictionaries, lists, numbers, text, and the weights as safetensors bytes."""
    weights = {k: v.detach().cpu().contiguous().clone() for k, v in run.model.state_dict().items()}
    transform = run.predictor.transform
    assert run.task is not None
    return {
        "recipe": run.recipe.to_dict(),
        "seed": run.seed,
        "task": run.task.to_dict(),
        "transform": transform.to_dict() if transform is not None else None,
        "weights": safetensors.torch.save(weights),
        "history": [dict(row) for row in run.history],
        "scores": {k: dict(v) for k, v in run.scores.items()},
        "best_epoch": run.best_epoch,
        "stop_reason": run.stop_reason,
        "seconds": run.seconds,
        "notes": [n.to_dict() for n in run.notes],
    }


def thaw(data: Mapping[str, Any], model: Model, row: tuple[int, ...]) -> Run:
    """Return the run that `freeze` described, on the CPU.

    Args:
        model, row: what `make_network` was given.
    """
    recipe, task = Recipe.from_dict(data["recipe"]), Task.from_dict(data["task"])
    transform = TableTransform.from_dict(data["transform"]) if data["transform"] is not None else None
    inputs = transform.spec if transform is not None else None
    network = make_network(model, recipe, inputs, row, task, data["seed"])
    network = restore_structure(network, recipe)
    network.load_state_dict(safetensors.torch.load(data["weights"]))
    network.eval()
    return Run(
        recipe, data["seed"], task, Predictor(network, task, transform), data["history"], data["scores"],
        data["best_epoch"], data["stop_reason"], data["seconds"], notes=tuple(Note(**n) for n in data["notes"]),
    )  # fmt: skip
