from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from trainwell.values.dose import dose
from trainwell.values.errors import NoPlaceError
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import nn

    from trainwell.engine.parts import Build


@dataclasses.dataclass(frozen=True)
class LoRA(Technique):
    """Freeze all but the last layer, and add to every linear layer before it a product of two thin matrices.

    Helps large pre-trained transformers: a hundredth of the numbers learns, and of Adam's memory is needed.
    Harms convolutional networks, which have no linear layer to add to, and networks trained from scratch.
    Args:    rank: of the product. alpha: it is scaled by alpha / rank.
    Source:  Hu et al. 2021, arXiv:2106.09685, section 4.1 (B starts at zero, so the network starts as it was).
    """

    name = "lora"
    family = "freeze"
    calls = 10  # of two layers

    rank: int = dose(8, low=1, high=256, log=True, off=0, unit="rank", integer=True)
    alpha: float = dose(16.0, low=1.0, high=512.0, log=True, unit="scale times rank")

    def model(self, model: nn.Module, build: Build) -> nn.Module:
        from trainwell.techniques._modules.frozen import add_lora

        if not add_lora(model, self.rank, self.alpha / self.rank, build.generator):
            raise NoPlaceError(
                "lora",
                "lora: this network has no linear layer before its last one, so nothing but the last would learn; "
                "take --with freeze, or leave lora out.",
            )
        return model
