"""The trainings of a trial: arms paired by seed, trained as lanes, each result a line of an append-only journal."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import trainwell.techniques  # noqa: F401  (fills the registry)
from trainwell.app.predictor import Predictor
from trainwell.app.recipes import try_out
from trainwell.app.scoring import scores
from trainwell.app.sources import Prepared
from trainwell.data.splits import quantile_strata, stratified
from trainwell.engine.assemble import Source
from trainwell.engine.feed import XY
from trainwell.engine.lanes import LaneResult, LaneSpec, train_lanes
from trainwell.engine.streams import seeded
from trainwell.models import build_model
from trainwell.values.errors import UsageError
from trainwell.values.journal import Journal, read_journal
from trainwell.values.recipe import Recipe
from trainwell.values.task import Task

GIVEN, REDRAWN = "given", "redrawn"
READABLE_BYTES = 2 << 30
"""Loaders that hold no more are read into memory once, so that their networks can be lanes."""

Make = Callable[[], nn.Module]


@dataclasses.dataclass(frozen=True)
class Arm:
    """One side of a comparison.

    Args:
        name: of the change, or `base`.
        reseed: added to the seed of the training, not of the split: an arm that differs by chance alone.
    """

    name: str
    recipe: Recipe
    reseed: int = 0


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of one arm with one seed.

    Args:
        numbers: `train_loss`, `val_loss`, `epochs` and the metrics on validation rows, at the best epoch.
        test: what is wanted on the test part; nothing looks at them before the trial has ended.
        diverged: a loss became non-finite, or never was finite.
    """

    arm: str
    seed: int
    numbers: dict[str, float]
    test: dict[str, float]
    diverged: bool
    stop_reason: str
    engine: str

    def score(self, metric: str) -> float:
        """Return a number of the best epoch; nan where the run diverged, which is worse than any."""
        return math.nan if self.diverged else self.numbers.get(metric, math.nan)


