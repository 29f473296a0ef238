"""The losses of a stack: what the loss of one network is, for (K, B, C) outputs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trainwell.engine.losses import Each, Objective, objective_of, squared_error_each
from trainwell.values.task import Task


def stack_objective(task: Task | None, loss: Any = None) -> Objective:
    """Return the loss of the task, or the user's own, with `mean` (K, B, C), (K, B) -> (K,) and `each` -> (K, B)."""
    if loss is None and task is not None:
        each = cross_entropy_of_lanes if task.is_classification else squared_error_each
        return Objective(lambda outputs, target: each(outputs, target).mean(-1), each)
    alone = objective_of(task or Task("regression"), loss)
    return Objective(_over_lanes(alone.mean), None if alone.each is None else _over_lanes(alone.each))


def cross_entropy_of_lanes(outputs: Tensor, target: Tensor) -> Tensor:
    """Return the negative log-likelihood of every row. Shapes: (*lanes, B, C), (*lanes, B) -> (*lanes, B).

    The classes lie before the rows in memory: the softmax over few classes is then five times as fast.
    """
    losses = F.cross_entropy(outputs.flatten(0, -3).mT, target.flatten(0, -2), reduction="none")
    return losses.view(target.shape)


def _over_lanes(loss: Each) -> Each:
    """Apply a loss of one network to every lane; with members (K, M, B, C) to every member of every lane."""

    def stacked(outputs: Tensor, target: Tensor) -> Tensor:
        call = torch.func.vmap(loss)
        return call(outputs, target)

    return stacked
