from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Self

from trainwell.techniques._evidence import fact, shrinking_rate, within
from trainwell.values.dose import choice, dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from trainwell.engine.flat import Flat


USUAL = 0.1
"""The largest rate in common use (Loshchilov and Hutter 2019; GPT-3, 2020)."""


@dataclasses.dataclass(frozen=True)
class WeightDecay(Technique):
    """Shrink the weights by `lr * rate` before every step, whatever the optimizer.

    Helps against overfitting, and keeps the effective rate up in networks with norms.
    Harms when `lr * rate * steps` is so large that the network cannot grow the weights it needs.
    Args:    rate: share of the weights per unit of learning rate.
             scope: `matrices` spares biases, norms and embeddings marked so; `all` does not.
    Source:  Loshchilov, Hutter 2019, arXiv:1711.05101, section 2.
    """

    treats = ("overfitting", "weight_decay_misuse")
    expects: ClassVar = {"val_loss": "-"}
    calls = 1

    rate: float = dose(0.01, low=1e-6, high=10.0, log=True, off=0.0, unit="share per unit of rate")
    scope: str = choice("matrices", "matrices", "all", unit="parameters")

    def update(self, params: Flat, lr: Any) -> None:
        shrunk = params.flat if self.scope == "all" else params.decayed
        shrunk.mul_(1 - lr * self.rate)

    @classmethod
    def prescribe(cls, finding: Any) -> Self | None:
        """Return a rate whose memory is as long as the run; where it was too high, not above a tenth of it."""
        if getattr(finding, "ailment", None) not in cls.treats:
            return None
        found, held = shrinking_rate(finding), fact(finding, "weight_decay")
        if getattr(finding, "ailment", None) == "weight_decay_misuse" and held:
            found = float(f"{min(found or cls().rate, held / 10, USUAL):.2g}")
        return cls(rate=within(cls.doses()["rate"], found))
