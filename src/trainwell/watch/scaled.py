"""Loss functions of torch as a loop writes them by hand: times a number, over all pairs, with a weight for each class."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trainwell.watch.losses import LossCall, original

Function = Callable[..., Tensor]


@dataclasses.dataclass(frozen=True)
class Scaled:
    """A loss function times a factor."""

    function: Function
    factor: float

    def __call__(self, input: Tensor, target: Tensor, **kwargs: Any) -> Tensor:
        return self.function(input, target, **kwargs) * self.factor


@dataclasses.dataclass(frozen=True)
class Pairs:
    """A loss function of numbers over all that two shapes broadcast to, without the warning that torch gives."""

    function: Function

    def __call__(self, input: Tensor, target: Tensor, **kwargs: Any) -> Tensor:
        return self.function(*torch.broadcast_tensors(input, target), **kwargs)


def similarity(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Return one less the cosine of each row with its target."""
    apart = 1 - F.cosine_similarity(input, target, dim=-1)
    return {"none": apart, "sum": apart.sum(), "mean": apart.mean()}[reduction]


def class_weighted(input: Tensor, target: Tensor, weight: Tensor, reduction: str = "mean") -> Tensor:
    """Return cross-entropy with weights whose mean is over the rows; torch divides by the sum of the weights."""
    each = original("cross_entropy")(input, target, weight=weight, reduction="none")
    return each if reduction == "none" else each.sum() if reduction == "sum" else each.mean()


def function_of(name: str, input: Tensor, target: Tensor, kwargs: dict[str, Any]) -> Function:
    """Return the function for a call."""
    if name == "cosine_similarity":
        return similarity
    if "weight" in kwargs:
        return class_weighted
    is_of_numbers = name not in ("cross_entropy", "nll_loss")
    return Pairs(original(name)) if is_of_numbers and input.shape != target.shape else original(name)


def scaled(call: LossCall, factor: float) -> LossCall:
    """Return a call whose loss is a factor times as large."""
    if factor == 1:
        return call
    return dataclasses.replace(call, function=Scaled(call.function, factor), value=call.value * factor)
