from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from trainwell.values.dose import dose
from trainwell.values.errors import NoPlaceError
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from trainwell.values.task import Task

    Each = Callable[[Tensor, Tensor], Tensor]


@dataclasses.dataclass(frozen=True)
class ClassWeights(Technique):
    """Weigh the loss of each row by the rarity of its class, (rows / (classes * rows of the class)) ** power.

    Helps rare classes: every class counts the same at power 1.
    Harms calibration and plain accuracy, which follow the true frequencies.
    Args:    power: 1 balances fully, 0.5 by the root. The mean weight of the training part is 1.
    Source:  King, Zeng 2001; scikit-learn's class_weight="balanced" at power 1.
    """

    treats = ("class_imbalance",)
    expects: ClassVar = {"balanced_accuracy": "+"}
    calls = 1

    power: float = dose(1.0, low=0.05, high=1.0, off=0.0, unit="exponent of the rarity")

    def loss(self, each: Each, task: Task) -> Each:
        import torch

        if not task.is_classification or not task.class_counts:
            raise NoPlaceError(
                "class_weights",
                "class_weights needs classes with counts, and the target is a number; leave it out.",
            )
        counts = torch.tensor(task.class_counts, dtype=torch.float64)
        rarity = counts.sum() / (len(counts) * counts.clamp(min=1))
        weights = rarity**self.power
        weights = weights * (counts.sum() / (weights * counts).sum(-1, keepdim=True))

        @functools.cache
        def at(device: torch.device, dtype: torch.dtype) -> Tensor:
            return weights.to(device, dtype)

        def weighted(outputs: Tensor, target: Tensor) -> Tensor:
            losses, by_class = each(outputs, target), at(outputs.device, outputs.dtype)
            shape = (*by_class.shape[:-1], *(1,) * (target.ndim - by_class.ndim), len(counts))
            return losses * by_class.view(shape).expand(*target.shape[:-1], -1).gather(-1, target)

        return weighted
