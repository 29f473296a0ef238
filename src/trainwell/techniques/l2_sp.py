from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.techniques._lanes import add_scaled
from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import Tensor

    from trainwell.engine.flat import Flat


@dataclasses.dataclass(frozen=True)
class L2SP(Technique):
    """Minimise loss + rate / 2 * |w - start|^2: pull the weights towards those that they began with.

    Helps fine-tuning on small data: what the pre-training knew is not forgotten.
    Harms networks that are trained from scratch, whose start means nothing.
    Args:    rate: the gradient grows by rate * (w - start).
    Source:  Li, Grandvalet, Davoine 2018, arXiv:1802.01483, equation 1 (here of the last layer too).
    """

    name = "l2_sp"
    treats = ("pretrained_lr_too_high",)
    expects: ClassVar = {"val_loss": "-"}
    calls = 2

    rate: float = dose(0.01, low=1e-6, high=10.0, log=True, off=0.0, unit="loss per squared distance")

    def init_state(self, params: Flat) -> dict[str, Tensor]:
        return {"start": params.flat.clone()}

    def grads(self, grads: Flat, params: Flat, state: dict[str, Tensor]) -> None:
        add_scaled(grads.flat, params.flat - state["start"], self.rate)
