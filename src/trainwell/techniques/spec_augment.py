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
class SpecAugment(Technique):
    """Fill a stripe of bands and a stripe of time of every spectrum with its mean.

    Helps speech and other sounds against overfitting: no band and no moment can be relied on.
    Harms sounds of a few frames, of which a stripe takes the answer.
    Args:    share: widest stripe; the widths are uniform up to it.
    Source:  Park et al. 2019, arXiv:1904.08779, section 2, with one mask of each kind and no time warp.
    """

    kinds = ("audio",)
    calls = 14

    share: float = dose(0.2, low=0.02, high=0.8, off=0.0, unit="share of bands and of time")

    def batch(self, batch: Batch, generator: Generators) -> None:
        edit_images(batch, generator, 4, self.share, _mask)


def _mask(spectra: Tensor, numbers: Tensor, share: Any) -> Tensor:
    import torch

    bands = _stripe(numbers[0] * share, numbers[1], spectra.shape[2]).unsqueeze(2)
    times = _stripe(numbers[2] * share, numbers[3], spectra.shape[3]).unsqueeze(1)
    filled = spectra.float().mean((2, 3), keepdim=True).to(spectra.dtype)
    return torch.where((bands | times).unsqueeze(1), filled, spectra)


def _stripe(width: Tensor, place: Tensor, side: int) -> Tensor:
    """Return which places of a side lie in a stripe, (N, side)."""
    import torch

    at = (torch.arange(side, device=width.device) + 0.5) / side
    start = place * (1 - width)
    return (at >= start.unsqueeze(1)) & (at < (start + width).unsqueeze(1))
