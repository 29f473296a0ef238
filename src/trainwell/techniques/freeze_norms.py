from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.values.errors import NoPlaceError
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import nn

    from trainwell.engine.parts import Build


@dataclasses.dataclass(frozen=True)
class FreezeNorms(Technique):
    """Keep the running statistics of batch norms as they were trained; their scales and shifts still learn.

    Helps fine-tuning with small batches, whose own statistics are noise.
    Harms data whose colours or loudness differ from those of the pre-training, and networks trained from scratch.
    Args:    none.
    Source:  He et al. 2017, arXiv:1703.06870, section 3.1; the usual practice of detectors.
    """

    treats = ("norm_drift",)
    expects: ClassVar = {"val_loss": "-"}

    def model(self, model: nn.Module, build: Build) -> nn.Module:
        from trainwell.techniques._modules.frozen import freeze_norm_statistics

        if not freeze_norm_statistics(model):
            raise NoPlaceError(
                self.name, f"{self.name}: this network has no batch norms; leave {self.name} out."
            )
        return model
