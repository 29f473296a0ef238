from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from trainwell.values.technique import Technique


@dataclasses.dataclass(frozen=True)
class Constant(Technique):
    """Keep the learning rate at its peak.

    Helps to compare other things, and when the length of the run is unknown; `ema` can replace the decay.
    Harms the final loss: gradient noise keeps the weights away from the minimum.
    Source:  Robbins, Monro 1951 for why a rate must fall; Hägele et al. 2024, arXiv:2405.18392, for its use.
    """

    role = "schedule"

    def schedule(self, progress: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.ones_like(progress)