class TrialRuns:
    """Trains arms on seeds; what the journal of the folder holds already is not trained again.

    Every seed draws initialization, order and, where the parts of the data are cut at random, its own validation rows
    from all rows that are not of the test part; the arms of a pair share them all. Source: Bouthillier et al. 2021,
    arXiv:2103.03098: a comparison that varies all sources of chance, paired, errs least for its cost.

    Args:
        model: the user's own: a module that every run copies, or a function that makes one; None for a family.
        wanted: metrics beside those of the history that are measured on validation rows, and those of the test part.
    """

    def __init__(
        self, prepared: Prepared, *, model: nn.Module | Make | None = None, loss: Any = None,
        device: torch.device | None = None, wanted: Iterable[str] = (), say: Callable[[str], None] = lambda text: None,
    ) -> None:  # fmt: skip
        self.prepared, self.loss, self.device, self.say = prepared, loss, device or torch.device("cpu"), say
        self.task, self._wanted = prepared.task, set(wanted)
        self._model = model
        self.parts = {name: _in_memory(part) for name, part in prepared.parts.items()}
        self.split = _split_of(prepared)
        train, val = self.parts["train"], self.parts.get("val")
        if self.split == REDRAWN:
            assert val is not None
            train, self._share = _joined(train, val), len(val[1]) / (len(train[1]) + len(val[1]))
        self.source = Source(train, val, prepared.columns)
        self.results: dict[tuple[str, int], Result] = {}
        self.engines: list[str] = []
        self._journal: Journal | None = None

    def keep_in(self, folder: Path | None) -> None:
        """Take in what a folder has of the trial, and write further results there; None keeps nothing."""
        if folder is None:
            return
        self._journal = Journal(folder / "journal.jsonl")
        for event in read_journal(folder / "journal.jsonl")[0]:
            if event.get("event") == "finished":
                held = {f.name: event[f.name] for f in dataclasses.fields(Result)}
                self._keep(Result(**held))

    def try_out(self, arm: Arm) -> None:
        """Refuse before anything is written an arm that cannot be trained.

        Raises:
            RecipeError: something of its recipe does not fit the data or the network.
        """
        network = self.build(arm.recipe, torch.Generator().manual_seed(0))
        try_out(arm.recipe, dataclasses.replace(self.prepared, parts=self.parts), network, self.loss)

    def train(self, arms: Sequence[Arm], seeds: Iterable[int]) -> None:
        """Train every arm on every seed; results lie in `results`."""
        specs = [
            self._spec(arm, seed) for seed in seeds for arm in arms if (arm.name, seed) not in self.results
        ]
        if specs:
            train_lanes(
                specs, self.source, self.task, model=self.build, loss=self.loss, device=self.device,
                tell=self._told, say=self._said,
            )  # fmt: skip

    def scores(self, arm: str, seeds: Iterable[int], metric: str) -> list[float]:
        """Return a number of an arm for each seed; nan where the run diverged."""
        return [self.results[arm, seed].score(metric) for seed in seeds]

    def build(self, recipe: Recipe, generator: torch.Generator) -> nn.Module:
        """Make the first network of a run: the user's own, or that of the recipe's family."""
        if isinstance(self._model, nn.Module):
            import copy

            return copy.deepcopy(self._model)
        if self._model is not None:
            with seeded(int(torch.randint(2**62, (), generator=generator))):
                return self._model()
        if self.prepared.inputs is None or self.task is None:
            raise UsageError(f"the family '{recipe.model.family}' does not fit these data; give model=.")
        return build_model(recipe.model, self.prepared.inputs, self.task.num_outputs, generator)

    def _spec(self, arm: Arm, seed: int) -> LaneSpec:
        train_rows, val_rows = self.rows(seed)
        return LaneSpec(arm.recipe, seed + arm.reseed, train_rows, val_rows, (arm.name, seed))

    def rows(self, seed: int) -> tuple[Tensor | None, Tensor | None]:
        """Return the training and validation rows of a seed, positions in `source.train`; None for those given."""
        if self.split == GIVEN:
            return None, None
        target = self.source.train[1].cpu().numpy()  # type: ignore[index]
        strata = target if self.task is not None and self.task.is_classification else _quantiles(target)
        cut = stratified(strata, self._share, 0.0, seed)
        return torch.from_numpy(cut["train"]), torch.from_numpy(cut["val"])

    def _told(self, result: LaneResult) -> None:
        arm, seed = result.spec.tag
        numbers = dict(result.scores)
        metric = numbers.pop("val_metric", None)
        if metric is not None and self.task is not None:
            numbers[self.task.metric] = metric
        numbers["epochs"] = float(len(result.history))
        diverged = result.stop_reason == "non-finite" or not result.best_epoch
        if not diverged and self._wanted - set(numbers):
            numbers = {**self._measured(result.model, self._part("val", result.spec)), **numbers}
        kept = {} if diverged else self._measured(result.model, self.parts.get("test"))
        found = Result(arm, seed, numbers, kept, diverged, result.stop_reason, result.engine)
        if self._journal is not None:
            self._journal.append("finished", **dataclasses.asdict(found))
        self._keep(found)

    def _keep(self, result: Result) -> None:
        self.results[result.arm, result.seed] = result
        if result.engine not in self.engines:
            self.engines.append(result.engine)

    def _said(self, text: str) -> None:
        self.say(f"          {text}")

    def _part(self, name: str, spec: LaneSpec) -> XY | None:
        if name == "val" and spec.val_rows is not None:
            x, y = self.source.train
            return tuple(t[spec.val_rows] for t in x), y[spec.val_rows]
        return self.parts.get(name)

    def _measured(self, model: nn.Module, part: XY | None) -> dict[str, float]:
        """Return the wanted metrics of a part; of a user's own loss without a task its loss."""
        if part is None:
            return {}
        x, y = part
        predictor = Predictor(model, self.task)
        if self.task is None:
            outputs = torch.from_numpy(predictor.outputs(x))
            return {"val_loss": float(self.loss(outputs, y.cpu()))}
        return scores(self.task, _in_unit(self.task, y.cpu().numpy()), predictor.scored(x), self._wanted)


def _split_of(prepared: Prepared) -> str:
    """Return whether the validation rows may be drawn anew: only rows that chance has parted."""
    made = prepared.provenance.get("parts", {}).get("val", {})
    return REDRAWN if str(made.get("kind", "")).startswith("random") else GIVEN


def _joined(a: XY, b: XY) -> XY:
    return tuple(torch.cat(pair) for pair in zip(a[0], b[0], strict=True)), torch.cat([a[1], b[1]])


def _quantiles(target: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    flat = target.reshape(len(target), -1)[:, 0]
    return quantile_strata(flat)


def _in_unit(task: Task, target: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if task.is_classification:
        return target
    numbers = target.astype(np.float64) * task.scale + task.mean
    return numbers[:, 0] if numbers.ndim == 2 and numbers.shape[1] == 1 else numbers


def _in_memory(part: Any) -> XY:
    """Return a part as tensors; a loader is read once.

    Raises:
        UsageError: it does not fit into memory.
    """
    if isinstance(part, tuple):
        return part
    batches, size = [], 0
    for batch in part:
        *inputs, y = batch
        batches.append((inputs, y))
        size += sum(t.numel() * t.element_size() for t in (*inputs, y))
        if size > READABLE_BYTES:
            raise UsageError(
                "a trial trains many networks on data in memory; the loader holds more than 2 GiB. Give tensors of a "
                "part of the data."
            )
    x = tuple(torch.cat([torch.as_tensor(b[0][i]) for b in batches]) for i in range(len(batches[0][0])))
    return x, torch.cat([torch.as_tensor(b[1]) for b in batches])
