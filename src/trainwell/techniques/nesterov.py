from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import Tensor

    from trainwell.engine.flat import Flat


@dataclasses.dataclass(frozen=True)
class Nesterov(Technique):
    """Move against the gradient with momentum that looks one step ahead.

    Helps where heavy-ball momentum overshoots: it damps steep directions earlier and bears larger rates.
    Harms little; it needs one buffer and one pass over the weights more than SGD.
    Args:    momentum: share of the last direction that is kept.
    Source:  Nesterov 1983; Sutskever et al. 2013, section 3; the form of torch.optim.SGD(nesterov=True).
    """

    role = "optimizer"
    default_lr: ClassVar[float] = 0.01
    calls = 1

    momentum: float = dose(0.9, low=0.0, high=0.999, unit="share of the last direction")

    def init_state(self, params: Flat) -> dict[str, Tensor]:
        zeros = params.flat.new_zeros
        return {"momentum": zeros(params.flat.shape), "_direction": zeros(params.flat.shape)}

    def direction(self, grads: Flat, state: dict[str, Tensor], step: int) -> Tensor:
        momentum = state["momentum"].mul_(self.momentum).add_(grads.flat)
        return state["_direction"].copy_(momentum).mul_(self.momentum).add_(grads.flat)
