from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import nn

    from trainwell.engine.parts import Build


@dataclasses.dataclass(frozen=True)
class LSUV(Technique):
    """Draw orthogonal weights, then scale each layer so that its output on real inputs has unit variance.

    Helps deep networks of any activation, also where no formula for the gain is known.
    Harms when the sample of inputs is not typical, and output layers that should start small.
    Args:    none; biases are set to zero, which makes one pass exact where the paper iterates.
    Source:  Mishkin, Matas 2016, arXiv:1511.06422, algorithm 1.
    """

    name = "lsuv"
    family = "init"
    treats = ("bad_init", "vanishing_gradient", "saturated_units")
    expects: ClassVar = {"train_loss": "-"}

    def model(self, model: nn.Module, build: Build) -> nn.Module:
        from torch.nn.init import orthogonal_

        from trainwell.techniques._modules.initialize import initialize, scale_to_unit_variance

        def draw(weight: object, _: float) -> object:
            return orthogonal_(weight, generator=build.generator)  # type: ignore[arg-type]

        scale_to_unit_variance(model, initialize(model, self.name, draw, hidden_gain=1.0), build.sample)
        return model
