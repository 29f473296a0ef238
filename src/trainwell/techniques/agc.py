from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.techniques._lanes import per_lane
from trainwell.values.dose import choice, dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import Tensor

    from trainwell.engine.flat import Flat

SMALLEST_WEIGHT_NORM = 1e-3


@dataclasses.dataclass(frozen=True)
class AGC(Technique):
    """Scale the gradient of a unit down when it exceeds `ratio` times the norm of the unit's weights.

    Helps networks without norms at large batches and rates: the limit follows the scale of every layer.
    Harms layers that must grow from zero: their limit starts at `ratio` times 0.001.
    Args:    ratio: largest allowed norm of the gradient per norm of the weights, for each row of a matrix.
             scope: `hidden` spares the last matrix, as the paper does for classifiers. On regressions a spared
             output layer explodes (law 5 of the suite: losses of 1e20 where `all` trains), hence the default.
    Shapes:  rows of matrices and kernels are units; a vector is one unit.
    Source:  Brock et al. 2021, arXiv:2102.06171, section 4.
    """

    name = "agc"
    family = "clip"
    treats = ("lr_too_high",)
    expects: ClassVar = {"train_loss": "-"}
    calls = 7  # 1 and one per tensor; the law counts on six

    ratio: float = dose(
        0.01, low=1e-4, high=10.0, log=True, off=float("inf"), unit="gradient per weight norm"
    )
    scope: str = choice("all", "all", "hidden", unit="layers")

    def grads(self, grads: Flat, params: Flat, state: dict[str, Tensor] | None) -> None:
        import torch

        norm = torch.linalg.vector_norm
        output = -1
        for i, slot in enumerate(grads.slots):
            if self.scope == "hidden" and slot.decay and len(slot.shape) > 1:
                output = i
        for i, (slot, weight, grad) in enumerate(zip(grads.slots, params.views, grads.views, strict=True)):
            ndim = len(slot.shape)
            if i == output or ndim == 0:
                continue
            axes = tuple(range(-max(1, ndim - 1), 0))
            limit = norm(weight, dim=axes, keepdim=True).clamp_(min=SMALLEST_WEIGHT_NORM)
            limit.mul_(per_lane(self.ratio, ndim)).div_(norm(grad, dim=axes, keepdim=True).clamp_(min=1e-6))
            grad.mul_(limit.clamp_(max=1.0))
