"""A small convolutional network for small images."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor, nn

from trainwell.models.family import Family
from trainwell.models.linear import ACTIVATIONS, linear
from trainwell.models.pixels import PixelFront, PixelNet, convolution
from trainwell.values.dose import choice, dose
from trainwell.values.task import InputSpec

LARGE = 64
"""A first convolution of stride 2 halves images whose short side is larger."""
LAST_SIDE = 4
"""Halving ends when the next step would fall below this size."""


@dataclasses.dataclass(frozen=True)
class CNN(Family):
    """Convolutions with a batch norm, each followed by a halving of the image, then the mean over the places.

    Helps small images and few of them; trains in a minute on one core.
    Harms large photographs, where a pre-trained backbone is far ahead.
    Args:    width: channels of the first stage; each halving doubles them, up to 8 times. depth: convolutions per
             stage after the first.
    Source:  Ioffe, Szegedy 2015, arXiv:1502.03167; Lin, Chen, Yan 2014, arXiv:1312.4400 (mean over places).
    """

    name: ClassVar[str] = "cnn"
    takes: ClassVar[tuple[str, ...]] = ("image", "audio")

    width: int = dose(24, low=1, high=512, log=True, unit="channels", integer=True)
    depth: int = dose(1, low=1, high=4, unit="convolutions per stage", integer=True)
    activation: str = choice("relu", *ACTIVATIONS)

    def build(self, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> nn.Module:
        return CNNNet(self, inputs, num_outputs, generator)


class ConvBlock(nn.Module):
    """A convolution, a norm, an activation, a dropout (an empty slot) and, where asked for, a halving."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        activation: str,
        halves: bool,
        stride: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.convolution = convolution(inputs, outputs, 3, generator, stride)
        self.norm = nn.BatchNorm2d(outputs)
        self.activation = ACTIVATIONS[activation]()
        self.pool = nn.MaxPool2d(2) if halves else nn.Identity()
        self.dropout = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.activation(self.pool(self.norm(self.convolution(x)))))


class CNNNet(PixelNet):
    """The network; `norm_slots` and `dropout_slots` are where techniques put their layers."""

    def __init__(self, family: CNN, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        channels, side = inputs.shape[0], min(inputs.shape[1:])
        self.front = PixelFront(channels)
        blocks = _blocks(family, channels, side, generator)
        channels = blocks[-1].convolution.out_channels
        self.body = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = linear(channels, num_outputs, generator)
        self.norm_slots = [(b, "norm", b.convolution.out_channels) for b in blocks]
        self.dropout_slots = [(b, "dropout", b.convolution.out_channels) for b in blocks[1:]]

    def chain(self) -> list[nn.Module]:
        """Return the modules in the order of their calls."""
        made: list[nn.Module] = [self.front]
        for part in self.body.children():
            if isinstance(part, ConvBlock):
                made += [part.convolution, part.norm, part.pool, part.activation, part.dropout]
            else:
                made.append(part)
        return [*made, self.head]


def _blocks(family: CNN, channels: int, side: int, generator: torch.Generator) -> list[ConvBlock]:
    """Return the blocks from the pixels to the last stage."""
    blocks: list[ConvBlock] = []
    width, stride = family.width, 2 if side > LARGE else 1
    side //= stride
    while True:
        halves, count = side // 2 >= LAST_SIDE, family.depth if blocks else 1
        for i in range(count):
            step = 1 if blocks else stride
            last = i == count - 1
            blocks.append(ConvBlock(channels, width, family.activation, halves and last, step, generator))
            channels = width
        if not halves:
            return blocks
        side //= 2
        width = min(2 * width, 8 * family.width)
