from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import Tensor

    from trainwell.engine.flat import Flat


@dataclasses.dataclass(frozen=True)
class Adam(Technique):
    """Move by the mean of the gradient over the root of its mean square.

    Helps where layers or features have gradients of different scale; works with little tuning of the rate.
    Harms where `beta2` is so high that rare large gradients are met with a stale, too small mean square.
    Args:    beta1, beta2: memory of the mean and of the mean square. eps: added to the root.
    Shapes:  the moments are kept bias-corrected, m + (g - m)(1 - b)/(1 - b^t), so no pass corrects them. Where all
             doses are numbers torch's fused kernel does it in a third of the time.
    Source:  Kingma, Ba 2015, arXiv:1412.6980, algorithm 1 and its defaults.
    """

    role = "optimizer"
    default_lr: ClassVar[float] = 1e-3
    calls = 2

    beta1: float = dose(0.9, low=0.0, high=0.999, unit="memory of the mean")
    beta2: float = dose(0.999, low=0.0, high=0.99999, unit="memory of the mean square")
    eps: float = dose(1e-8, low=1e-15, high=0.1, log=True, unit="gradient")

    def init_state(self, params: Flat) -> dict[str, Tensor]:
        zeros, shape = params.flat.new_zeros, params.flat.shape
        return {"mean": zeros(shape), "mean_square": zeros(shape), "_direction": zeros(shape)}

    def direction(self, grads: Flat, state: dict[str, Tensor], step: int) -> Tensor:
        import torch  # costs nothing once loaded; `out=` saves passes over the memory

        share1, share2 = (1 - self.beta1) / (1 - self.beta1**step), (1 - self.beta2) / (1 - self.beta2**step)
        if (
            grads.flat.is_cpu
            and isinstance(share1, float)
            and isinstance(share2, float)
            and isinstance(self.eps, float)
        ):
            out = state["_direction"].zero_()
            # the kernel corrects by 1 - beta^steps: these memories are of this step, and 1e9 steps leave nothing
            torch._fused_adam_(
                [out], [grads.flat], [state["mean"]], [state["mean_square"]], [], [torch.tensor(1e9)], lr=-1.0,
                beta1=1 - share1, beta2=1 - share2, weight_decay=0.0, eps=self.eps, amsgrad=False, maximize=False,
            )  # fmt: skip
            return out
        mean = state["mean"].lerp_(grads.flat, share1)
        root = root_mean_square(grads.flat, state, self.beta2, step)
        return torch.div(mean, root.add_(self.eps), out=root)


def root_mean_square(grads: Tensor, state: dict[str, Tensor], beta2: Any, step: int) -> Tensor:
    """Return the root of the running mean square, bias-corrected, in the buffer `_direction`."""
    import torch

    out, mean_square = state["_direction"], state["mean_square"]
    torch.mul(grads, grads, out=out)
    mean_square.lerp_(out, (1 - beta2) / (1 - beta2**step))
    return torch.sqrt(mean_square, out=out)
