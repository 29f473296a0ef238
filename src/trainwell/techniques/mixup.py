from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from trainwell.techniques._lanes import uniform
from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    import torch

    from trainwell.engine.parts import Batch


@dataclasses.dataclass(frozen=True)
class Mixup(Technique):
    """Train on mixtures of two rows and of their losses, in a proportion drawn anew for every batch.

    Helps against overfitting and wrong labels; the network behaves linearly between rows.
    Harms when a mixture of two rows is no possible row, and regressions with sharp edges.
    Args:    alpha: the proportion is drawn from Beta(alpha, alpha); small values mix little.
    Shapes:  the partner of a row is its neighbour in the shuffled batch. The larger share is the row's own
             (swapping roles gives the same mixtures), so integer inputs, which cannot be mixed, stay its own.
    Source:  Zhang et al. 2018, arXiv:1710.09412; draw: Bailey's polar method, Devroye 1986, section IX.5.
    """

    family = "mix"
    treats = ("overfitting", "label_noise")
    expects: ClassVar = {"val_loss": "-"}
    kinds = ("table", "image", "audio", "features")
    calls = 11

    alpha: float = dose(0.2, low=0.01, high=10.0, log=True, off=0.0, unit="parameter of the Beta law")

    def batch(self, batch: Batch, generator: torch.Generator) -> None:
        y = batch.y
        if batch.x[0].element_size() == 1:  # pixels as bytes
            batch.x = tuple(x.float() if x.element_size() == 1 else x for x in batch.x)
        rows = y.ndim - 2 if y.is_floating_point() else y.ndim - 1
        like = batch.x[0] if batch.x[0].is_floating_point() else batch.x[0][:0].float()
        draws = uniform(generator, 2, like)
        size, angle = draws[0], draws[1]  # unpacking a tensor is a Python call
        # T = sqrt(W) cos is Student's t over root 2 alpha; (1 + T / sqrt(1 + T^2)) / 2 is Beta(alpha, alpha)
        squared = (size.pow(-1 / self.alpha) - 1) * angle.mul_(2 * 3.141592653589793).cos_().square_()
        mix = squared.reciprocal_().add_(1).rsqrt_().add_(1).mul_(0.5)
        batch.mix, batch.mixed_y = mix, y.roll(1, rows)
        batch.x = tuple(
            x.roll(1, rows).lerp(x, mix.view(*mix.shape, *(1,) * (x.ndim - rows - 1)).to(x.dtype))
            if x.is_floating_point()
            else x
            for x in batch.x
        )
