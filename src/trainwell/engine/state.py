"""The counters of a training, and what they decide: rates, the best epoch, an early stop."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from trainwell.engine.compose import Sites
from trainwell.values.recipe import Recipe
from trainwell.values.task import Task

Row = dict[str, Any]


@dataclasses.dataclass
class State:
    """All counters of a training; saved as JSON in every checkpoint.

    Attributes:
        step, epoch, step_in_epoch: finished steps, finished epochs, finished steps of the epoch in hand.
        total_steps: the length of the schedule.
        seconds: time spent so far, over all sessions.
        history: one row per finished epoch.
        best_epoch, best_value: the epoch (1-based; 0 = none yet) whose weights are kept, and its monitored value
            (lower is better).
        stop_reason: why the training ended; empty while it runs.
        treatments: what live treatment changed, plain data; see `engine/live.py`.
    """

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    total_steps: int = 0
    seconds: float = 0.0
    history: list[Row] = dataclasses.field(default_factory=list)
    best_epoch: int = 0
    best_value: float = math.inf
    stop_reason: str = ""
    treatments: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def close_epoch(self, row: Row, recipe: Recipe, task: Task | None) -> bool:
        """Add the row of an epoch to the history; say whether its weights are to be kept as the best."""
        value = monitored(row, recipe, task)
        row["best"] = math.isfinite(value) and (value < self.best_value or row["val_loss"] is None)
        if row["best"]:
            self.best_epoch, self.best_value = self.epoch, value
        self.history.append(row)
        return bool(row["best"])

    def rates(self, recipe: Recipe, sites: Sites, count: int) -> npt.NDArray[np.float64]:
        """Return the learning rates of the next steps."""
        return self.rate_factors(sites, count) * float(recipe.lr or 0.0)

    def rate_factors(self, sites: Sites, count: int) -> npt.NDArray[np.float64]:
        """Return the learning rates of the next steps as shares of the peak rate."""
        return sites.rate_factors((self.step + np.arange(max(0, count))) / self.total_steps)

    def early_reason(self, recipe: Recipe, task: Task | None, sites: Sites) -> str:
        """Return why a technique wants to stop now; empty if none does."""
        if not sites.at("stop"):
            return ""
        values = [monitored(row, recipe, task) for row in self.history]
        return sites.stop_reason(values, [row["train_loss"] for row in self.history]) or ""


def monitored(row: Row, recipe: Recipe, task: Task | None) -> float:
    """Return the value that chooses the best epoch, lower is better."""
    if row["val_loss"] is None:
        return float(row["train_loss"])
    if recipe.monitor == "val_metric" and task is not None and row["val_metric"] is not None:
        return -task.metric_sign * float(row["val_metric"])
    return float(row["val_loss"])
