"""Puts a training together: model, flat weights, sites, feed. Used alike for a new run and for a resume."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainwell.engine.compose import Sites
from trainwell.engine.feed import XY, Feed, LoaderFeed, MemoryFeed, evaluation_batches, split_batch
from trainwell.engine.flat import flatten, parameter_groups
from trainwell.engine.foreign import ForeignOptimizer
from trainwell.engine.losses import objective_of
from trainwell.engine.parts import Build, HardwarePlan
from trainwell.engine.step import Step, forward_of
from trainwell.engine.streams import Streams
from trainwell.engine.training import Evaluation, Training, Watcher
from trainwell.models.layers import adopt_dropout
from trainwell.values.errors import NoPlaceError, UsageError
from trainwell.values.recipe import Recipe
from trainwell.values.task import Task

INITIALIZATION_ROWS = 1024
EVALUATION_ROWS = 2048
EVALUATION_NUMBERS = 1 << 20
"""Numbers of the inputs of one evaluated batch of images or sounds: what a convolution makes of them stays in memory."""
ACCELERATOR_FACTOR = 32
"""How many times as much an accelerator takes at once: there the calls cost more than the memory."""


@dataclasses.dataclass(frozen=True)
class Source:
    """The parts of the data as the engine takes them: tensors (x tuple, y), or a loader of batches.

    Args:
        train, val: the parts; `val` may be None.
        columns: names of the columns of x[0], for messages.
    """

    train: XY | Iterable[Any]
    val: XY | Iterable[Any] | None
    columns: Sequence[str] = ()


def assemble(
    model: nn.Module,
    recipe: Recipe,
    source: Source,
    *,
    task: Task | None,
    loss: Any = None,
    optimizer: torch.optim.Optimizer | None = None,
    seed: int = 0,
    device: torch.device | None = None,
    watcher: Watcher | None = None,
) -> Training:
    """Return the training of a recipe on data with a seed, ready to run.

    The parameters of `model` become views of one flat buffer; the module stays usable as it is.

    Args:
        model: the network; `model(*x)` gives outputs (B, C).
        task: what is learned; `None` for a user's own loss whose outputs are of any shape.
        loss: a user's own loss (outputs, target) -> scalar; `None` for that of the task.
        optimizer: a user's own; the recipe's optimizer is then `given`.
    """
    device = device or torch.device("cpu")
    streams = Streams(seed, device)
    sites = Sites.of(recipe)
    plan = sites.plan(HardwarePlan(device))
    model.to(device)
    feed = make_feed(source.train, recipe, device, streams)
    model = prepare_model(model, sites, feed, streams)
    params, grads = flatten(sites.edit_groups(parameter_groups(model)))
    if device.type == "cuda":  # cuDNN copies recurrent weights into its own layout at every call
        warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")
    if optimizer is not None:
        _check_covers(optimizer, model)
        sites = dataclasses.replace(sites, optimizer=ForeignOptimizer(optimizer))
    objective = objective_of(task, loss) if task is not None else objective_of(Task("regression"), loss)
    step = Step(
        forward_of(model, plan), params, grads, sites, objective, task or Task("regression"), plan,
        streams.generator, getattr(model, "num_members", 1),
    )  # fmt: skip
    return Training(
        model, step, recipe, task, objective, feed, make_evaluation(source.val, device), streams,
        watcher or Watcher(), source.columns,
    )  # fmt: skip


def make_feed(train: XY | Iterable[Any], recipe: Recipe, device: torch.device, streams: Streams) -> Feed:
    """Return the feed for tensors or for a loader."""
    if isinstance(train, tuple):
        x, y = train
        sorters = Sites.of(recipe).at("data")
        return MemoryFeed(
            tuple(t.to(device) for t in x), y.to(device), recipe.batch_size, streams, sorters=sorters
        )
    for sorter in Sites.of(recipe).at("data"):
        raise NoPlaceError(
            sorter.name,
            f"{sorter.name} orders rows that lie in memory, and these come from a loader, which has an order of "
            f"its own: leave {sorter.name} out, or give the rows as tensors.",
        )
    if not hasattr(train, "__len__"):
        raise UsageError("a loader must have a length, so that the schedule knows how long an epoch is.")
    return LoaderFeed(train, device, streams)


def make_evaluation(val: XY | Iterable[Any] | None, device: torch.device) -> Evaluation | None:
    """Return what makes the batches of the validation part."""
    if val is None:
        return None
    if isinstance(val, tuple):
        x, y = tuple(t.to(device) for t in val[0]), val[1].to(device)
        return lambda: evaluation_batches(x, y, evaluation_rows(x[0], device))
    return lambda: (split_batch(b, device) for b in val)


def evaluation_rows(x: Tensor, device: torch.device) -> int:
    """Return the rows of a batch of an evaluation; fewer where a row has places as well as features.

    Args:
        device: of the network.
    """
    if x.ndim < 3:
        return EVALUATION_ROWS
    numbers = EVALUATION_NUMBERS * (1 if device.type == "cpu" else ACCELERATOR_FACTOR)
    return max(8, min(EVALUATION_ROWS, numbers // max(1, x[0].numel())))


def prepare_model(model: nn.Module, sites: Sites, feed: Feed, streams: Streams) -> nn.Module:
    """Initialize from data where the model asks for it, then let the techniques change the model."""
    sample: tuple[Tensor, ...] = feed.sample(INITIALIZATION_ROWS)
    sites.check_kinds(model, sample)
    if hasattr(model, "initialize"):
        initialize: Any = model.initialize
        rows = feed.sample(int(getattr(model, "initialization_rows", INITIALIZATION_ROWS)))
        initialize(rows, streams.generator("initialize"))
    dropout = streams.generator("dropout")
    adopt_dropout(model, dropout)
    return sites.build_model(model, lambda name: Build(streams.generator(name), sample, dropout, feed.sample))


def _check_covers(optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """Refuse an optimizer that holds parameters of another model."""
    known = {id(p) for p in model.parameters()}
    held = [p for group in optimizer.param_groups for p in group["params"]]
    if any(id(p) not in known for p in held):
        raise UsageError(
            "the optimizer holds parameters that are not of this model; make it from model.parameters() after the "
            "model is complete and on its device."
        )
