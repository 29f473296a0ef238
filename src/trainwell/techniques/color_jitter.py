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
class ColorJitter(Technique):
    """Change brightness, contrast and saturation of every image by factors up to 1 +- `strength`.

    Helps photographs of other light and cameras than those that come later.
    Harms tasks in which the colour is the answer.
    Args:    strength: largest change of each of the three factors.
    Source:  Howard 2013, arXiv:1312.5402, section 2.1; factors as torchvision.transforms.ColorJitter.
    """

    kinds = ("image",)
    calls = 12

    strength: float = dose(0.3, low=0.01, high=0.9, off=0.0, unit="share of the factor 1")

    def batch(self, batch: Batch, generator: Generators) -> None:
        edit_images(batch, generator, 3, self.strength, _jitter)


def _jitter(images: Tensor, numbers: Tensor, strength: Any) -> Tensor:
    import torch

    brightness, contrast, saturation = 1 + (2 * numbers - 1) * strength
    x = images.float() * per_image(brightness)
    x = torch.lerp(x.mean((1, 2, 3), keepdim=True), x, per_image(contrast))
    x = torch.lerp(x.mean(1, keepdim=True), x, per_image(saturation)).clamp_(0, 255)
    if not isinstance(strength, float | int):
        return torch.where(per_image(strength) > 0, x, images)
    return x
