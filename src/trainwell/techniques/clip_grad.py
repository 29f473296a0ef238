from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Self

from trainwell.techniques._evidence import fact, within
from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import Tensor

    from trainwell.engine.flat import Flat


@dataclasses.dataclass(frozen=True)
class ClipGrad(Technique):
    """Scale the gradient down when its global norm exceeds `max_norm`.

    Helps when rare batches throw the weights far.
    Harms the speed when `max_norm` lies below the usual norm: every step is then shortened.
    Args:    max_norm: largest allowed norm.
    Source:  Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063, section 3.2; torch.nn.utils.clip_grad_norm_.
    """

    family = "clip"
    treats = ("exploding_gradient",)
    expects: ClassVar = {"train_loss": "-"}
    calls = 1

    max_norm: float = dose(
        1.0, low=1e-3, high=1e3, log=True, off=float("inf"), unit="L2 norm of the gradient"
    )

    def grads(self, grads: Flat, params: Flat, state: dict[str, Tensor] | None) -> None:
        import torch

        norm = torch.linalg.vector_norm(grads.flat, dim=-1, keepdim=True)
        # reciprocal and product: `number / tensor` is a Python call in torch, with the same rounding
        grads.flat.mul_(norm.add_(1e-6).reciprocal_().mul_(self.max_norm).clamp_(max=1.0))

    @classmethod
    def prescribe(cls, finding: Any) -> Self | None:
        """Return a limit at the 90 % quantile of the norms seen before the trouble."""
        if getattr(finding, "ailment", None) not in cls.treats:
            return None
        return cls(max_norm=within(cls.doses()["max_norm"], fact(finding, "grad_norm.q90")))
