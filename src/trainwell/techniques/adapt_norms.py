from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import nn

    from trainwell.engine.parts import Build


@dataclasses.dataclass(frozen=True)
class AdaptNorms(Technique):
    """Measure the running statistics of batch norms anew on training inputs, in one pass, and then keep them.

    Helps a frozen or small-batch network whose inputs differ from those of its pre-training in colour or loudness.
    Harms inputs that are like those of the pre-training, whose statistics came of far more rows.
    Args:    none; the pass takes up to 512 rows in batches of 64, each with the same weight.
    Source:  Li et al. 2017, arXiv:1603.04779 (AdaBN); torch.optim.swa_utils.update_bn is the same pass.
    """

    treats = ("norm_drift",)
    expects: ClassVar = {"val_loss": "-"}

    def model(self, model: nn.Module, build: Build) -> nn.Module:
        from trainwell.techniques._modules.frozen import adapt_norm_statistics, freeze_norm_statistics

        adapt_norm_statistics(model, build.sample)
        freeze_norm_statistics(model)
        return model
