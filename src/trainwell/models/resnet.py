"""Residual networks, with a stem for small images or for photographs."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainwell.models.family import Family
from trainwell.models.linear import linear
from trainwell.models.pixels import PixelFront, PixelNet, convolution
from trainwell.values.dose import choice
from trainwell.values.task import InputSpec

SMALL_SIDE = 64
"""Images up to this side get the stem for small images."""
STAGES = {
    "20": (16, (3, 3, 3)), "32": (16, (5, 5, 5)), "44": (16, (7, 7, 7)), "56": (16, (9, 9, 9)),
    "18": (64, (2, 2, 2, 2)), "34": (64, (3, 4, 6, 3)), "50": (64, (3, 4, 6, 3)),
}  # fmt: skip
"""Depth -> channels of the first stage, blocks per stage."""


@dataclasses.dataclass(frozen=True)
class ResNet(Family):
    """Blocks of two or three convolutions that add to what goes past them.

    Helps where a plain CNN has too little capacity; the standard to compare with.
    Harms short budgets on a CPU: one pass costs many times that of `cnn`.
    Args:    depth: layers with weights; 20 to 56 are the narrow ones for CIFAR, 18 to 50 those for ImageNet.
             stem: `small` keeps the size, `large` quarters it; `auto` chooses by the size of the images.
    Source:  He et al. 2016, arXiv:1512.03385, sections 3.4 and 4.2; names of parameters as in torchvision.
    """

    name: ClassVar[str] = "resnet"
    takes: ClassVar[tuple[str, ...]] = ("image", "audio")

    depth: str = choice("20", *STAGES)
    stem: str = choice("auto", "auto", "small", "large")

    def build(self, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> nn.Module:
        small = self.stem == "small" or (self.stem == "auto" and min(inputs.shape[1:]) <= SMALL_SIDE)
        return ResNetNet(self.depth, small, inputs.shape[0], num_outputs, generator)


class BasicBlock(nn.Module):
    """Two convolutions of 3 x 3."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, generator: torch.Generator) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, width, 3, generator, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3, generator)
        self.bn2 = nn.BatchNorm2d(width)
        self.branch = nn.Identity()
        self.downsample = _past(inputs, width, stride, generator)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.bn1(self.conv1(x)))
        inner = self.branch(self.bn2(self.conv2(inner)))
        return F.relu(inner + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """Convolutions of 1 x 1, 3 x 3 (with the stride) and 1 x 1."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, generator: torch.Generator) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, width, 1, generator)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3, generator, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = convolution(width, 4 * width, 1, generator)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.branch = nn.Identity()
        self.downsample = _past(inputs, 4 * width, stride, generator)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.bn1(self.conv1(x)))
        inner = F.relu(self.bn2(self.conv2(inner)))
        inner = self.branch(self.bn3(self.conv3(inner)))
        return F.relu(inner + (x if self.downsample is None else self.downsample(x)))


def _past(inputs: int, outputs: int, stride: int, generator: torch.Generator) -> nn.Module | None:
    """Return what goes past a block: nothing, or a convolution where the shape changes."""
    if inputs == outputs and stride == 1:
        return None
    return nn.Sequential(convolution(inputs, outputs, 1, generator, stride), nn.BatchNorm2d(outputs))


class ResNetBody(nn.Module):
    """All but the last layer. Shapes: (B, C, H, W) -> (B, out_features)."""

    def __init__(self, depth: str, small: bool, channels: int, generator: torch.Generator) -> None:
        super().__init__()
        width, blocks = STAGES[depth]
        kind: type[BasicBlock | Bottleneck] = Bottleneck if depth == "50" else BasicBlock
        self.conv1 = convolution(channels, width, 3 if small else 7, generator, 1 if small else 2)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        self.stages = nn.ModuleList()
        inputs = width
        for stage, count in enumerate(blocks):
            made = []
            for i in range(count):
                made.append(kind(inputs, width << stage, 2 if stage and i == 0 else 1, generator))
                inputs = (width << stage) * kind.expansion
            self.stages.append(nn.Sequential(*made))
        self.out_features = inputs

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        for stage in self.stages:
            x = stage(x)
        return x.mean((2, 3))


class ResNetNet(PixelNet):
    """The network; `branch_slots` are where stochastic depth stands, from the first block to the last."""

    def __init__(
        self, depth: str, small: bool, channels: int, num_outputs: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.front = PixelFront(channels)
        body = ResNetBody(depth, small, channels, generator)
        self.body = body
        self.head = linear(body.out_features, num_outputs, generator)
        self.branch_slots = [(m, "branch") for m in body.modules() if isinstance(m, BasicBlock | Bottleneck)]
