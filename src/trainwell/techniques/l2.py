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
class L2(Technique):
    """Minimise loss + rate / 2 * |w|^2 over matrices and kernels.

    Helps against overfitting with SGD, where it equals weight decay.
    Harms little with SGD; under Adam the penalty is divided away with the gradient: use `weight_decay` there.
    Args:    rate: the gradient grows by rate * w.
    Source:  Krogh, Hertz 1991; the convention of the `weight_decay` of torch.optim.SGD.
    """

    treats = ("overfitting",)
    expects: ClassVar = {"val_loss": "-"}
    calls = 2

    rate: float = dose(1e-4, low=1e-7, high=1.0, log=True, off=0.0, unit="loss per squared weight")

    def penalty(self, params: Flat, grads: Flat) -> None:
        add_scaled(grads.decayed, params.decayed, self.rate)

    @classmethod
    def prescribe(cls, finding: Any) -> Self | None:
        """Return a rate whose memory is as long as the run."""
        if getattr(finding, "ailment", None) not in cls.treats:
            return None
        return cls(rate=within(cls.doses()["rate"], shrinking_rate(finding)))
