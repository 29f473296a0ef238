from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

from trainwell.values.dose import dose
from trainwell.values.technique import Technique


@dataclasses.dataclass(frozen=True)
class EarlyStopping(Technique):
    """Stop when the monitored value has not improved for `patience` epochs.

    Helps against overfitting and saves time; the best weights come back.
    Harms runs with a long plateau, and cuts a schedule before its quiet end: then a large patience is needed.
    Args:    patience: epochs without improvement that are borne. min_delta: smallest drop that counts.
    Source:  Prechelt 1998, "Early stopping - but when?"; 10 epochs as n_iter_no_change of scikit-learn.
    """

    treats = ("overfitting",)
    expects: ClassVar = {"val_loss": "-", "epochs": "-"}

    patience: int = dose(10, low=1, high=10_000, log=True, off=0, unit="epochs", integer=True)
    min_delta: float = dose(0.0, low=0.0, high=1e6, unit="monitored value")

    def stop(self, monitor: list[float], train_loss: list[float]) -> str | None:
        best, best_epoch = math.inf, 0
        for epoch, value in enumerate(monitor, 1):
            if value < best - self.min_delta:
                best, best_epoch = value, epoch
        if len(monitor) - best_epoch < self.patience:
            return None
        return f"no better than epoch {best_epoch} for {self.patience} epochs"
