from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import Tensor

    from trainwell.engine.flat import Flat

WINDOW = 100
"""Steps whose norms are remembered."""


@dataclasses.dataclass(frozen=True)
class ClipQuantile(Technique):
    """Scale the gradient down when its global norm exceeds a quantile of the norms of the last 100 steps.

    Helps when rare batches throw the weights far and the usual norm is unknown or changes.
    Harms little at quantiles above 0.5; below, most steps are shortened.
    Args:    quantile: share of recent norms that stay as they are; 1 clips nothing.
    Source:  Seetharaman et al. 2020, arXiv:2007.14469 (AutoClip), here with a window.
    """

    family = "clip"
    treats = ("exploding_gradient",)
    expects: ClassVar = {"train_loss": "-"}
    calls = 1

    quantile: float = dose(0.9, low=0.05, high=0.999, off=1.0, unit="quantile")

    def init_state(self, params: Flat) -> dict[str, Tensor]:
        # infinity marks places that are not filled yet; it sorts last
        return {"norms": params.flat.new_full((*params.flat.shape[:-1], WINDOW), float("inf"))}

    def grads(self, grads: Flat, params: Flat, state: dict[str, Tensor]) -> None:
        import torch

        norm = torch.linalg.vector_norm(grads.flat, dim=-1, keepdim=True)
        norms = state["norms"]
        norms.copy_(torch.cat((norms[..., 1:], norm), dim=-1))
        ordered = norms.sort(dim=-1).values
        filled = norms.isfinite().sum(dim=-1, keepdim=True).clamp_(min=1)
        place = (filled - 1).to(norm.dtype) * self.quantile
        low = place.floor()
        limit = torch.lerp(
            ordered.gather(-1, low.long()),
            ordered.gather(-1, place.ceil().long()),
            (place - low).to(norm.dtype),
        )
        grads.flat.mul_((limit / norm.clamp(min=1e-30)).clamp_(max=1.0))
