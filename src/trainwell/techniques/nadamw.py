from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from trainwell.techniques.adamw import AdamW
from trainwell.values.dose import dose

if TYPE_CHECKING:
    from torch import Tensor

    from trainwell.engine.flat import Flat


@dataclasses.dataclass(frozen=True)
class NAdamW(AdamW):
    """AdamW with Nesterov's look ahead and a momentum that grows over the first steps.

    Helps a little over AdamW at equal cost of tuning (it won the self-tuning baseline of AlgoPerf).
    Harms little; it needs one buffer and three passes over the weights more than AdamW.
    Args:    momentum_decay: how fast the momentum grows to `beta1`, per step.
    Source:  Dozat 2016; torch.optim.NAdam(decoupled_weight_decay=True) and its defaults.
    """

    name = "nadamw"
    default_lr: ClassVar[float] = 2e-3

    momentum_decay: float = dose(0.004, low=0.0, high=1.0, unit="1/step")

    def init_state(self, params: Flat) -> dict[str, Tensor]:
        zeros, shape = params.flat.new_zeros, params.flat.shape
        buffers = {k: zeros(shape) for k in ("mean", "mean_square", "_direction", "_ahead")}
        return {**buffers, "momentum_product": params.flat.new_ones((*shape[:-1], 1))}

    def direction(self, grads: Flat, state: dict[str, Tensor], step: int) -> Tensor:
        import torch

        g, mean, mean_square = grads.flat, state["mean"], state["mean_square"]
        out, ahead, product = state["_direction"], state["_ahead"], state["momentum_product"]
        now = self.beta1 * (1 - 0.5 * 0.96 ** (step * self.momentum_decay))
        then = self.beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * self.momentum_decay))
        product.mul_(now)
        mean.lerp_(g, 1 - self.beta1)
        torch.mul(g, g, out=out)
        mean_square.lerp_(out, (1 - self.beta2) / (1 - self.beta2**step))
        torch.sqrt(mean_square, out=out)
        out.add_(self.eps)
        # written with `x - 1` and reciprocals: `1 - tensor` and `1 / tensor` are Python calls in torch
        torch.mul(g, (product - 1).reciprocal_().mul_(now - 1), out=ahead)
        ahead.addcmul_(mean, (product * then).sub_(1).reciprocal_().mul_(then).neg_())
        return torch.div(ahead, out, out=out)

    def update(self, params: Flat, lr: Any) -> None:
        params.decayed.mul_(1 - lr * self.weight_decay)
