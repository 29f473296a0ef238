from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from trainwell.values.dose import dose
from trainwell.values.technique import Technique


@dataclasses.dataclass(frozen=True)
class WSD(Technique):
    """Warm up, stay at the peak rate, and decay only over the last part of the run.

    Helps when the budget may be extended: everything before the decay can be carried on.
    Harms little against cosine; a decay shorter than a tenth of the run leaves some of the gain.
    Args:    rise: share of the run that rises from nearly zero. decay: share that falls to zero as 1 - sqrt.
    Source:  Hu et al. 2024, arXiv:2404.06395; shape and 20 % of arXiv:2405.18392, section 4.
    """

    name = "wsd"
    role = "schedule"
    treats = ("lr_schedule", "oscillation")
    expects: ClassVar = {"train_loss": "-"}

    rise: float = dose(0.02, low=0.0, high=0.5, unit="share of the run")
    decay: float = dose(0.2, low=0.01, high=0.5, unit="share of the run")

    def schedule(self, progress: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        rising = 0.01 + 0.99 * progress / max(self.rise, 1e-12)
        falling = 1 - np.sqrt(np.clip((progress - (1 - self.decay)) / self.decay, 0, 1))
        return np.minimum(np.minimum(rising, 1), falling) if self.rise else falling
