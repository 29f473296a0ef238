"""Spectra as a row of steps in time, for networks that read sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainwell.models.linear import linear
from trainwell.values.task import InputSpec

FRAMES = 2
"""Frames of one step; at 10 ms a frame a step is 20 ms, as in speech recognition."""


class Frames(nn.Module):
    """Standardise every band, then turn some frames at a time into numbers.

    Mean and deviation of the bands are measured on the first training rows.

    Shapes: (B, 1, bands, frames) -> (B, frames // FRAMES, width).
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, inputs: InputSpec, width: int, generator: torch.Generator) -> None:
        super().__init__()
        bands = inputs.shape[0] * inputs.shape[1]
        self.register_buffer("mean", torch.zeros(bands, 1))
        self.register_buffer("scale", torch.ones(bands, 1))
        self.project = linear(bands * FRAMES, width, generator)

    @staticmethod
    def steps(inputs: InputSpec) -> int:
        """Return the number of steps of a row."""
        return inputs.shape[2] // FRAMES

    @torch.no_grad()
    def measure(self, spectra: Tensor) -> None:
        """Take mean and deviation of every band of these rows."""
        bands = spectra.flatten(1, 2).transpose(0, 1).flatten(1)
        self.mean.copy_(bands.mean(1, keepdim=True))
        self.scale.copy_(bands.std(1, keepdim=True).clamp_min(1e-3).reciprocal())

    def forward(self, spectra: Tensor) -> Tensor:
        x = (spectra.flatten(1, 2) - self.mean) * self.scale
        x = x[:, :, : x.shape[2] // FRAMES * FRAMES].transpose(1, 2)
        return self.project(x.reshape(x.shape[0], -1, self.project.in_features))


def every_step(spectra: Tensor) -> Tensor:
    """Return that every step of every row counts, (B, L) bool."""
    return torch.ones(spectra.shape[0], spectra.shape[3] // FRAMES, dtype=torch.bool, device=spectra.device)
