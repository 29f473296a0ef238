from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from trainwell.values.dose import dose
from trainwell.values.technique import Technique


@dataclasses.dataclass(frozen=True)
class Linear(Technique):
    """Lower the learning rate in a straight line from its peak to `final`.

    Helps nearly every run of known length; at least level with cosine on average.
    Harms when the budget is extended later: the low rates have been spent.
    Args:    final: rate at the end.
    Source:  Defazio et al. 2023, arXiv:2310.07831, section 4.
    """

    role = "schedule"
    treats = ("lr_schedule", "oscillation")
    expects: ClassVar = {"train_loss": "-"}

    final: float = dose(0.0, low=0.0, high=1.0, off=1.0, unit="share of the peak rate")

    def schedule(self, progress: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return 1 - (1 - self.final) * progress
