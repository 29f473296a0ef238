"""The mutable parts that techniques see inside a step: the batch, and the plan of the hardware."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor


class Batch:
    """One (micro-)batch; techniques of the site `batch` edit it in place.

    Attributes:
        x: inputs, a tuple of tensors (*lanes, B, ...).
        y: targets, (*lanes, B) class indices or (*lanes, B, 1) standardised numbers.
        mixed_y, mix: partner targets and the share of `y` in the mixture, (*lanes, 1); `None` when nothing is mixed.
    """

    __slots__ = ("mix", "mixed_y", "x", "y")

    def __init__(self, x: tuple[Tensor, ...], y: Tensor) -> None:
        self.x, self.y = x, y
        self.mixed_y: Tensor | None = None
        self.mix: Tensor | float | None = None


@dataclasses.dataclass
class HardwarePlan:
    """What the hardware is asked to do; techniques of the site `hardware` edit it before the first step."""

    device: torch.device
    autocast: torch.dtype | None = None
    compile_mode: str | None = None
    micro_batches: int = 1


@dataclasses.dataclass(frozen=True)
class Build:
    """What a technique of the site `model` may use.

    Args:
        generator: the stream of the technique's own random numbers.
        sample: a batch of training inputs (tuple of tensors, up to 1,024 rows) for data-driven initialization.
        dropout: the stream that dropout modules draw their masks from.
        more: gives so many training inputs, where there are as many; None where only the sample is known.
    """

    generator: torch.Generator
    sample: tuple[Tensor, ...]
    dropout: torch.Generator
    more: Callable[[int], tuple[Tensor, ...]] | None = None
