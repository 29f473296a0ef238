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
class Freeze(Technique):
    """Keep the layers nearest to the input as they are; only those near the output learn.

    Helps small data on a pre-trained network, and costs less: nothing is computed backwards through what is frozen.
    Harms tasks unlike that of the pre-training, whose features do not fit.
    Args:    share: of the layers before the last one; 1 leaves a linear probe. Batch norms and dropouts of a frozen
             layer stay in evaluation, also after `train()`.
    Source:  Yosinski et al. 2014, arXiv:1411.1792.
    """

    family = "freeze"

    share: float = dose(1.0, low=0.05, high=1.0, off=0.0, unit="share of the layers")

    def model(self, model: nn.Module, build: Build) -> nn.Module:
        from trainwell.techniques._modules.frozen import freeze_layers

        if not freeze_layers(model, self.share):
            raise NoPlaceError(
                self.name,
                "freeze: this network has no layer before its last one to freeze; leave freeze out.",
            )
        return model
