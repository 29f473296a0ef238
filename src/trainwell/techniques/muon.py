from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, ClassVar

from trainwell.techniques._lanes import per_lane
from trainwell.techniques.adam import Adam, root_mean_square
from trainwell.values.dose import choice, dose

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from trainwell.engine.flat import Flat, Slot

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


@dataclasses.dataclass(frozen=True)
class Muon(Adam):
    """Move hidden matrices along the nearest orthogonal matrix to their momentum, and the rest as AdamW.

    Helps networks of wide matrices, where few directions dominate the gradient: fewer steps to the same loss.
    Harms the time of a step when the batch is small (15 products per matrix), and small networks in general.
    Args:    beta1: momentum of the matrices, memory of the mean for the rest. beta2, eps: as Adam, for the rest.
             weight_decay: as AdamW, for all matrices. precision: dtype of the products.
    Shapes:  matrices (out, in) and kernels (out, in, h, w), but not the last one, the output layer.
             Moves are scaled by 0.2 sqrt(max(out, in)), so that one rate fits both parts.
    Source:  Jordan et al. 2024, kellerjordan.github.io/posts/muon; scale: arXiv:2502.16982; torch.optim.Muon.
    """

    default_lr: ClassVar[float] = 1e-3
    calls = 8  # 4 and two per hidden matrix; the law counts on two

    beta1: float = dose(0.95, low=0.0, high=0.999, unit="memory of the mean")
    beta2: float = dose(0.95, low=0.0, high=0.99999, unit="memory of the mean square")
    weight_decay: float = dose(0.1, low=0.0, high=10.0, unit="share of the weights per unit of rate")
    precision: str = choice("bfloat16", "bfloat16", "float32", unit="dtype")

    def direction(self, grads: Flat, state: dict[str, Tensor], step: int) -> Tensor:
        import torch

        mean = state["mean"].lerp_(grads.flat, 1 - self.beta1)
        out = root_mean_square(grads.flat, state, self.beta2, step)
        torch.div(mean, out.add_(self.eps).mul_(1 - self.beta1**step), out=out)
        dtype = torch.float64 if out.dtype == torch.float64 else getattr(torch, self.precision)
        for slot, grad in hidden_matrices(grads):
            end, rows = slot.offset + math.prod(slot.shape), slot.shape[0]
            ahead = grad.lerp(
                mean[..., slot.offset : end].view(grad.shape), per_lane(self.beta1, len(slot.shape))
            )
            move = orthogonal(ahead.view(-1, rows, (end - slot.offset) // rows), dtype)
            # scaled in the dtype of the weights: the published move is rounded once, by the products
            out[..., slot.offset : end].view(move.shape).copy_(move).mul_(
                0.2 * math.sqrt(max(move.shape[-2:]))
            )
        return out

    def update(self, params: Flat, lr: Any) -> None:
        params.decayed.mul_(1 - lr * self.weight_decay)


def hidden_matrices(flat: Flat) -> list[tuple[Slot, Tensor]]:
    """Return slot and view of the decayed matrices and kernels but the last, which is the output layer."""
    found = []
    for slot, view in zip(flat.slots, flat.views, strict=True):
        if slot.decay and len(slot.shape) in (2, 4):
            found.append((slot, view))
    return found[:-1]


def orthogonal(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the nearest orthogonal matrices, (N, rows, cols), by five Newton-Schulz iterations."""
    import torch

    a, b, c = COEFFICIENTS
    x = matrices.to(dtype)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True).clamp_(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
