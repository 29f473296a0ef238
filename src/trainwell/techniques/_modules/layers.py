"""Finds layers in a module: which carry weights, which are activations, and what follows what."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn.utils import parametrize

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
WEIGHTED = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)
ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Tanh, nn.Sigmoid, nn.LogSigmoid, nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish,
    nn.Hardshrink, nn.Softshrink, nn.Tanhshrink, nn.Threshold,
)  # fmt: skip


def leaves(module: nn.Module, *, own_init: bool = True) -> Iterator[nn.Module]:
    """Yield the modules without children, in order; without `own_init`, not those that are marked so."""
    if not own_init and getattr(module, "own_init", False):
        return
    children = list(module) if isinstance(module, nn.Sequential) else list(module.children())
    if not children:
        yield module
    for child in children:
        yield from leaves(child, own_init=own_init)


def ends(module: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Return the first and the last module of a nest of `nn.Sequential`."""
    first = last = module
    while isinstance(first, nn.Sequential) and len(first):
        first = first[0]
    while isinstance(last, nn.Sequential) and len(last):
        last = last[-1]
    return first, last


def is_weighted(module: nn.Module) -> bool:
    """Whether it is a linear or convolutional layer whose weight is a plain parameter."""
    return isinstance(module, WEIGHTED) and not parametrize.is_parametrized(module)


def is_activation(module: nn.Module) -> bool:
    """Whether it is an activation of torch, or a module that says so by `is_activation = True`."""
    return isinstance(module, ACTIVATIONS) or getattr(module, "is_activation", False) is True


def activation_after(order: list[nn.Module], index: int) -> nn.Module | None:
    """Return the first activation after `order[index]` and before the next layer with weights, or None."""
    for later in order[index + 1 :]:
        if isinstance(later, WEIGHTED):
            return None
        if is_activation(later):
            return later
    return None
