from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from trainwell.engine.parts import HardwarePlan


@dataclasses.dataclass(frozen=True)
class GradAccumulation(Technique):
    """Take every batch in `micro_batches` parts and add their gradients up before the step.

    Helps when a batch does not fit into the memory; the result equals the whole batch.
    Harms the speed, and batch norms, which see only the parts.
    Args:    micro_batches: parts of a batch; each is weighed by its true number of rows.
    Source:  the identity of sums; for the weighing: huggingface.co/blog/gradient_accumulation (2024).
    """

    calls = 51  # a further forward and backward pass on a network of three layers

    micro_batches: int = dose(2, low=2, high=1024, log=True, off=1, unit="parts of a batch", integer=True)

    def hardware(self, plan: HardwarePlan) -> None:
        plan.micro_batches = self.micro_batches
