"""What a lane is asked to do, and what comes back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainwell.engine.lanes.paused import Paused
from trainwell.engine.training import Row
from trainwell.values.recipe import Recipe

Build = Callable[[Recipe, torch.Generator], nn.Module]
"""Makes the network of a recipe; its first numbers come from the generator (stream `init` of the seed)."""


@dataclasses.dataclass(frozen=True, eq=False)
class LaneSpec:
    """One training: a recipe, a seed and the rows it learns from.

    Args:
        train_rows: indices into the training part, (N,) int64: a fold, a split, a bootstrap; None for all.
        val_rows: indices into the *training part* of the rows to validate on; None for the validation part.
        resume: the state of a paused run of the same recipe, seed and rows, which goes on.
        tag: anything that helps the caller to know the lane again; it is handed back.
    """

    recipe: Recipe
    seed: int = 0
    train_rows: Tensor | None = None
    val_rows: Tensor | None = None
    tag: Any = None
    resume: Paused | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class LaneResult:
    """What became of a lane; the same as its lone run would have given.

    Args:
        model: the network with the weights of the best epoch, in evaluation mode; of the last, if none was best.
        history: one row per finished epoch, as in a run. `epoch_s` is the lane's share of the time.
        best_epoch: 1-based; 0 if no epoch had a finite monitored value.
        best_value: the monitored value of that epoch, lower is better.
        stop_reason: why it ended: the budget, a technique, `non-finite`, or what `on_epoch` said.
        steps: steps that were taken; with `non-finite` those before the first loss that was not finite.
        engine: `lanes`, or `plain` with the reason why it was not fused.
        paused: how to go on, where `on_epoch` returned `PAUSE`.
    """

    spec: LaneSpec
    model: nn.Module
    history: list[Row]
    best_epoch: int
    best_value: float
    stop_reason: str
    steps: int
    engine: str
    paused: Paused | None = None

    @property
    def state_dict(self) -> dict[str, Tensor]:
        """The best weights and buffers by name."""
        return dict(self.model.state_dict())

    @property
    def scores(self) -> dict[str, float]:
        """The losses and the metric of the best epoch; empty if there is none."""
        if not self.best_epoch:
            return {}
        row = self.history[self.best_epoch - 1]
        return {k: float(row[k]) for k in ("train_loss", "val_loss", "val_metric") if row[k] is not None}
