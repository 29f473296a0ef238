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
class RandAugment(Technique):
    """Change every image by `count` operations in a row, each of a strength up to `magnitude`.

    Helps photographs; its two numbers can be tuned, where `trivial_augment` has none.
    Harms digits and letters that turns make into others, and short budgets.
    Args:    count: operations per image. magnitude: share of the widest range of each.
    Source:  Cubuk et al. 2020, arXiv:1909.13719, with strengths drawn uniformly up to the magnitude.
    """

    kinds = ("image",)
    calls = 110  # for every operation that is drawn about 4

    count: int = dose(2, low=1, high=5, off=0, unit="operations", integer=True)
    magnitude: float = dose(0.3, low=0.02, high=1.0, unit="share of the widest range")

    def batch(self, batch: Batch, generator: Generators) -> None:
        magnitude: Any = self.magnitude

        def augment(images: Tensor, numbers: Tensor, count: Any) -> Tensor:
            import torch

            from trainwell.techniques._modules.augment import apply_one

            each = (
                magnitude.expand(-1, len(images) // len(magnitude)).reshape(-1)
                if hasattr(magnitude, "expand")
                else magnitude
            )
            counts = torch.as_tensor(count, device=images.device).expand(len(images))
            for i in range(int(counts.max())):
                strength = 0.5 + (numbers[2 * i + 1] - 0.5) * each
                images = apply_one(
                    images, i < counts, numbers[2 * i], torch.as_tensor(strength).to(numbers.dtype)
                )
            return images

        edit_images(batch, generator, 10, self.count, augment)
