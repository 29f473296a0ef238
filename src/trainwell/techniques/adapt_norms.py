from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.values.errors import NoPlaceError
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trainwell.engine.parts import Build


MOST_ROWS, MOST_NUMBERS = 16384, 1 << 28


@dataclasses.dataclass(frozen=True)
class AdaptNorms(Technique):
    """Measure the running statistics of batch norms anew on training inputs, in one pass, and then keep them.

    Helps a frozen or small-batch network whose inputs differ from those of its pre-training in colour or loudness.
    Harms inputs that are like those of the pre-training, whose statistics came of far more rows.
    Args:    none; the pass takes all rows, up to 16,384 and 268 million numbers (1,783 images of 3 x 224 x 224), in
             batches of 64, each with the same weight. It costs a third of an epoch at most.
    Source:  Li et al. 2017, arXiv:1603.04779 (AdaBN); torch.optim.swa_utils.update_bn is the same pass.
    """

    treats = ("norm_drift",)
    expects: ClassVar = {"val_loss": "-"}

    def model(self, model: nn.Module, build: Build) -> nn.Module:
        from trainwell.techniques._modules.frozen import adapt_norm_statistics, freeze_norm_statistics

        if not freeze_norm_statistics(model):
            raise NoPlaceError(
                self.name, f"{self.name}: this network has no batch norms; leave {self.name} out."
            )
        adapt_norm_statistics(model, _rows(build))
        return model


def _rows(build: Build) -> tuple[Tensor, ...]:
    """Return the training inputs that the pass takes."""
    if build.more is None or not build.sample or not len(build.sample[0]):
        return build.sample
    numbers = sum(t[0].numel() for t in build.sample)
    return build.more(max(len(build.sample[0]), min(MOST_ROWS, MOST_NUMBERS // max(1, numbers))))
