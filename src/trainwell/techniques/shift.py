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
class Shift(Technique):
    """Move images by up to `share` of their side in both directions; what comes in is their mirror image.

    Helps small images: where an object stands does not matter.
    Harms tasks in which the place is the answer.
    Args:    share: largest shift; it is rounded to whole pixels.
    Source:  He et al. 2016, arXiv:1512.03385, section 4.2 (4 pixels of 32), with mirrored edges.
    """

    kinds = ("image", "audio")
    calls = 19

    share: float = dose(0.125, low=0.01, high=0.5, off=0.0, unit="share of the side")

    def batch(self, batch: Batch, generator: Generators) -> None:
        edit_images(batch, generator, 2, self.share, _shift)


def _shift(images: Tensor, numbers: Tensor, share: Any) -> Tensor:
    import torch

    height, width = images.shape[2:]
    rows = _places(numbers[0], share, height)
    columns = _places(numbers[1], share, width)
    which = torch.arange(len(images), device=images.device).view(-1, 1, 1)
    moved = images.permute(0, 2, 3, 1)[which, rows.unsqueeze(2), columns.unsqueeze(1)]
    return moved.permute(0, 3, 1, 2)


def _places(numbers: Tensor, share: Any, side: int) -> Tensor:
    """Return where each pixel of a side comes from, (N, side); beyond the edge the image is mirrored."""
    import torch

    most = (torch.as_tensor(share, device=numbers.device) * side).floor()
    offset = (numbers * (2 * most + 1)).floor() - most
    places = torch.arange(side, device=numbers.device) + offset.unsqueeze(1)
    return (side - 1 - (side - 1 - places.abs()).abs()).clamp_(0, side - 1).long()
