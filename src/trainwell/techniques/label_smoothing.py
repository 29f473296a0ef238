from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from trainwell.techniques._lanes import per_lane
from trainwell.values.dose import dose
from trainwell.values.errors import NoPlaceError
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import Tensor

    from trainwell.values.task import Task

    Each = Callable[[Tensor, Tensor], Tensor]


@dataclasses.dataclass(frozen=True)
class LabelSmoothing(Technique):
    """Mix the loss of the label with the mean loss over all classes, in the proportion 1 - amount to amount.

    Helps calibration and accuracy of networks that get too sure, and against wrong labels.
    Harms the log-likelihood when labels are clean and data plenty, and distillation from the network.
    Args:    amount: share of the mean over the classes.
    Shapes:  for logits (*lanes, B, C); equals torch's cross_entropy(label_smoothing=amount).
    Source:  Szegedy et al. 2016, arXiv:1512.00567, section 7; for wrong labels: arXiv:2003.02819.
    """

    treats = ("overfitting", "label_noise")
    expects: ClassVar = {"val_loss": "-"}
    calls = 2

    amount: float = dose(0.1, low=0.001, high=0.9, off=0.0, unit="share of the label")

    def loss(self, each: Each, task: Task) -> Each:
        if not task.is_classification:
            raise NoPlaceError(
                "label_smoothing", "label_smoothing needs classes, and the target is a number; leave it out."
            )
        amount = self.amount

        def smoothed(outputs: Tensor, target: Tensor) -> Tensor:
            losses, over_classes = each(outputs, target), outputs.logsumexp(-1) - outputs.mean(-1)
            share = per_lane(amount, losses.ndim - 1)
            mixed: Tensor = losses * (1 - share) + over_classes * share
            return mixed

        return smoothed
