from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.techniques._lanes import at_least
from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import Tensor

    from trainwell.engine.flat import Flat


@dataclasses.dataclass(frozen=True)
class EMA(Technique):
    """Keep a moving average of the weights and use it for evaluation and as the result.

    Helps when gradient noise limits the loss: small batches, constant or high rates.
    Harms short runs with a high decay, whose average still holds early weights.
    Args:    decay: memory; (1 + step) / (10 + step) at first, so that the start is forgotten.
    Source:  Polyak, Juditsky 1992; warm-up of the decay: tf.train.ExponentialMovingAverage(num_updates).
    """

    name = "ema"
    treats = ("batch_too_small", "oscillation")
    expects: ClassVar = {"val_loss": "-"}
    calls = 2

    decay: float = dose(0.99, low=0.5, high=0.99999, off=0.0, unit="memory per step")

    def init_state(self, params: Flat) -> dict[str, Tensor]:
        return {"shadow": params.flat.clone()}

    def after_step(self, params: Flat, state: dict[str, Tensor], step: int) -> None:
        state["shadow"].lerp_(params.flat, at_least(1 - self.decay, 9 / (10 + step)))

    def averaged(self, state: dict[str, Tensor]) -> Tensor:
        """Return the averaged weights, laid out as `params.flat`."""
        return state["shadow"]
