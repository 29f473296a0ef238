from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from trainwell.values.dose import choice, dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trainwell.engine.parts import Build


@dataclasses.dataclass(frozen=True)
class He(Technique):
    """Draw normal weights with variance 2 / fan_in before ReLU, and with the fitting gain before others.

    Helps deep ReLU networks: the variance of the activations stays the same from layer to layer.
    Harms tanh and sigmoid networks little; `xavier` also balances their gradients.
    Args:    gain: further factor. mode: what is kept, activations (fan_in) or gradients (fan_out).
    Source:  He et al. 2015, arXiv:1502.01852, equations 10 and 14; gains of torch.nn.init.calculate_gain.
    """

    family = "init"
    treats = ("bad_init", "vanishing_gradient", "dead_units")
    expects: ClassVar = {"train_loss": "-"}

    gain: float = dose(1.0, low=0.1, high=10.0, log=True, unit="factor of the standard deviation")
    mode: str = choice("fan_in", "fan_in", "fan_out")

    def model(self, model: nn.Module, build: Build) -> nn.Module:
        from torch.nn.init import kaiming_normal_

        from trainwell.techniques._modules.initialize import initialize

        mode: Any = self.mode

        def draw(weight: Tensor, gain: float) -> None:
            kaiming_normal_(weight, mode=mode, nonlinearity="linear", generator=build.generator)
            weight.mul_(gain * self.gain)

        initialize(model, self.name, draw, hidden_gain=2**0.5)
        return model
