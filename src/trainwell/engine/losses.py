"""The losses of the tasks, per sample and as the mean of a batch, and the metrics that choose the best epoch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trainwell.values.errors import RecipeError
from trainwell.values.task import Task

Each = Callable[[Tensor, Tensor], Tensor]


@dataclasses.dataclass(frozen=True)
class Objective:
    """What a step minimises.

    Args:
        mean: (outputs, target) -> scalar, the mean over the batch; the fast path.
        each: (outputs, target) -> (*lanes, B), one loss per row; `None` when a user's loss gives only a mean.
    """

    mean: Each
    each: Each | None


def cross_entropy_each(outputs: Tensor, target: Tensor) -> Tensor:
    """Return the negative log-likelihood of every row. Shapes: (*lanes, B, C), (*lanes, B) -> (*lanes, B)."""
    return -outputs.log_softmax(-1).gather(-1, target.unsqueeze(-1)).squeeze(-1)


def squared_error_each(outputs: Tensor, target: Tensor) -> Tensor:
    """Return the squared error of every row. Shapes: (*lanes, B, 1) twice -> (*lanes, B)."""
    return (outputs - target).square().mean(-1)


def objective_of(task: Task, loss: Any = None) -> Objective:
    """Return the loss of the task, or wrap the user's own.

    Args:
        loss: a callable (outputs, target) -> scalar. If it has `reduction == "mean"` and no class weights, as the
            losses of torch.nn, its per-row form is used where a technique needs one.
    """
    if loss is None:
        if task.is_classification:
            return Objective(F.cross_entropy, cross_entropy_each)
        return Objective(F.mse_loss, squared_error_each)
    each = None
    if getattr(loss, "reduction", None) == "mean" and getattr(loss, "weight", None) is None:

        def each(outputs: Tensor, target: Tensor) -> Tensor:
            loss.reduction = "none"
            try:
                rows = loss(outputs, target)
            finally:
                loss.reduction = "mean"
            return rows.reshape(rows.shape[0], -1).mean(-1)

    elif getattr(loss, "reduction", "mean") == "sum":
        raise RecipeError(
            f"the loss {type(loss).__name__} sums over the batch, so the step would grow with the batch size; "
            "use reduction='mean'."
        )
    return Objective(loss, each)


class Meter:
    """Sums of loss and metric over an evaluation; everything stays on the device until `results`.

    Args:
        lanes: (K,) for a stack of K lanes, whose tensors have a leading lane axis.
    """

    def __init__(self, task: Task | None, device: torch.device, lanes: tuple[int, ...] = ()) -> None:
        self.task = task
        self.rows = 0
        self.loss = torch.zeros(lanes, dtype=torch.float64, device=device)
        classes = task.num_outputs if task is not None and task.is_classification else 1
        self.sums = torch.zeros(2, *lanes, classes, dtype=torch.float64, device=device)

    def add(self, outputs: Tensor, target: Tensor, loss: Tensor) -> None:
        """Add one batch: outputs (*lanes, B, C), target (*lanes, B) or (*lanes, B, 1), mean loss (*lanes,)."""
        count = target.shape[self.loss.ndim]
        self.rows += count
        self.loss += loss.double() * count
        if self.task is None:
            return
        if self.task.is_classification:
            right = (
                outputs.max(-1).indices == target
            ).double()  # where lanes lie, ten times as fast as argmax
            self.sums[0].scatter_add_(-1, target, right)
            self.sums[1].scatter_add_(-1, target, torch.ones_like(right))
        else:
            error = (outputs - target).double()
            self.sums[0] += error.square().sum(-2)
            self.sums[1] += error.abs().sum(-2)

    def result(self) -> tuple[float, float | None]:
        """Return the mean loss and the primary metric (scikit-learn's definition) of one network."""
        return self.results()[0]

    def results(self) -> list[tuple[float, float | None]]:
        """Return mean loss and primary metric of every lane."""
        losses = (self.loss / max(1, self.rows)).flatten().tolist()
        firsts, seconds = (
            self.sums.flatten(1, -2).tolist() if self.loss.ndim else self.sums.unsqueeze(1).tolist()
        )
        return [
            (loss, self._metric(self.task, loss, first, second) if self.task is not None else None)
            for loss, first, second in zip(losses, firsts, seconds, strict=True)
        ]

    def _metric(self, task: Task, mean_loss: float, first: list[float], second: list[float]) -> float | None:
        rows = max(1, self.rows)
        if task.metric == "accuracy":
            return sum(first) / rows
        if task.metric == "balanced_accuracy":
            recalls = [r / n for r, n in zip(first, second, strict=True) if n > 0]
            return sum(recalls) / max(1, len(recalls))
        if task.metric == "rmse":
            return float((first[0] / rows) ** 0.5 * task.scale)
        if task.metric == "mae":
            return float(second[0] / rows * task.scale)
        return mean_loss if task.metric == "log_loss" else None
