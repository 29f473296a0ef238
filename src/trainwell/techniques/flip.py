from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from trainwell.techniques._images import edit_images, per_image
from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import Tensor

    from trainwell.engine.parts import Batch
    from trainwell.techniques._images import Generators


@dataclasses.dataclass(frozen=True)
class Flip(Technique):
    """Mirror images left to right, each with the probability `share`.

    Helps photographs, for which it doubles the data.
    Harms digits, letters and all that means something else in the mirror.
    Args:    share: probability per image.
    Source:  Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification", section 4.1.
    """

    kinds = ("image",)
    calls = 9

    share: float = dose(0.5, low=0.01, high=1.0, off=0.0, unit="share of images")

    def batch(self, batch: Batch, generator: Generators) -> None:
        edit_images(batch, generator, 1, self.share, _flip)


def _flip(images: Tensor, numbers: Tensor, share: Any) -> Tensor:
    import torch

    return torch.where(per_image(numbers[0] < share), images.flip(-1), images)
