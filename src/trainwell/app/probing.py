"""`probe`: which learning rate and which batch size suit data and a recipe, before anything is trained."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainwell.app import settings
from trainwell.app.recipes import network_of, placed, recipe_for
from trainwell.app.sources import Prepared, prepare
from trainwell.engine.assemble import Source, assemble
from trainwell.engine.hardware import choose_device, step_flops, threads_for
from trainwell.engine.parts import Batch
from trainwell.engine.streams import derive, global_streams, restore_global
from trainwell.engine.training import Training
from trainwell.values.errors import UsageError
from trainwell.values.recipe import Recipe
from trainwell.values.technique import Technique
from trainwell.watch.probe import LrProbe, Runs, answer
from trainwell.watch.probe_bench import Rows, need_count
from trainwell.watch.probe_size import NOISE_ROWS, BatchSizeProbe, batch_size_probe
from trainwell.watch.replica import same_streams

TRAINED_STEPS = 200
"""Steps at the rate found after which the batch size is probed: at the first weights gradients agree as never again."""

FAR = 2.0
"""A rate of the recipe within this factor of the one found is left alone."""


@dataclasses.dataclass(frozen=True)
class Probe:
    """What short runs of a recipe on data say before it is trained.

    Args:
        lr: the range of rates and the value, at the batch size of the recipe.
        batch_size: the batch size, with the noise scale and the speeds that speak for it.
        recipe: which was probed.
    """

    lr: LrProbe
    batch_size: BatchSizeProbe | None
    recipe: Recipe

    def __str__(self) -> str:
        return "\n".join(self.lines())

    @property
    def changes(self) -> dict[str, float]:
        """The rate, where that of the recipe is far from the one found."""
        assert self.recipe.lr is not None
        if self.lr.value is None or 1 / FAR <= self.lr.value / self.recipe.lr <= FAR:
            return {}
        return {"lr": float(f"{self.lr.value:.2g}")}

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as `--json` prints them; an infinite loss is null."""
        curve = [{k: _finite(v) for k, v in dataclasses.asdict(p).items()} for p in self.lr.curve]
        size = self.batch_size
        return {
            "lr": {**{k: getattr(self.lr, k) for k in ("low", "high", "value", "reason")}, "curve": curve},
            "batch_size": None if size is None else {
                "value": size.value, "noise_scale": _finite(size.noise_scale), "reason": size.reason,
                "rows_per_second": {str(k): v for k, v in size.rows_per_second.items()},
            },
            "recipe": self.recipe.to_dict(), "changes": self.changes,
        }  # fmt: skip

    def lines(self) -> Iterator[str]:
        """Yield what a person reads."""
        lr, size, recipe = self.lr, self.batch_size, self.recipe
        at = f"at batches of {recipe.batch_size}"
        if lr.value is None or lr.low is None or lr.high is None:
            yield f"rate        none found {at}"
        else:
            yield f"rate        {lr.value:.2g} {at}; usable from {lr.low:.2g} to {lr.high:.2g}"
        yield f"  why       {lr.reason}"
        if size is not None:
            yield f"batch size  {size.value}"
            yield f"  why       {size.reason}"
            if size.value != recipe.batch_size:
                yield f"  note      another size wants another rate: probe again with --set batch_size={size.value}"
        yield f"recipe      lr={recipe.lr:.3g}, batch_size={recipe.batch_size}"


