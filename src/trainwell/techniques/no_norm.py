from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.values.errors import NoPlaceError
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import nn

    from trainwell.engine.parts import Build


@dataclasses.dataclass(frozen=True)
class NoNorm(Technique):
    """Take every normalization layer out of the model.

    Helps when batch statistics are unusable and the network is shallow enough without, and saves their time.
    Harms deep networks, which then depend on initialization, warm-up and clipping.
    Args:    none.
    Source:  Brock et al. 2021, arXiv:2102.06171, section 2.
    """

    family = "norm"
    treats = ("batchnorm_misuse",)
    expects: ClassVar = {"train_loss": "-"}

    def model(self, model: nn.Module, build: Build) -> nn.Module:
        from trainwell.techniques._modules.norms import remove_norms

        if not remove_norms(model):
            raise NoPlaceError("no_norm", "no_norm found no norm in this network to take out; leave it out.")
        return model
