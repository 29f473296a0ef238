from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.techniques._heights import groups_by_height
from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from trainwell.engine.flat import Group


@dataclasses.dataclass(frozen=True)
class LayerDecay(Technique):
    """Give each layer `factor` times the learning rate of the layer after it.

    Helps fine-tuning: layers near the input are general and should change least.
    Harms networks that are trained from scratch, whose first layers then hardly learn.
    Args:    factor: of the rate from one layer to the one before.
    Source:  Howard, Ruder 2018, arXiv:1801.06146, section 3.2 (1 / 2.6); 0.65 to 0.9 in arXiv:2106.08254.
    """

    treats = ("pretrained_lr_too_high",)
    expects: ClassVar = {"val_loss": "-"}
    calls = 8  # one span more to move per rate; the law counts on three layers

    factor: float = dose(0.75, low=0.1, high=0.99, off=1.0, unit="rate per layer")

    def groups(self, groups: list[Group]) -> None:
        for group, height in groups_by_height(self.name, groups):
            group.lr_factor *= self.factor**height
