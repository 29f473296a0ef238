"""Small sick trainings, one per ailment, on which a technique shows whether it does what it says."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainwell.engine.assemble import Source, assemble
from trainwell.testing.runs import Part, recipe_with
from trainwell.values.errors import TrainingError
from trainwell.values.recipe import Recipe
from trainwell.values.task import Task
from trainwell.values.technique import Technique

Make = Callable[[torch.Generator], tuple[nn.Module, Part, Part]]


@dataclasses.dataclass(frozen=True, eq=False)
class Sick:
    """A training with an ailment.

    Args:
        make: generator -> model, training part, validation part.
        recipe: fields of the recipe without the remedy.
        measured: what the doctor would have measured, for the dose.
    """

    make: Make
    task: Task
    recipe: dict[str, Any]
    measured: dict[str, float] = dataclasses.field(default_factory=dict)


@functools.cache
def outcome(sick: Sick, remedy: Technique | None, seed: int) -> dict[str, float]:
    """Train and return the last losses, the metric by its name and the number of epochs; infinity if it failed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, train, val = sick.make(torch.Generator().manual_seed(seed))
    recipe: Recipe = recipe_with(remedy, **sick.recipe)
    run = assemble(model, recipe, Source(train, val), task=sick.task, seed=seed)
    try:
        row = run.run().history[-1]
    except TrainingError:
        return dict.fromkeys(("train_loss", "val_loss"), math.inf) | {
            sick.task.metric: 0.0,
            "epochs": math.inf,
        }
    last = {k: float(row[k]) for k in ("train_loss", "val_loss")}
    return last | {sick.task.metric: float(row["val_metric"] or 0.0), "epochs": float(row["epoch"])}


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator)


def layers(*widths: int, activation: type[nn.Module] = nn.ReLU, norm: bool = False) -> nn.Sequential:
    """Return linear layers of these widths with an activation between them."""
    modules: list[nn.Module] = []
    for a, b in itertools.pairwise(widths[:-1]):
        modules += [nn.Linear(a, b), *([nn.BatchNorm1d(b)] if norm else []), activation()]
    return nn.Sequential(*modules, nn.Linear(widths[-2], widths[-1]))


def labels(x: Tensor, generator: torch.Generator, noise: float = 0.0) -> Tensor:
    """Return which of three sums is the largest; a share of the labels is drawn by lot."""
    y = torch.stack([x[:, 0], x[:, 1], x[:, 2]], 1).argmax(1)
    lot = torch.rand(len(x), generator=generator) < noise
    return torch.where(lot, torch.randint(3, (len(x),), generator=generator), y)


def wave(x: Tensor) -> Tensor:
    """Return a smooth function of the first two features, (N, 1)."""
    return (torch.sin(2 * x[:, :1]) + x[:, 1:2].tanh()).float()


@torch.no_grad()
def scaled(model: nn.Module, factor: float, bias: float | None = None) -> nn.Module:
    """Multiply every weight, and set the biases."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.weight.mul_(factor)
            if bias is not None:
                module.bias.fill_(bias)
    return model


def _noisy_few(g: torch.Generator) -> tuple[nn.Module, Part, Part]:
    x, z = normal(g, 100, 10), normal(g, 300, 10)
    return layers(10, 64, 64, 3), ((x,), labels(x, g, 0.3)), ((z,), labels(z, g, 0.3))


def _heavy_tails(g: torch.Generator) -> tuple[nn.Module, Part, Part]:
    x, z = normal(g, 640, 6), normal(g, 100, 6)
    x[::320] *= 60  # two rows far out, in a tenth of the batches
    return layers(6, 32, 32, 1), ((x,), wave(x)), ((z,), wave(z))


def _regression(model: Callable[[], nn.Module], rows: int = 256) -> Make:
    def make(g: torch.Generator) -> tuple[nn.Module, Part, Part]:
        x, z = normal(g, rows, 6), normal(g, 100, 6)
        return model(), ((x,), wave(x)), ((z,), wave(z))

    return make


def _noisy_line(g: torch.Generator) -> tuple[nn.Module, Part, Part]:
    x, z = normal(g, 200, 8), normal(g, 200, 8)
    y = x[:, :1] + 0.5 * normal(g, 200, 1)
    return layers(8, 8, 1), ((x,), y), ((z,), z[:, :1])


def _rare_classes(g: torch.Generator) -> tuple[nn.Module, Part, Part]:
    def part(rows: int, share: float) -> Part:
        y = (torch.rand(rows, generator=g) < share).long()
        return (normal(g, rows, 6) + 0.8 * y.unsqueeze(1),), y

    return layers(6, 16, 2), part(400, 0.05), part(400, 0.3)


NUMBER = Task("regression", metric="rmse")
CLASSES = Task("multiclass", (0, 1, 2), (34, 33, 33))
RARE = Task("binary", (0, 1), (380, 20), metric="balanced_accuracy")
SGD = {"optimizer": "sgd", "batch_size": 32}

_OVERFITTING = Sick(_noisy_few, CLASSES, {**SGD, "lr": 0.05, "epochs": 60}, {"lr": 0.05, "steps": 240})
_NOISE = Sick(_noisy_line, NUMBER, {"optimizer": "sgd:momentum=0", "lr": 0.1, "batch_size": 4, "epochs": 6})

SICK: dict[str, Sick] = {
    "overfitting": _OVERFITTING,
    "label_noise": _OVERFITTING,
    "exploding_gradient": Sick(_heavy_tails, NUMBER, {**SGD, "lr": 0.03, "epochs": 12}, {"grad_norm.q90": 2.0}),
    "lr_too_high": Sick(
        _regression(lambda: scaled(layers(6, 32, 32, 1), 3.0)), NUMBER, {**SGD, "lr": 0.1, "epochs": 12}
    ),
    "bad_init": Sick(_regression(lambda: scaled(layers(6, *[32] * 5, 1), 0.2)), NUMBER, {**SGD, "epochs": 12}),
    "vanishing_gradient": Sick(
        _regression(lambda: layers(6, *[32] * 8, 1, activation=nn.Tanh)), NUMBER, {**SGD, "epochs": 12}
    ),
    "saturated_units": Sick(
        _regression(lambda: scaled(layers(6, *[32] * 3, 1, activation=nn.Tanh), 12.0)), NUMBER, {**SGD, "epochs": 12}
    ),
    "dead_units": Sick(
        _regression(lambda: scaled(layers(6, 32, 32, 1), 1.0, bias=-2.5)), NUMBER, {**SGD, "epochs": 12}
    ),
    "batchnorm_misuse": Sick(
        _regression(lambda: layers(6, 32, 32, 1, norm=True), 100), NUMBER,
        {"optimizer": "adam", "lr": 3e-3, "batch_size": 2, "epochs": 6},
    ),
    "class_imbalance": Sick(_rare_classes, RARE, {"lr": 3e-3, "batch_size": 32, "epochs": 12}),
    "lr_schedule": _NOISE,
    "oscillation": _NOISE,
    "batch_too_small": _NOISE,
}  # fmt: skip
"""A sick training per ailment; an ailment of data or compute that no technique treats has none."""
