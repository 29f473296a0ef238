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
class ElasticNet(Technique):
    """Minimise loss + rate * (l1_ratio * |w|_1 + (1 - l1_ratio) / 2 * |w|^2) over matrices and kernels.

    Helps when few groups of correlated inputs matter: L1 alone keeps one input of a group.
    Harms when many small weights matter together.
    Args:    rate: factor of both. l1_ratio: share of the absolute part.
    Source:  Zou, Hastie 2005, in the convention of scikit-learn's ElasticNet (rate = its alpha).
    """

    treats = ("overfitting",)
    expects: ClassVar = {"val_loss": "-"}
    calls = 3

    rate: float = dose(1e-4, low=1e-7, high=1.0, log=True, off=0.0, unit="loss per unit of weight")
    l1_ratio: float = dose(0.5, low=0.0, high=1.0, unit="share")

    def penalty(self, params: Flat, grads: Flat) -> None:
        add_scaled(grads.decayed, params.decayed.sign(), self.rate * self.l1_ratio)
        add_scaled(grads.decayed, params.decayed, self.rate * (1 - self.l1_ratio))

    @classmethod
    def prescribe(cls, finding: Any) -> Self | None:
        """Return a rate that pulls at weights of size 0.1 as a decay with a memory as long as the run does."""
        if getattr(finding, "ailment", None) not in cls.treats:
            return None
        decay = shrinking_rate(finding)
        return cls(rate=within(cls.doses()["rate"], decay and decay / 10))
