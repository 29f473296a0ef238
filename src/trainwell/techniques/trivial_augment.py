from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from trainwell.techniques._images import edit_images
from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import Tensor

    from trainwell.engine.parts import Batch
    from trainwell.techniques._images import Generators


@dataclasses.dataclass(frozen=True)
class TrivialAugment(Technique):
    """Change some images by one operation each, drawn at random with a random strength.

    Helps photographs without anything to tune: turns, shears, moves, light, contrast, colour, sharpness, tones.
    Harms digits and letters that turns make into others, and short budgets.
    Args:    share: probability that an image is changed.
    Source:  Mueller, Hutter 2021, arXiv:2103.10158, algorithm 1, with the ranges of its "wide" space.
    """

    kinds = ("image",)
    calls = 60  # for every operation that is drawn about 4

    share: float = dose(0.9, low=0.01, high=1.0, off=0.0, unit="share of images")

    def batch(self, batch: Batch, generator: Generators) -> None:
        edit_images(batch, generator, 3, self.share, _augment)


def _augment(images: Tensor, numbers: Tensor, share: Any) -> Tensor:
    from trainwell.techniques._modules.augment import apply_one

    return apply_one(images, numbers[0] < share, numbers[1], numbers[2])
