from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from trainwell.techniques._heights import groups_by_height
from trainwell.values.errors import NoPlaceError
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
        learning = 0
        for group, height in groups_by_height(self.name, groups):
            if height and group.name.endswith("bias"):
                learning += 1
            elif height:
                group.lr_factor = 0.0
        if not learning:
            raise NoPlaceError(
                self.name,
                "bitfit: no layer before the last one has a bias, so nothing but the last would learn; take freeze, "
                "or leave bitfit out.",
            )
