from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.techniques._heights import groups_by_height
from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from trainwell.engine.flat import Group


@dataclasses.dataclass(frozen=True)
class DiscriminativeRates(Technique):
    """Give all layers before the last one `factor` times the learning rate.

    Helps fine-tuning with a new last layer, which needs larger steps than what is trained already.
    Harms networks that are trained from scratch.
    Args:    factor: of the rate of the layers before the last one.
    Source:  Girshick et al. 2014, arXiv:1311.2524, section 2.3 (a tenth); fastai's lr / 10 to lr.
    """

    treats = ("pretrained_lr_too_high",)
    expects: ClassVar = {"val_loss": "-"}
    calls = 4  # one span more to move per rate; the law counts on three layers

    factor: float = dose(0.1, low=0.001, high=0.9, log=True, off=1.0, unit="rate of the last layer")

    def groups(self, groups: list[Group]) -> None:
        for group, height in groups_by_height(self.name, groups):
            group.lr_factor *= self.factor if height else 1.0
