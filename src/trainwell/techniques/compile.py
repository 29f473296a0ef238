from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from trainwell.values.dose import choice
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from trainwell.engine.parts import HardwarePlan


@dataclasses.dataclass(frozen=True)
class Compile(Technique):
    """Compile the forward and backward pass of the model with torch.compile.

    Helps long runs of networks with many small operations.
    Harms short runs: the first step takes 10 to 40 seconds, and every new batch shape some more.
    Args:    mode: of torch.compile.
    Source:  Ansel et al. 2024, "PyTorch 2", ASPLOS; docs of torch.compile.
    """

    mode: str = choice("default", "default", "reduce-overhead", "max-autotune")

    def hardware(self, plan: HardwarePlan) -> None:
        plan.compile_mode = self.mode
