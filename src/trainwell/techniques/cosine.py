from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from trainwell.values.dose import dose
from trainwell.values.technique import Technique


@dataclasses.dataclass(frozen=True)
class Cosine(Technique):
    """Lower the learning rate from its peak to `final` along half a cosine.

    Helps nearly every run of known length: long at high rates, then a quiet end.
    Harms when the budget is extended later: the low rates have been spent.
    Args:    final: rate at the end.
    Source:  Loshchilov, Hutter 2017, arXiv:1608.03983, equation 5 without restarts.
    """

    role = "schedule"
    treats = ("lr_schedule", "oscillation")
    expects: ClassVar = {"train_loss": "-"}

    final: float = dose(0.0, low=0.0, high=1.0, off=1.0, unit="share of the peak rate")

    def schedule(self, progress: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return self.final + (1 - self.final) * 0.5 * (1 + np.cos(np.pi * progress))
