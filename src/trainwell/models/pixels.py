"""What every network of images begins with, and convolutions whose first numbers come from a given stream."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class PixelFront(nn.Module):
    """Standardise pixels per channel. Pixels are 0 to 255, as bytes or as floats.

    Args:
        mean, std: per channel in the same unit; measured on the first batch of training rows where they are not given.
    Shapes: (B, C, H, W) uint8 or float -> (B, C, H, W) float, channels last in memory.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, channels: int, mean: Sequence[float] = (), std: Sequence[float] = ()) -> None:
        super().__init__()
        self.is_fixed = bool(mean)
        first = torch.tensor(list(mean) or [127.5] * channels)
        spread = torch.tensor(list(std) or [64.0] * channels)
        self.register_buffer("mean", first.view(-1, 1, 1))
        self.register_buffer("scale", spread.reciprocal().view(-1, 1, 1))

    @torch.no_grad()
    def measure(self, pixels: Tensor) -> None:
        """Take mean and deviation of every channel of these rows, unless they are fixed."""
        if self.is_fixed:
            return
        rows = pixels.float().transpose(0, 1).flatten(1)
        self.mean.copy_(rows.mean(1).view(-1, 1, 1))
        self.scale.copy_(rows.std(1).clamp_min(1e-3).reciprocal().view(-1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        # channels last in memory; written so that torch.func can batch it
        x = pixels.to(self.mean.dtype).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        return (x - self.mean) * self.scale


class PixelNet(nn.Module):
    """A network of images: standardised pixels -> features -> outputs.

    A subclass fills `body`, which gives (B, F), and `head`. `features` is what transfer learning keeps.
    """

    front: PixelFront
    body: nn.Module
    head: nn.Module

    def initialize(self, rows: tuple[Tensor, ...], generator: torch.Generator) -> None:
        """Measure the pixels of the training rows; called before the first step."""
        self.front.measure(rows[0])

    def features(self, pixels: Tensor) -> Tensor:
        """Return what the head sees, (B, F)."""
        return self.body(self.front(pixels))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.features(pixels))


@torch.no_grad()
def convolution(
    inputs: int, outputs: int, size: int, generator: torch.Generator, stride: int = 1
) -> nn.Conv2d:
    """Return a convolution without bias that keeps the size at stride 1, drawn from a normal law by fan-out.

    Source: He et al. 2015, arXiv:1502.01852.
    """
    layer = torch.nn.utils.skip_init(nn.Conv2d, inputs, outputs, size, stride, size // 2, bias=False)
    layer.weight.normal_(0, math.sqrt(2 / (outputs * size * size)), generator=generator)
    return layer