def probe(
    data: Any,
    target: str | None = None,
    *,
    model: nn.Module | None = None,
    loss: Callable[..., Any] | None = None,
    recipe: Recipe | None = None,
    preset: str = "balanced",
    settings_: Mapping[str, Any] | None = None,
    with_: Iterable[str | Technique] = (),
    without: Iterable[str] = (),
    steps: int = 24,
    seed: int = 0,
    device: str | None = None,
    **data_options: Any,
) -> Probe:
    """Find a learning rate and a batch size for data and a recipe, by short runs with its own optimizer and techniques.

    Helps before a first training on new data. Says little of late training, where the curvature is another.

    Args:
        data, target, model, loss, recipe, preset, settings_, with_, without, device, data_options: as for `fit`;
            `model` stays as it is.
        steps: steps of a run at its rate; half as many follow in which the rate falls to zero.
        seed: of the first weights, the order of the rows and all that is drawn.

    Raises:
        UsageError, DataError: something the message says how to mend.

    Source: Smith 2017, arXiv:1506.01186, section 3.3 (the rate); McCandlish et al. 2018, arXiv:1812.06162 (the size).
    """
    need_count("probe", "steps", steps, 2)
    chosen = choose_device(device)
    settings.check(settings=settings_)
    prepared = prepare(data, target, own_model=model is not None, loss=loss, options=data_options)
    with_, by_preset = tuple(settings.several(with_)), recipe is None and model is None
    recipe = recipe_for(prepared, recipe, preset, model, None)
    recipe = settings.apply(recipe, settings=settings_, with_=with_, without=without)
    recipe = placed(recipe, prepared, settings_, with_, lambda line: None) if by_preset else recipe
    network = copy.deepcopy(model) if model is not None else network_of(recipe, prepared, seed)
    flops = step_flops(sum(p.numel() for p in network.parameters()), recipe.batch_size)
    with same_streams(), threads_for(flops, chosen):

        def begin() -> Training:
            torch.manual_seed(derive(seed, "torch"))  # `same_streams` puts all of them back
            return assemble(
                copy.deepcopy(network), recipe, Source(prepared.parts["train"], None, prepared.columns),
                task=prepared.task, loss=loss, seed=seed, device=chosen,
            )  # fmt: skip

        runs = _RecipeRuns(begin, steps)
        found = answer(runs)
        return Probe(found, _batch_size(_trained(begin(), found.value), prepared, seed), recipe)


class _RecipeRuns(Runs):
    """Runs of the one step that `fit` takes."""

    def __init__(self, make: Callable[[], Training], steps: int) -> None:
        self._make = make
        super().__init__(_batches(make(), count=steps + steps // 2), steps)

    @property
    def learning(self) -> Sequence[Tensor]:
        return [p for p in self.training.model.parameters() if p.requires_grad]

    def begin(self) -> None:
        self.training = self._make()
        self.training.model.train()
        self._streams = self.training.streams.state()
        self._outer = global_streams(self.training.step.params.flat.device)

    def reseed(self) -> None:
        self.training.streams.restore(self._streams)
        restore_global(self._outer)

    def step(self, batch: Rows, rate: float) -> bool:
        return bool(torch.isfinite(self.training.step(batch[:-1], batch[-1], rate)))

    def loss_of(self, batch: Rows) -> float:
        return float(self.training.step.forward_loss(batch[:-1], batch[-1]))


def _batches(training: Training, *, count: int | None = None, rows: int = 0) -> list[Rows]:
    """Return the first batches of the first epoch: so many, or as many as hold so many rows."""
    found: list[Rows] = []
    for block in training.feed.blocks(0, 0):
        for x, y in block:
            found.append((*x, y))
            if len(found) == count or (count is None and sum(len(b[-1]) for b in found) >= rows):
                return found
    return found


def _trained(training: Training, rate: float | None) -> Training:
    """Return the training after its first steps at a rate."""
    training.model.train()
    batches = _batches(training, count=TRAINED_STEPS) if rate is not None else []
    for i in range(TRAINED_STEPS if batches else 0):
        *x, y = batches[i % len(batches)]
        training.step(tuple(x), y, rate)
    return training


def _batch_size(training: Training, prepared: Prepared, seed: int) -> BatchSizeProbe | None:
    """Probe the batch size; None where there are too few rows to tell."""
    rows = _batches(training, rows=NOISE_ROWS)
    rows = [b for b in rows if len(b[-1]) == len(rows[0][-1])] if prepared.kind == "loaders" else rows

    def loss(outputs: Tensor, y: Tensor) -> Tensor:
        return training.step.loss_of(outputs, Batch((), y))

    try:
        return batch_size_probe(training.model, rows, loss=loss, seed=seed)
    except UsageError:
        return None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
