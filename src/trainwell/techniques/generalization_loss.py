from __future__ import annotations

import dataclasses
from typing import ClassVar

from trainwell.techniques._prechelt import generalization_loss
from trainwell.values.dose import dose
from trainwell.values.technique import Technique


@dataclasses.dataclass(frozen=True)
class GeneralizationLoss(Technique):
    """Stop when the monitored value lies more than `alpha` percent above its best (Prechelt's GL).

    Helps against overfitting: it stops as soon as the loss has clearly risen, however long it took.
    Harms noisy runs, which one bad epoch ends, and flat ones, which it never ends.
    Args:    alpha: rise that is borne. Values at or below 0 are compared by the size of the best.
    Source:  Prechelt 1998, "Early stopping - but when?", class GL; alpha 5 is its middle choice.
    """

    treats = ("overfitting",)
    expects: ClassVar = {"val_loss": "-", "epochs": "-"}

    alpha: float = dose(
        5.0, low=0.1, high=1000.0, log=True, off=float("inf"), unit="percent of the best value"
    )

    def stop(self, monitor: list[float], train_loss: list[float]) -> str | None:
        loss = generalization_loss(monitor)
        return f"{loss:.3g} % above the best value (alpha {self.alpha:g})" if loss > self.alpha else None
