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
class GradualUnfreezing(Technique):
    """Train the last layer first, and let one more layer learn every `steps` steps.

    Helps fine-tuning: the large first gradients of a new last layer do not reach what is trained already.
    Harms short budgets; weight decay goes on shrinking the layers that wait.
    Args:    steps: from one layer to the next.
    Source:  Howard, Ruder 2018, arXiv:1801.06146, section 3.3.
    """

    family = "unfreeze"
    treats = ("pretrained_lr_too_high",)
    expects: ClassVar = {"val_loss": "-"}
    calls = 3

    steps: int = dose(50, low=1, high=100000, log=True, off=0, unit="steps per layer", integer=True)

    def init_state(self, params: Flat) -> dict[str, Tensor]:
        count = params.flat.new_zeros(*params.flat.shape[:-1], 1)
        return {"count": count, "_height": height_of_numbers(self.name, params)}

    def grads(self, grads: Flat, params: Flat, state: dict[str, Tensor]) -> None:
        grads.flat.mul_(state["count"] >= state["_height"] * self.steps)
        state["count"].add_(1)
