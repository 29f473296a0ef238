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
class ResizedCrop(Technique):
    """Cut a part of every image, of an area from `area` to all of it, and scale it to the size of the image.

    Helps photographs, whose objects come in all sizes; the usual augmentation of ImageNet.
    Harms small and centred images, short budgets, and tasks whose answer lies at the edge.
    Args:    area: smallest part of the image that is kept.
    Source:  Szegedy et al. 2015, arXiv:1409.4842, section 6; sides of 3/4 to 4/3 as in torchvision.
    """

    kinds = ("image", "audio")
    calls = 15

    area: float = dose(0.35, low=0.05, high=0.95, off=1.0, unit="share of the image")

    def batch(self, batch: Batch, generator: Generators) -> None:
        edit_images(batch, generator, 4, self.area, _crop)


def _crop(images: Tensor, numbers: Tensor, area: Any) -> Tensor:
    import torch
    import torch.nn.functional as F

    size = area + numbers[0] * (1 - area)
    aspect = torch.exp((2 * numbers[1] - 1) * 0.2877)
    high, wide = (size * aspect).sqrt().clamp(max=1.0), (size / aspect).sqrt().clamp(max=1.0)
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0], theta[:, 1, 1] = wide, high
    theta[:, 0, 2], theta[:, 1, 2] = (2 * numbers[2] - 1) * (1 - wide), (2 * numbers[3] - 1) * (1 - high)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    cut = F.grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False)
    if isinstance(area, torch.Tensor):
        return torch.where((area < 1).view(-1, 1, 1, 1), cut, images)
    return cut
