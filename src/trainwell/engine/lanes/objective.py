"""The losses of a stack: what the loss of one network is, for (K, B, C) outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trainwell.engine.losses import Each, Objective, objective_of, squared_error_each
from trainwell.values.task import Task

WithGradient = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(outputs (K, C, B), target) -> mean losses (K,), and their gradient with respect to the outputs."""


@dataclasses.dataclass(frozen=True)
class LaneObjective(Objective):
    """The loss of a stack: `mean` (K, B, C), (K, B) -> (K,) and `each` -> (K, B).

    Args:
        with_gradient: the mean loss with its derivative; None where autograd has to find it.
    """

    with_gradient: WithGradient | None = None


def stack_objective(task: Task | None, loss: Any = None) -> LaneObjective:
    """Return the loss of the task, or the user's own, for all lanes."""
    if loss is None and task is not None:
        if task.is_classification:
            each, with_gradient = cross_entropy_of_lanes, cross_entropy_with_gradient
        else:
            each, with_gradient = squared_error_each, squared_error_with_gradient
        return LaneObjective(lambda outputs, target: each(outputs, target).mean(-1), each, with_gradient)
    alone = objective_of(task or Task("regression"), loss)
    return LaneObjective(_over_lanes(alone.mean), None if alone.each is None else _over_lanes(alone.each))


def cross_entropy_with_gradient(outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean negative log-likelihood, and softmax minus one-hot over the number of rows."""
    chosen, share = target.unsqueeze(1), 1 / target.shape[-1]
    logs = outputs.log_softmax(1)
    loss = logs.gather(1, chosen).sum((1, 2)).mul_(-share)
    gradient = logs.exp_().mul_(share)
    return loss, gradient.scatter_add_(1, chosen, gradient.new_full((1,), -share).expand(chosen.shape))


def squared_error_with_gradient(outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean squared error. Shapes: (K, C, B), (K, B, C) -> (K,), (K, C, B)."""
    error = outputs - target.mT
    share = 1 / (error.shape[1] * error.shape[2])
    return error.square().sum((1, 2)).mul_(share), error.mul_(2 * share)


def of_members(loss: WithGradient) -> WithGradient:
    """Average the losses of the members. Shapes: (K, members, C, B), (K, B, ...) -> (K,), (K, members, C, B)."""

    def averaged(outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        lanes, members = outputs.shape[:2]
        wide = target.unsqueeze(1).expand(lanes, members, *target.shape[1:])
        losses, gradient = loss(outputs.flatten(0, 1), wide.flatten(0, 1))
        return losses.view(lanes, members).mean(1), gradient.mul_(1 / members).view(outputs.shape)

    return averaged


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
