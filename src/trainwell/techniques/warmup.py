from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from trainwell.values.dose import dose
from trainwell.values.technique import Technique


@dataclasses.dataclass(frozen=True)
class Warmup(Technique):
    """Raise the learning rate in a straight line over the first `fraction` of the run.

    Helps when the first steps are unstable: fresh moments of Adam, deep networks, large batches or rates.
    Harms short runs, which lose steps at rates that are too low.
    Args:    fraction: share of the run that rises. start: rate of the first step.
    Source:  Goyal et al. 2017, arXiv:1706.02677, section 2.2; Gilmer et al. 2022, arXiv:2110.04369.
    """

    treats = ("lr_too_high",)
    expects: ClassVar = {"train_loss": "-"}

    fraction: float = dose(0.05, low=0.001, high=0.5, log=True, off=0.0, unit="share of the run")
    start: float = dose(0.01, low=0.0, high=1.0, unit="share of the peak rate")

    def schedule(self, progress: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        risen = np.minimum(progress / self.fraction, 1) if self.fraction else np.ones_like(progress)
        return self.start + (1 - self.start) * risen

    @classmethod
    def prescribe(cls, finding: Any) -> Self | None:
        """Return a long rise: where the start is known to be unstable, 5 % of a short run are too few steps."""
        return cls(fraction=0.2) if getattr(finding, "ailment", None) in cls.treats else None
