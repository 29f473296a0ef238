from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import nn

    from trainwell.engine.parts import Build


@dataclasses.dataclass(frozen=True)
class Dropout(Technique):
    """Set each activation to zero with probability `rate` while training.

    Helps against overfitting of wide layers: no unit can rely on one other unit.
    Harms networks that underfit, regressions whose scale it disturbs, and layers before batch norms.
    Args:    rate: for every dropout layer that is there; else one is put after each hidden activation.
    Source:  Srivastava et al. 2014, JMLR 15, sections 4 and A.4.
    """

    treats = ("overfitting",)
    expects: ClassVar = {"val_loss": "-"}
    calls = 14  # 7 per dropout layer; the law counts on two

    rate: float = dose(0.2, low=0.01, high=0.9, off=0.0, unit="share of activations")

    def model(self, model: nn.Module, build: Build) -> nn.Module:
        from trainwell.techniques._modules.dropouts import set_dropout

        return set_dropout(model, self.rate, build.dropout)
