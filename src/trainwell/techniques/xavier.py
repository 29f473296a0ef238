from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.values.dose import choice, dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import nn

    from trainwell.engine.parts import Build


@dataclasses.dataclass(frozen=True)
class Xavier(Technique):
    """Draw weights with variance 2 / (fan_in + fan_out), times the squared gain of the next activation.

    Helps tanh and sigmoid networks: neither activations nor gradients grow or fade over the layers.
    Harms deep ReLU networks of uneven width; `he` keeps their activations exactly.
    Args:    gain: further factor. distribution: of the draws. Biases are set to zero.
    Source:  Glorot, Bengio 2010, equation 16; gains of torch.nn.init.calculate_gain.
    """

    family = "init"
    treats = ("bad_init", "vanishing_gradient", "saturated_units")
    expects: ClassVar = {"train_loss": "-"}

    gain: float = dose(1.0, low=0.1, high=10.0, log=True, unit="factor of the standard deviation")
    distribution: str = choice("uniform", "uniform", "normal")

    def model(self, model: nn.Module, build: Build) -> nn.Module:
        from torch.nn.init import xavier_normal_, xavier_uniform_

        from trainwell.techniques._modules.initialize import initialize

        draw = xavier_uniform_ if self.distribution == "uniform" else xavier_normal_
        initialize(
            model, self.name, lambda w, g: draw(w, g * self.gain, generator=build.generator), hidden_gain=1.0
        )
        return model
