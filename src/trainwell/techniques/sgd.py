from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import Tensor

    from trainwell.engine.flat import Flat


@dataclasses.dataclass(frozen=True)
class SGD(Technique):
    """Move against the gradient, with heavy-ball momentum.

    Helps generalization of well-conditioned networks (convolutions with norms) and needs the least memory.
    Harms the speed where layers have gradients of different scale; the rate must then be tuned with care.
    Args:    momentum: share of the last direction that is kept; 0 is plain gradient descent.
    Source:  Polyak 1964; the form without dampening of Sutskever et al. 2013, section 2.
    """

    name = "sgd"
    role = "optimizer"
    default_lr: ClassVar[float] = 0.01
    calls = 1

    momentum: float = dose(0.9, low=0.0, high=0.999, unit="share of the last direction")

    def init_state(self, params: Flat) -> dict[str, Tensor]:
        return {"momentum": params.flat.new_zeros(params.flat.shape)}

    def direction(self, grads: Flat, state: dict[str, Tensor], step: int) -> Tensor:
        return state["momentum"].mul_(self.momentum).add_(grads.flat)
