"""What the trials of a study are trained with: in lanes where the data lie in memory, one by one where not."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from trainwell.app.sources import Prepared
from trainwell.engine.assemble import Source, assemble
from trainwell.engine.lanes import LaneResult, LaneSpec, train_lanes
from trainwell.engine.lanes.paused import go_on
from trainwell.engine.lanes.train import MAX_LANES, Teller
from trainwell.engine.streams import Streams, derive, seeded
from trainwell.engine.training import Row
from trainwell.values.errors import Interrupted, NonFiniteError, TrainingError
from trainwell.values.recipe import Recipe
from trainwell.values.task import InputSpec

LATE = "the budget is used up"

LEAST_REPEATS = 2
"""Repeats that are trained whatever they take: fewer confirm nothing."""


@dataclasses.dataclass(frozen=True)
class Builder:
    """Makes the network of a recipe: a copy of the user's module, what the user's function gives, or one of a family.

    Args:
        model: a module, or a function recipe -> module; None for the family that the recipe names.
    """

    model: torch.nn.Module | Callable[..., torch.nn.Module] | None
    inputs: InputSpec | None
    num_outputs: int

    def __call__(self, recipe: Recipe, generator: torch.Generator) -> torch.nn.Module:
        if self.model is not None:
            return self.made(recipe, int(torch.randint(2**31, (1,), generator=generator)))
        assert self.inputs is not None
        from trainwell.models import build_model

        return build_model(recipe.model, self.inputs, self.num_outputs, generator)

    def made(self, recipe: Recipe, seed: int) -> torch.nn.Module:
        """Return a fresh module of the user's; a function draws its weights from torch's own stream."""
        assert self.model is not None
        if isinstance(self.model, torch.nn.Module):
            return copy.deepcopy(self.model)
        with seeded(derive(seed, "init")):
            return self.model(recipe)


@dataclasses.dataclass(frozen=True)
class Work:
    """All that trainings are made from.

    Args:
        base: the recipe that configurations change.
        stopped: whether the user wants an end. stop: told of a signal that a training heard.
        max_lanes: networks in one stack, at most.
    """

    prepared: Prepared
    base: Recipe
    build: Builder
    loss: Any
    device: torch.device
    stopped: Callable[[], bool] = lambda: False
    stop: Callable[[int], None] = lambda number: None
    max_lanes: int = MAX_LANES

    @property
    def source(self) -> Source:
        parts = self.prepared.parts
        return Source(parts["train"], parts.get("val"), self.prepared.columns)

    def value(self, row: Mapping[str, Any]) -> float:
        """Return what is minimised: the primary metric with its sign, or the validation loss where there is no task."""
        task = self.prepared.task
        metric = row.get("val_metric")
        found = row.get("val_loss") if task is None or metric is None else -task.metric_sign * float(metric)
        return math.nan if found is None else float(found)


def train(
    work: Work,
    specs: Iterator[LaneSpec | None],
    tell: Callable[[LaneResult], None],
    on_epoch: Callable[[LaneSpec, Row], str | None],
    source: Source | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Train what the iterator yields, as lanes or, where loaders feed, one after the other."""
    source = source or work.source
    task = work.prepared.task
    if isinstance(source.train, tuple) and (source.val is None or isinstance(source.val, tuple)):
        train_lanes(
            specs, source, task, model=work.build, loss=work.loss, device=work.device, tell=tell, on_epoch=on_epoch,
            say=say, max_lanes=work.max_lanes,
        )  # fmt: skip
        return
    for spec in specs:
        if spec is None:
            return
        tell(alone(work, spec, source, on_epoch))


def alone(
    work: Work, spec: LaneSpec, source: Source, on_epoch: Callable[[LaneSpec, Row], str | None]
) -> LaneResult:
    """Train one network that a loader feeds."""
    with seeded(derive(spec.seed, "torch"), work.device):
        module = work.build(spec.recipe, Streams(spec.seed).generator("init"))
        teller = Teller(spec, on_epoch)
        training = assemble(
            module, spec.recipe, source, task=work.prepared.task, loss=work.loss, seed=spec.seed, device=work.device,
            watcher=teller,
        )  # fmt: skip
        if spec.resume is not None:
            go_on(training, spec.resume)
        try:
            training.run()
        except (NonFiniteError, TrainingError):
            training.state.stop_reason = "non-finite"
    s = training.state
    return LaneResult(
        spec,
        training.model.eval(),
        s.history,
        s.best_epoch,
        s.best_value,
        s.stop_reason,
        s.step,
        "plain: loaders",
        teller.paused,
    )


def repeats(
    work: Work, recipes: Sequence[Recipe], splits: Sequence[tuple[Any, Any] | None], seeds: Sequence[int],
    deadline: float = math.inf, least: int = LEAST_REPEATS, on_tell: Callable[[], None] = lambda: None,
) -> torch.Tensor:  # fmt: skip
    """Train every recipe on every split with its seed; return the losses, (recipes, splits) float64.

    Args:
        deadline: `time.monotonic()` after which further repeats are given up; those that are whole come back.
        least: repeats that are trained though the deadline has passed.
        splits: (train rows, validation rows) of training and validation part together; None for the parts as they
            are, so that only the seed is fresh.
        on_tell: told whenever a training has ended.
    """
    losses = torch.full((len(recipes), len(seeds)), math.nan, dtype=torch.float64)
    pooled = pool(work) if any(s is not None for s in splits) else work.source
    specs: list[LaneSpec | None] = []
    for column, (split, seed) in enumerate(zip(splits, seeds, strict=True)):
        learns, judges = split or (None, None)
        specs += [LaneSpec(r, seed, learns, judges, tag=(i, column)) for i, r in enumerate(recipes)]
    told = torch.zeros(len(seeds), dtype=torch.int64)

    def late(spec: LaneSpec) -> bool:
        return spec.tag[1] >= least and time.monotonic() > deadline

    def in_time() -> Iterator[LaneSpec | None]:
        yield from itertools.takewhile(lambda spec: spec is not None and not late(spec), specs)

    def tell(result: LaneResult) -> None:
        if result.best_epoch:
            losses[result.spec.tag] = work.value(result.history[result.best_epoch - 1])
        told[result.spec.tag[1]] += result.stop_reason != LATE
        on_tell()

    try:
        train(work, in_time(), tell, lambda spec, row: LATE if late(spec) else None, pooled)
    except Interrupted as error:
        if int((told == len(recipes)).sum()) < least:
            raise
        work.stop(error.exit_code - 128)
    return losses[:, told == len(recipes)]


def pool(work: Work) -> Source:
    """Return training and validation part as one training part."""
    (x, y), (vx, vy) = work.prepared.parts["train"], work.prepared.parts["val"]
    whole = tuple(torch.cat([a, b]) for a, b in zip(x, vx, strict=True)), torch.cat([y, vy])
    return Source(whole, None, work.prepared.columns)
