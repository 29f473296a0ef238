from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trainwell.engine.parts import Build


@dataclasses.dataclass(frozen=True)
class LeCun(Technique):
    """Draw normal weights with variance 1 / fan_in, whatever activation follows.

    Helps SELU networks, which it makes self-normalizing, and networks with norms.
    Harms deep ReLU networks without norms: the activations halve in variance with every layer.
    Args:    gain: further factor.
    Source:  LeCun et al. 1998, "Efficient BackProp", section 4.6; Klambauer et al. 2017, arXiv:1706.02515.
    """

    name = "lecun"
    family = "init"
    treats = ("bad_init",)
    expects: ClassVar = {"train_loss": "-"}

    gain: float = dose(1.0, low=0.1, high=10.0, log=True, unit="factor of the standard deviation")

    def model(self, model: nn.Module, build: Build) -> nn.Module:
        from torch.nn.init import kaiming_normal_

        from trainwell.techniques._modules.initialize import initialize

        def draw(weight: Tensor, _: float) -> None:
            kaiming_normal_(weight, nonlinearity="linear", generator=build.generator).mul_(self.gain)

        initialize(model, self.name, draw, hidden_gain=1.0)
        return model
