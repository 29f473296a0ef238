from __future__ import annotations

import dataclasses
from typing import ClassVar

from trainwell.techniques._prechelt import generalization_loss, training_progress
from trainwell.values.dose import dose
from trainwell.values.technique import Technique


@dataclasses.dataclass(frozen=True)
class ProgressQuotient(Technique):
    """Stop when the loss of generalization outweighs the progress of training by `alpha` (Prechelt's PQ).

    Helps against overfitting in noisy runs: while the training loss falls fast, a rise is borne.
    Harms runs with a training loss that never settles, which it never ends.
    Args:    alpha: quotient that is borne. strip: epochs whose progress is measured, between two looks.
    Source:  Prechelt 1998, "Early stopping - but when?", class PQ; strips of 5 epochs.
    """

    treats = ("overfitting",)
    expects: ClassVar = {"val_loss": "-", "epochs": "-"}

    alpha: float = dose(0.75, low=0.01, high=100.0, log=True, off=float("inf"), unit="percent per mille")
    strip: int = dose(5, low=2, high=100, log=True, unit="epochs", integer=True)

    def stop(self, monitor: list[float], train_loss: list[float]) -> str | None:
        if len(train_loss) < self.strip or len(train_loss) % self.strip:
            return None
        loss, progress = generalization_loss(monitor), training_progress(train_loss[-self.strip :])
        if not loss > self.alpha * progress:
            return None
        return f"{loss:.3g} % above the best value, progress {progress:.3g} per mille (alpha {self.alpha:g})"
