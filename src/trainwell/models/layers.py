"""Layers that draw from a named stream instead of torch's global one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEVELS = 2**16
"""Rates are rounded to multiples of 1 / LEVELS; the scale uses the rounded rate, so the mean is exact."""


class Dropout(nn.Module):
    """Set each activation to zero with probability `rate` while training, and scale the rest up.

    A mask costs 16 random bits per activation, which is a fifth of the time of `nn.Dropout` on a CPU.

    Args:
        rate: in [0, 1); in a stack of lanes a tensor that broadcasts against the activations, (K, 1, ...).
        generator: the stream of the masks, on the device of the activations; `None` is torch's global one.
    """

    threshold: Tensor | int
    scale: Tensor | float

    def __init__(self, rate: float | Tensor = 0.0, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.generator = generator
        self.set_rate(rate)

    @property
    def p(self) -> float | Tensor:
        """The rate, under the name that `nn.Dropout` has for it: code of others reads it there."""
        return self.rate

    def set_rate(self, rate: float | Tensor) -> None:
        """Replace the rate."""
        self.rate = rate
        if isinstance(rate, Tensor):
            dropped = (rate.double() * LEVELS).round()
            scale = (LEVELS / (LEVELS - dropped)).to(rate.dtype)
            self.register_buffer("threshold", (dropped - LEVELS // 2).short(), persistent=False)
            self.register_buffer("scale", scale, persistent=False)
        else:
            dropped_levels = round(rate * LEVELS)
            self.threshold, self.scale = dropped_levels - LEVELS // 2, LEVELS / (LEVELS - dropped_levels)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or (isinstance(self.rate, float | int) and self.rate == 0):
            return x
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
        words.random_(-(2**63), None, generator=self.generator)
        bits = words.view(torch.int16)[: x.numel()].view(x.shape)
        mask = torch.empty_like(x, memory_format=torch.contiguous_format, requires_grad=False)
        torch.ge(bits, self.threshold, out=mask)
        return x * mask.mul_(self.scale)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


class DropBranch(nn.Module):
    """Set whole rows of a residual branch to zero with probability `rate` while training, and scale the rest up.

    Source: Huang et al. 2016, arXiv:1603.09382.
    """

    def __init__(self, rate: float, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.rate, self.generator = rate, generator

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        drawn = torch.rand(len(x), generator=self.generator, device=x.device, dtype=x.dtype)
        kept = (drawn >= self.rate).to(x.dtype).div_(1 - self.rate)
        return x * kept.view(-1, *(1,) * (x.ndim - 1))

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


def adopt_dropout(model: nn.Module, generator: torch.Generator) -> None:
    """Put our layer in place of every `nn.Dropout`, and let all draw from the stream.

    A module that draws from torch's global stream could not be resumed, nor trained beside others.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Dropout and child.p < 1:
                parent.add_module(name, Dropout(child.p, generator))
    for module in model.modules():
        if hasattr(module, "generator"):
            setattr(module, "generator", generator)  # noqa: B010
