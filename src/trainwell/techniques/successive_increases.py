from __future__ import annotations

import dataclasses
import itertools
from typing import ClassVar

from trainwell.values.dose import dose
from trainwell.values.technique import Technique


@dataclasses.dataclass(frozen=True)
class SuccessiveIncreases(Technique):
    """Stop when the monitored value has risen in `count` successive strips of epochs (Prechelt's UP).

    Helps against overfitting without any scale: only the direction of the change counts.
    Harms runs with a plateau, where noise alone rises `count` times sooner or later.
    Args:    count: successive rises that end the run. strip: epochs between two looks.
    Source:  Prechelt 1998, "Early stopping - but when?", class UP; strips of 5 epochs.
    """

    treats = ("overfitting",)
    expects: ClassVar = {"val_loss": "-", "epochs": "-"}

    count: int = dose(3, low=1, high=100, log=True, off=0, unit="strips", integer=True)
    strip: int = dose(5, low=1, high=100, log=True, unit="epochs", integer=True)

    def stop(self, monitor: list[float], train_loss: list[float]) -> str | None:
        if not self.count or len(monitor) % self.strip:
            return None
        ends = monitor[self.strip - 1 :: self.strip][-self.count - 1 :]
        rises = [later > earlier for earlier, later in itertools.pairwise(ends)]
        if len(rises) < self.count or not all(rises):
            return None
        return f"risen in {self.count} successive strips of {self.strip} epochs"
