from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from trainwell.techniques._compiled import by_lanes
from trainwell.techniques._kernel import in_one_pass
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
             doses are numbers torch's fused kernel does it in a third of the time, for lanes that of adam.c.
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

        if in_one_pass(self, state["_direction"], grads, state, step, None):
            return state["_direction"]
        mean = state["mean"].lerp_(grads.flat, (1 - self.beta1) / (1 - self.beta1**step))
        root = root_mean_square(grads.flat, state, self.beta2, step)
        return torch.div(mean, root.add_(self.eps), out=root)

    def move_by(self, params: Flat, grads: Flat, state: dict[str, Tensor], step: int, lr: Any) -> bool:
        """Move the weights against the direction, where one pass can do both; say whether it was done."""
        if isinstance(lr, float) and in_one_pass(self, params.flat, grads, state, step, lr):
            return True
        return by_lanes(self, params.flat, grads, state, step, lr)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "direction" in cls.__dict__ and "move_by" not in cls.__dict__:
            cls.move_by = None  # type: ignore[assignment, method-assign]  # it would not be along that direction


def root_mean_square(grads: Tensor, state: dict[str, Tensor], beta2: Any, step: int) -> Tensor:
    """Return the root of the running mean square, bias-corrected, in the buffer `_direction`."""
    import torch

    out, mean_square = state["_direction"], state["mean_square"]
    torch.mul(grads, grads, out=out)
    mean_square.lerp_(out, (1 - beta2) / (1 - beta2**step))
    return torch.sqrt(mean_square, out=out)
