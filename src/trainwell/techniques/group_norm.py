from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import nn

    from trainwell.engine.parts import Build


@dataclasses.dataclass(frozen=True)
class GroupNorm(Technique):
    """Standardise groups of features of one row, between layer and activation.

    Helps convolutions at small batches, where batch statistics are noise.
    Harms rows without space when groups are small: a group of two features keeps only which is larger.
    Args:    channels: features per group, at least; the number of groups divides the features.
    Source:  Wu, He 2018, arXiv:1803.08494, table 3 (16 channels per group).
    """

    family = "norm"
    treats = ("vanishing_gradient", "exploding_gradient", "batchnorm_misuse")
    expects: ClassVar = {"train_loss": "-"}
    calls = 24  # 12 per norm; the law counts on two

    channels: int = dose(16, low=2, high=4096, log=True, unit="features per group", integer=True)

    def model(self, model: nn.Module, build: Build) -> nn.Module:
        from torch import nn

        from trainwell.techniques._modules.norms import set_norms

        def make(features: int, _: int) -> nn.Module:
            sizes = (size for size in range(self.channels, features + 1) if features % size == 0)
            return nn.GroupNorm(features // next(sizes, features), features)

        return set_norms(model, build, self.name, make)
