from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import nn

    from trainwell.engine.parts import Build


@dataclasses.dataclass(frozen=True)
class LayerNorm(Technique):
    """Standardise all features of one row together, between layer and activation.

    Helps where batch statistics are unusable: small batches, sequences, training unlike use.
    Harms when the size of the activations itself carries the signal, e.g. counts.
    Args:    none; images are standardised over channels and places together.
    Source:  Ba, Kiros, Hinton 2016, arXiv:1607.06450.
    """

    family = "norm"
    treats = ("vanishing_gradient", "exploding_gradient", "batchnorm_misuse")
    expects: ClassVar = {"train_loss": "-"}
    calls = 22  # 11 per norm; the law counts on two

    def model(self, model: nn.Module, build: Build) -> nn.Module:
        from torch import nn

        from trainwell.techniques._modules.norms import set_norms

        def make(features: int, spatial: int) -> nn.Module:
            return nn.GroupNorm(1, features) if spatial else nn.LayerNorm(features)

        return set_norms(model, build, self.name, make)
