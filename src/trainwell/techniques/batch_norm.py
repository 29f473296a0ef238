from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import nn

    from trainwell.engine.parts import Build


@dataclasses.dataclass(frozen=True)
class BatchNorm(Technique):
    """Standardise every feature over the batch, between layer and activation.

    Helps deep networks train at larger rates, and convolutions generalize.
    Harms at small batches, where the statistics are noise, and when training and use differ in distribution.
    Args:    momentum: weight of the newest batch in the running statistics that are used in evaluation.
    Source:  Ioffe, Szegedy 2015, arXiv:1502.03167; defaults of torch.nn.BatchNorm1d.
    """

    family = "norm"
    treats = ("vanishing_gradient", "exploding_gradient", "bad_init")
    expects: ClassVar = {"train_loss": "-"}
    calls = 34  # 17 per norm; the law counts on two

    momentum: float = dose(0.1, low=0.001, high=1.0, log=True, unit="share of the newest batch")

    def model(self, model: nn.Module, build: Build) -> nn.Module:
        from torch import nn

        from trainwell.techniques._modules.norms import set_norms

        kinds = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
        return set_norms(
            model, build, self.name, lambda n, spatial: kinds[spatial](n, momentum=self.momentum)
        )
