from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from trainwell.values.dose import dose
from trainwell.values.technique import Technique


@dataclasses.dataclass(frozen=True)
class OneCycle(Technique):
    """Raise the learning rate to its peak and lower it to nearly nothing, both along half a cosine.

    Helps short runs with large peak rates: the start is a long warm-up, the end anneals.
    Harms runs whose peak rate is already low: a third of the budget is spent below it.
    Args:    rise: share of the run that rises. start, final: rate at the start and at the end.
    Source:  Smith, Topin 2018, arXiv:1708.07120; defaults of torch.optim.lr_scheduler.OneCycleLR.
    """

    role = "schedule"
    treats = ("lr_schedule", "lr_too_high", "oscillation")
    expects: ClassVar = {"train_loss": "-"}

    rise: float = dose(0.3, low=0.01, high=0.9, unit="share of the run")
    start: float = dose(0.04, low=0.0, high=1.0, unit="share of the peak rate")
    final: float = dose(4e-6, low=0.0, high=1.0, unit="share of the peak rate")

    def schedule(self, progress: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        up = 0.5 * (1 - np.cos(np.pi * progress / self.rise))
        down = 0.5 * (1 + np.cos(np.pi * (progress - self.rise) / (1 - self.rise)))
        rising, falling = self.start + (1 - self.start) * up, self.final + (1 - self.final) * down
        return np.where(progress < self.rise, rising, falling)
