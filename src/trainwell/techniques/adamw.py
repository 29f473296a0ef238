from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from trainwell.techniques.adam import Adam
from trainwell.values.dose import dose

if TYPE_CHECKING:
    from trainwell.engine.flat import Flat


@dataclasses.dataclass(frozen=True)
class AdamW(Adam):
    """Adam, with the weights shrunk by `lr * weight_decay` before every move.

    Helps generalization more than the same penalty in the loss, which Adam divides away.
    Harms when `lr * weight_decay * steps` is so large that the network cannot grow the weights it needs.
    Args:    beta1, beta2, eps: as in Adam.
             weight_decay: rate of the shrinking, not of biases and norms; adds to that of `weight_decay`.
    Source:  Loshchilov, Hutter 2019, arXiv:1711.05101, algorithm 2; default of torch.optim.AdamW.
    """

    name = "adamw"
    calls = 3

    weight_decay: float = dose(0.01, low=0.0, high=10.0, unit="share of the weights per unit of rate")

    def update(self, params: Flat, lr: Any) -> None:
        params.decayed.mul_(1 - lr * self.weight_decay)
