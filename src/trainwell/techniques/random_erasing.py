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
class RandomErasing(Technique):
    """Fill a rectangle of some images with their mean.

    Helps against overfitting: no single part of an object can be relied on.
    Harms tasks whose answer is one small part.
    Args:    share: probability per image. area: largest part of the image that is filled.
    Source:  Zhong et al. 2020, arXiv:1708.04896, algorithm 1 (areas from 2 %, sides of 0.3 to 3.3).
    """

    kinds = ("image", "audio")
    calls = 16

    share: float = dose(0.25, low=0.01, high=1.0, off=0.0, unit="share of images")
    area: float = dose(0.33, low=0.03, high=0.9, unit="share of the image")

    def batch(self, batch: Batch, generator: Generators) -> None:
        area = self.area

        def erase(images: Tensor, numbers: Tensor, share: Any) -> Tensor:
            import torch

            rows = len(images)
            limit = area.expand(-1, rows // len(area)).reshape(-1) if isinstance(area, torch.Tensor) else area
            size = 0.02 + numbers[1] * (limit - 0.02)
            aspect = torch.exp((2 * numbers[2] - 1) * 1.194)
            inside = _span(numbers[3], (size * aspect).sqrt(), images.shape[2]).unsqueeze(2)
            inside = inside & _span(numbers[4], (size / aspect).sqrt(), images.shape[3]).unsqueeze(1)
            chosen = inside.unsqueeze(1) & per_image(numbers[0] < share)
            return torch.where(chosen, images.float().mean((2, 3), keepdim=True).to(images.dtype), images)

        edit_images(batch, generator, 5, self.share, erase)


def _span(place: Tensor, length: Tensor, side: int) -> Tensor:
    """Return which places of a side lie in a span of this length, (N, side)."""
    import torch

    length = length.clamp(max=1.0)
    start = place * (1 - length)
    at = (torch.arange(side, device=place.device) + 0.5) / side
    return (at >= start.unsqueeze(1)) & (at < (start + length).unsqueeze(1))
