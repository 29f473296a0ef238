from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Self

from trainwell.techniques._evidence import shrinking_rate, within
from trainwell.techniques._lanes import add_scaled
from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from trainwell.engine.flat import Flat


@dataclasses.dataclass(frozen=True)
class L1(Technique):
    """Minimise loss + rate * |w|_1 over matrices and kernels.

    Helps when few inputs matter: weights that the loss does not need are driven towards zero.
    Harms when many small weights matter together; Adam blurs how hard each weight is pushed.
    Args:    rate: factor of the sum of absolute weights.
    Source:  Tibshirani 1996, with the subgradient sign(w), 0 at 0.
    """

    treats = ("overfitting",)
    expects: ClassVar = {"val_loss": "-"}
    calls = 2

    rate: float = dose(1e-4, low=1e-7, high=0.1, log=True, off=0.0, unit="loss per unit of weight")

    def penalty(self, params: Flat, grads: Flat) -> None:
        add_scaled(grads.decayed, params.decayed.sign(), self.rate)

    @classmethod
    def prescribe(cls, finding: Any) -> Self | None:
        """Return a rate that pulls at weights of size 0.1 as a decay with a memory as long as the run does."""
        if getattr(finding, "ailment", None) not in cls.treats:
            return None
        decay = shrinking_rate(finding)
        return cls(rate=within(cls.doses()["rate"], decay and decay / 10))
