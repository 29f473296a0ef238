from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import nn

    from trainwell.engine.parts import Build


@dataclasses.dataclass(frozen=True)
class Orthogonal(Technique):
    """Draw weights as random orthogonal matrices, times the gain of the activation that follows.

    Helps deep and recurrent-like networks: every direction of the signal keeps its length, not only the mean.
    Harms little; wide layers cost a QR decomposition each, once.
    Args:    gain: further factor. Kernels count as matrices (out, in * size). Biases are set to zero.
    Source:  Saxe et al. 2014, arXiv:1312.6120; torch.nn.init.orthogonal_.
    """

    family = "init"
    treats = ("bad_init", "vanishing_gradient")
    expects: ClassVar = {"train_loss": "-"}

    gain: float = dose(1.0, low=0.1, high=10.0, log=True, unit="factor of the standard deviation")

    def model(self, model: nn.Module, build: Build) -> nn.Module:
        from torch.nn.init import orthogonal_

        from trainwell.techniques._modules.initialize import initialize

        def draw(weight: object, gain: float) -> object:
            return orthogonal_(weight, gain * self.gain, generator=build.generator)  # type: ignore[arg-type]

        initialize(model, self.name, draw, hidden_gain=2**0.5)
        return model
