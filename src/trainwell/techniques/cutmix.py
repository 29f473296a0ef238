from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from trainwell.techniques._images import row_axis, uniforms
from trainwell.values.dose import dose
from trainwell.values.technique import Technique

if TYPE_CHECKING:
    from torch import Tensor

    from trainwell.engine.parts import Batch
    from trainwell.techniques._images import Generators


@dataclasses.dataclass(frozen=True)
class CutMix(Technique):
    """Put a rectangle of another image into every image, and weigh the losses of both by their areas.

    Helps against overfitting of images, more than erasing: no pixel is wasted.
    Harms short budgets, which it makes harder, and tasks that turn on one small part.
    Args:    share: probability that a batch is mixed; the area of the rectangle is uniform in [0, 1).
    Shapes:  the partner of an image is its neighbour in the shuffled batch; the rectangle is one for the batch.
    Source:  Yun et al. 2019, arXiv:1905.04899, algorithm A1 with Beta(1, 1).
    """

    name = "cutmix"
    family = "mix"
    kinds = ("image", "audio")
    calls = 21

    share: float = dose(0.5, low=0.01, high=1.0, off=0.0, unit="share of batches")

    def batch(self, batch: Batch, generator: Generators) -> None:
        axis = row_axis(batch)
        if all(x.ndim - axis != 4 for x in batch.x):
            return
        like = next(x for x in batch.x if x.ndim - axis == 4)
        height, width = like.shape[-2:]
        numbers = uniforms(generator, 4, 1, like.device)
        side = numbers[1].sqrt()
        inside = _span(numbers[2], side, height).unsqueeze(2) & _span(numbers[3], side, width).unsqueeze(1)
        inside = inside & (numbers[0] < _flat(self.share)).view(-1, 1, 1)
        own = 1 - inside.double().mean((1, 2)).to(numbers.dtype)
        batch.mix, batch.mixed_y = own.view(*like.shape[:axis], 1), batch.y.roll(1, axis)
        mask = inside.view(*like.shape[:axis], 1, 1, height, width)
        batch.x = tuple(x.roll(1, axis).where(mask, x) if x.ndim - axis == 4 else x for x in batch.x)


def _flat(share: float | Tensor) -> float | Tensor:
    return share if isinstance(share, float | int) else share.view(-1)


def _span(place: Tensor, length: Tensor, side: int) -> Tensor:
    """Return which places of a side lie in a span around `place` that is cut at the edges, (lanes, side)."""
    import torch

    at = (torch.arange(side, device=place.device) + 0.5) / side
    return (at - place.unsqueeze(1)).abs() < (length / 2).unsqueeze(1)
