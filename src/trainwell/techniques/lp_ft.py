from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.techniques._heights import height_of_numbers
from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import Tensor

    from trainwell.engine.flat import Flat


@dataclasses.dataclass(frozen=True)
class LPFT(Technique):
    """Train the last layer alone for `steps` steps, then all layers.

    Helps data that differ from those of the pre-training: features are not distorted by a random last layer.
    Harms short budgets; weight decay goes on shrinking the layers that wait.
    Args:    steps: of the last layer alone. `fit --backbone` trains it on cached features instead, which is faster.
    Source:  Kumar et al. 2022, arXiv:2202.10054.
    """

    name = "lp_ft"
    family = "unfreeze"
    treats = ("pretrained_lr_too_high",)
    expects: ClassVar = {"val_loss": "-"}
    calls = 3

    steps: int = dose(200, low=1, high=1000000, log=True, off=0, unit="steps", integer=True)

    def init_state(self, params: Flat) -> dict[str, Tensor]:
        count = params.flat.new_zeros(*params.flat.shape[:-1], 1)
        return {"count": count, "_height": height_of_numbers(self.name, params)}

    def grads(self, grads: Flat, params: Flat, state: dict[str, Tensor]) -> None:
        grads.flat.mul_(state["count"] >= state["_height"].clamp(max=1) * self.steps)
        state["count"].add_(1)
