from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import Tensor

    from trainwell.engine.flat import Flat


@dataclasses.dataclass(frozen=True)
class ClipValue(Technique):
    """Cut every number of the gradient to [-max_value, max_value].

    Helps when single weights get huge gradients, e.g. from one column with outliers.
    Harms the direction: large components lose more than small ones.
    Args:    max_value: largest allowed size of a component.
    Source:  Mikolov 2012 (thesis), section 3.3; torch.nn.utils.clip_grad_value_.
    """

    family = "clip"
    treats = ("exploding_gradient",)
    expects: ClassVar = {"train_loss": "-"}
    calls = 1

    max_value: float = dose(0.1, low=1e-5, high=1e3, log=True, off=float("inf"), unit="gradient")

    def grads(self, grads: Flat, params: Flat, state: dict[str, Tensor] | None) -> None:
        grads.flat.clamp_(min=-self.max_value, max=self.max_value)
