from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from trainwell.values.technique import Technique


@dataclasses.dataclass(frozen=True)
class CosLog4(Technique):
    """Let the learning rate rise and fall four times, each time twice as long as before.

    Helps tables with noisy validation: several quiet valleys give several good epochs to choose from.
    Harms short budgets: only the last valley is deep, and peaks undo part of the progress.
    Source:  Holzmüller et al. 2024, arXiv:2407.04491, RealMLP: (1 - cos(2 pi log2(1 + 15 t))) / 2.
    """

    name = "cos_log4"
    role = "schedule"
    treats = ("lr_schedule", "oscillation")
    expects: ClassVar = {"train_loss": "-"}

    def schedule(self, progress: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return 0.5 * (1 - np.cos(2 * np.pi * np.log2(1 + 15 * progress)))
