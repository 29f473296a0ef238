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

BENDS = 5
"""Places along the bands at which a random filter is drawn; it is straight between them."""


@dataclasses.dataclass(frozen=True)
class SpectralTilt(Technique):
    """Add a random smooth curve over the bands to every spectrum, the same at all its times.

    Helps speech of voices, rooms and microphones that the training part does not hold: each colours a sound like this.
    Harms sounds whose colour is the answer, such as instruments.
    Args:    strength: standard deviation of the curve, in deviations of the spectrum.
    Source:  Nam et al. 2022, arXiv:2110.03282 (FilterAugment, linear type), with normal gains at five even places.
    """

    kinds = ("audio",)
    calls = 8

    strength: float = dose(0.5, low=0.05, high=2.0, off=0.0, unit="deviations of the spectrum")

    def batch(self, batch: Batch, generator: Generators) -> None:
        edit_images(batch, generator, 2 * BENDS, self.strength, _tilted)


def _tilted(spectra: Tensor, numbers: Tensor, strength: Any) -> Tensor:
    import torch

    # Box and Muller: normal numbers from pairs of uniform ones
    radius = (-2 * torch.log1p(-numbers[:BENDS])).sqrt()
    gains = radius * torch.cos(2 * torch.pi * numbers[BENDS:])
    gains = (gains * strength).to(spectra.device)
    bands = spectra.shape[2]
    at = torch.linspace(0, BENDS - 1, bands, device=spectra.device)
    left = at.floor().clamp(max=BENDS - 2).long()
    share = (at - left).unsqueeze(1)
    curve = torch.lerp(gains[left], gains[left + 1], share.to(gains.dtype)).T
    spread = spectra.float().std((2, 3), keepdim=True)
    return (spectra + curve[:, None, :, None] * spread).to(spectra.dtype)
