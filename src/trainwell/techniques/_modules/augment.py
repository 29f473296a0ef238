"""Operations on images of 0 to 255, one per image, each with a strength from -1 to 1."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

TURN_DEGREES, SHEAR, MOVE = 135.0, 0.99, 0.33
"""Widest turn, shear and shift (share of the side). Source: arXiv:2103.10158, table 7, "wide"."""

Operation = Callable[[Tensor, Tensor], Tensor]


def apply_one(images: Tensor, chosen: Tensor, which: Tensor, strength: Tensor) -> Tensor:
    """Apply one operation to each chosen image, (N, C, H, W).

    Args:
        chosen: (N,) bool. which: (N,) in [0, 1), decides the operation. strength: (N,) in [0, 1], 0.5 is none.
    """
    result = images.float().clone()
    index = (which * len(OPERATIONS)).long()
    signed = 2 * strength - 1
    for i, operation in enumerate(OPERATIONS):
        rows = ((index == i) & chosen).nonzero()[:, 0]
        if len(rows):
            result[rows] = operation(result[rows], signed[rows]).clamp(0, 255)
    return result


def _warp(images: Tensor, matrices: Tensor) -> Tensor:
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _matrices(images: Tensor) -> Tensor:
    return torch.eye(2, 3, device=images.device).repeat(len(images), 1, 1)


def _turn(x: Tensor, s: Tensor) -> Tensor:
    angle, m = s * math.radians(TURN_DEGREES), _matrices(x)
    ratio = x.shape[2] / x.shape[3]
    m[:, 0, 0] = m[:, 1, 1] = angle.cos()
    m[:, 0, 1], m[:, 1, 0] = angle.sin() * ratio, -angle.sin() / ratio
    return _warp(x, m)


def _entry(row: int, column: int, widest: float) -> Operation:
    def operation(x: Tensor, s: Tensor) -> Tensor:
        m = _matrices(x)
        m[:, row, column] = s * widest
        return _warp(x, m)

    return operation


def _mixed(base: Callable[[Tensor], Tensor]) -> Operation:
    """Return an operation that moves between the image and a plainer form of it, and beyond."""

    def operation(x: Tensor, s: Tensor) -> Tensor:
        return torch.lerp(base(x), x, (1 + 0.99 * s).view(-1, 1, 1, 1))

    return operation


def _blurred(x: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)


def _posterize(x: Tensor, s: Tensor) -> Tensor:
    step = 2 ** (6 * s.abs()).floor().view(-1, 1, 1, 1)
    return (x / step).floor() * step


def _solarize(x: Tensor, s: Tensor) -> Tensor:
    return torch.where(x >= 256 * (1 - s.abs()).view(-1, 1, 1, 1), 255 - x, x)


def _stretch(x: Tensor, s: Tensor) -> Tensor:
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    return torch.where(high > low, (x - low) * 255 / (high - low).clamp_min(1e-6), x)


OPERATIONS: tuple[Operation, ...] = (
    lambda x, s: x,
    _turn,
    _entry(0, 1, SHEAR),
    _entry(1, 0, SHEAR),
    _entry(0, 2, 2 * MOVE),
    _entry(1, 2, 2 * MOVE),
    _mixed(torch.zeros_like),  # brightness
    _mixed(lambda x: x.mean((1, 2, 3), keepdim=True).expand_as(x)),  # contrast
    _mixed(lambda x: x.mean(1, keepdim=True).expand_as(x)),  # colour
    _mixed(_blurred),  # sharpness
    _posterize,
    _solarize,
    _stretch,
)
