from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from trainwell.techniques._depth import heights
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from trainwell.engine.flat import Group


@dataclasses.dataclass(frozen=True)
class BitFit(Technique):
    """Train biases, the shifts of norms and the last layer only.

    Helps small data on a pre-trained transformer: a thousandth of the numbers learns.
    Harms tasks far from the pre-training, and convolutions without biases.
    Args:    none.
    Source:  Ben Zaken, Ravfogel, Goldberg 2022, arXiv:2106.10199.
    """

    name = "bitfit"
    family = "freeze"

    def groups(self, groups: list[Group]) -> None:
        names = [g.name for g in groups]
        for group, height in zip(groups, heights(names, names), strict=True):
            if height and not group.name.endswith("bias"):
                group.lr_factor = 0.0
