"""The links of a chain that see small images where there is a C compiler: (K, channels * height * width, B).

Convolutions 3 by 3, with the ReLU and the pooling behind them, are compiled (planes.c); one network follows the other,
so that its activations stay in the cache. The layout is that of the linear links, which need no other then.
"""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainwell.engine.lanes import links, native
from trainwell.engine.lanes.links import Link, Pass
from trainwell.models.layers import Dropout
from trainwell.models.pixels import PixelFront

LARGEST = 1 << 14
"""Channels in times channels out up to which a convolution is compiled here; the libraries of torch do larger ones."""

Shape = tuple[int, int, int]
"""Channels, height and width."""

OTHERS = (nn.Identity, nn.BatchNorm2d, Dropout)
"""Modules that leave the shape of images as it is, beside activations."""


def shapes_of(
    chain: Sequence[nn.Module], shape: Sequence[int], activations: tuple[type, ...]
) -> list[Shape] | None:
    """Return the shape of the images before each module up to the one that flattens; None where one is not done here.

    A bias before a batch norm is not: its gradient is nothing but rounding, which has to be that of a lone run.
    """
    found, now = list[Shape](), (shape[0], shape[1], shape[2])
    for module, after in zip(chain, [*chain[1:], None], strict=True):
        found.append(now)
        if isinstance(module, nn.Flatten):
            return found if any(isinstance(m, nn.Conv2d) for m in chain) else None
        if isinstance(module, nn.Conv2d):
            if not _is_done(module) or (module.bias is not None and isinstance(after, nn.BatchNorm2d)):
                return None
            by = 2 * _padding(module) - 2
            now = module.out_channels, now[1] + by, now[2] + by
        elif isinstance(module, nn.MaxPool2d):
            if not _is_halving(module):
                return None
            now = now[0], now[1] // 2, now[2] // 2
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            now = now[0], 1, 1
        elif not isinstance(module, (PixelFront, *OTHERS, *activations)):
            return None
        if min(now) < 1:
            return None
    return None


def _is_done(module: nn.Conv2d) -> bool:
    same = (module.kernel_size, module.stride, module.dilation, module.groups) == ((3, 3), (1, 1), (1, 1), 1)
    padding: Any = module.padding
    return same and padding[0] == padding[1] and module.in_channels * module.out_channels <= LARGEST


def _padding(module: nn.Conv2d) -> int:
    padding: Any = module.padding
    return int(padding[0])


def _is_halving(module: nn.MaxPool2d) -> bool:
    sizes = module.kernel_size, module.stride, module.padding, module.dilation
    pairs = [size if isinstance(size, tuple) else (size, size) for size in sizes]
    return pairs == [(2, 2), (2, 2), (0, 0), (1, 1)] and not module.ceil_mode


class Pixels:
    """Lays images out for the links of this file, standardised per channel where there is a mean. Learns nothing.

    Args:
        mean, scale: (K, C, 1, 1), as of `models.pixels.PixelFront`, or None.
    """

    def __init__(self, dtype: torch.dtype, mean: Tensor | None = None, scale: Tensor | None = None) -> None:
        self._dtype, self._mean, self._scale = dtype, mean, scale

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        """Shapes: (K, B, C, H, W) -> (K, C * H * W, B)."""
        out = h.flatten(2).mT.to(self._dtype).contiguous()
        if self._mean is None or self._scale is None:
            return out
        own = out.view(*h.shape[:1], h.shape[2], -1, h.shape[1])
        return own.sub(self._mean).mul_(self._scale).view(out.shape)

    def backward(self, g: Tensor, now: Pass) -> None:
        return None


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A convolution that `joined` puts into a link.

    Args:
        weight: (K, out, in, 3, 3). bias: (K, out) or None. grads: where their gradients lie, or None.
        shape: of the images it sees. needs_input: whether the gradient of the input is asked for.
    """

    weight: Tensor
    bias: Tensor | None
    grads: tuple[Tensor | None, Tensor | None]
    shape: Shape
    padding: int
    needs_input: bool


class MaxPool:
    """The largest of every two by two.

    Args:
        shape: of the images it sees.
    """

    def __init__(self, library: Any, shape: Shape) -> None:
        self._library, self._shape = library, shape
        self._out, self._back, self._which = links.Space(), links.Space(), links.Space()

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        (channels, height, width), rows, h = self._shape, h.shape[-1], h.contiguous()
        out = self._out.like(h, channels * (height // 2) * (width // 2), rows)
        self._numbers = self._which.like(torch.empty(len(h), dtype=torch.uint8), out.shape[1], rows)
        self._library.pool_forward(
            len(h) * channels, height, width, rows, h.data_ptr(), out.data_ptr(), self._numbers.data_ptr()
        )
        return out

    def backward(self, g: Tensor, now: Pass) -> Tensor:
        (channels, height, width), rows, g = self._shape, g.shape[-1], g.contiguous()
        back = self._back.like(g, channels * height * width, rows)
        self._library.pool_backward(
            len(g) * channels, height, width, rows, g.data_ptr(), self._numbers.data_ptr(), back.data_ptr()
        )
        return back


class MeanPool:
    """The mean of every channel, (K, channels, B)."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        return h.reshape(len(h), self._shape[0], -1, h.shape[-1]).mean(2)

    def backward(self, g: Tensor, now: Pass) -> Tensor:
        channels, height, width = self._shape
        wide = (g / (height * width)).unsqueeze(2).expand(len(g), channels, height * width, -1)
        return wide.reshape(len(g), channels * height * width, -1)


class BatchNorm(links.BatchNorm):
    """The batch norm of every channel of every lane.

    Args:
        channels: of the images. The others as of `links.BatchNorm`.
    """

    def __init__(self, channels: int, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._channels = channels

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        return super().forward(h.reshape(len(h), self._channels, -1), now).view(h.shape)

    def backward(self, g: Tensor, now: Pass) -> Tensor:
        return super().backward(g.reshape(len(g), self._channels, -1), now).view(g.shape)


class Plane(ctypes.Structure):
    """One convolution with what follows it, as planes.c reads it."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("weight", "bias")),
        *((name, ctypes.c_long) for name in ("weight_stride", "bias_stride")),
        *((name, ctypes.c_void_p) for name in ("weight_grad", "bias_grad")),
        *((name, ctypes.c_long) for name in ("weight_grad_stride", "bias_grad_stride")),
        *((name, ctypes.c_long) for name in ("out", "inputs", "height", "width", "padding", "relu", "pool")),
        *((name, ctypes.c_void_p) for name in ("spectrum", "which", "y")),
    )


@dataclasses.dataclass(frozen=True)
class Unit:
    """A convolution, and whether a ReLU follows it, and then a pooling."""

    convolution: Convolution
    relu: bool = False
    pool: bool = False

    @property
    def outputs(self) -> int:
        _, height, width = self.convolution.shape
        by = 2 * self.convolution.padding - 2
        halves = 2 if self.pool else 1
        return self.convolution.weight.shape[1] * ((height + by) // halves) * ((width + by) // halves)


class _Bound:
    """The convolutions for batches of one size, and where their activations lie."""

    def __init__(self, library: Any, units: Sequence[Unit], rows: int, *, training: bool) -> None:
        lanes, new = len(units[0].convolution.weight), units[0].convolution.weight.new_empty
        inputs = [
            u.convolution.weight.shape[2] * u.convolution.shape[1] * u.convolution.shape[2] for u in units
        ]
        self.largest = rows * max(*inputs, *(u.outputs for u in units))
        self._kept = list[Tensor | None]()
        self.out = new(lanes, units[-1].outputs, rows)
        self.planes = (Plane * len(units))(
            *(
                self._plane(u, lanes if training else 1, rows, self.out if u is units[-1] else None)
                for u in units
            )
        )
        self.address = ctypes.addressof(self.planes)
        most = max(library.planes_space(ctypes.addressof(plane)) for plane in self.planes)
        self.space = new(3 * self.largest + most)

    def _plane(self, unit: Unit, lanes: int, rows: int, out: Tensor | None) -> Plane:
        own = unit.convolution
        (weight, bias), new = (own.weight, own.bias), own.weight.new_empty
        tensors = weight, bias, *own.grads
        (w, b, gw, gb), strides = map(address, tensors), [0 if t is None else t.stride(0) for t in tensors]
        kept = lanes == len(weight)  # else one lane at a time is enough: nothing goes back
        spectrum = new(lanes, 16 * weight.shape[1] * weight.shape[2])
        y = out if out is not None else new(lanes, unit.outputs, rows) if kept else None
        which = new(lanes, unit.outputs, rows, dtype=torch.uint8) if unit.pool and kept else None
        self._kept += [spectrum, y, which]
        return Plane(
            w, b, *strides[:2], gw, gb, *strides[2:], *weight.shape[1:3], *own.shape[1:], own.padding,
            int(unit.relu), int(unit.pool), *map(address, (spectrum, which, y)),
        )  # fmt: skip


class Planes:
    """Convolutions of K lanes, one behind the other, each with the ReLU and the pooling behind it."""

    def __init__(self, library: Any, units: Sequence[Unit]) -> None:
        self._library, self._units = library, list(units)
        self._known, self._back = dict[tuple[int, bool], _Bound](), links.Space()

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        lanes, rows = len(h), h.shape[-1]
        key = rows, now.training
        if key not in self._known:
            self._known[key] = _Bound(self._library, self._units, rows, training=now.training)
        bound = self._now = self._known[key]
        self._h = h.contiguous()
        self._library.planes_forward(
            bound.address, len(self._units), lanes, rows, self._h.data_ptr(), self._h.stride(0), now.training,
            bound.space.data_ptr(), bound.largest,
        )  # fmt: skip
        return bound.out

    def backward(self, g: Tensor, now: Pass) -> Tensor | None:
        g, bound, back = g.contiguous(), self._now, None
        if self._units[0].convolution.needs_input:
            back = self._back.like(g, self._h.shape[1], g.shape[-1])
        self._library.planes_backward(
            bound.address, len(self._units), len(g), g.shape[-1], self._h.data_ptr(), self._h.stride(0),
            g.data_ptr(), address(back), now.adds, bound.space.data_ptr(), bound.largest,
        )  # fmt: skip
        return back


def joined(library: Any, made: Sequence[Link | Convolution]) -> list[Link]:
    """Put convolutions that follow each other into one link, with the ReLU and the pooling behind each."""
    found, units, at = list[Link](), list[Unit](), 0
    while at < len(made):
        link = made[at]
        if not isinstance(link, Convolution):
            found.append(link)
            at += 1
            continue
        units = []
        while at < len(made) and isinstance(own := made[at], Convolution):
            after = [type(link) for link in made[at + 1 : at + 3]]  # in whichever order, the same comes out
            pair = set(after) == {links.ReLU, MaxPool}
            relu, pool = (pair or after[:1] == [kind] for kind in (links.ReLU, MaxPool))
            units.append(Unit(own, relu, pool))
            at += 1 + relu + pool
        found.append(Planes(library, units))
    return found


def address(tensor: Tensor | None) -> int | None:
    """Return where a tensor lies."""
    return None if tensor is None else tensor.data_ptr()


class Maker:
    """Makes the links of the modules of a chain that see images.

    Args:
        shapes: of the images before each module of the chain, see `shapes_of`.
    """

    def __init__(self, library: Any, shapes: Sequence[Shape]) -> None:
        self.library, self._shapes = library, list(shapes)

    def link(self, at: int, module: nn.Module, own: Any, of_norm: Callable[..., Any], *, first: bool) -> Any:
        """Return the link of the module at this place; None for those that are the same in every layout."""
        shape = self._shapes[at]
        if isinstance(module, PixelFront):
            mean = own.buffer("mean")
            return Pixels(mean.dtype, mean, own.buffer("scale"))
        if isinstance(module, nn.Conv2d):
            weight = own.given("weight")
            return Convolution(
                weight, own.weight("bias"), own.both(), shape, _padding(module), needs_input=not first
            )
        if isinstance(module, nn.MaxPool2d):
            return MaxPool(self.library, shape)
        if isinstance(module, nn.AdaptiveAvgPool2d):
            return MeanPool(shape)
        return BatchNorm(shape[0], *of_norm(module, own)) if isinstance(module, nn.BatchNorm2d) else None


def maker_of(
    chain: Sequence[nn.Module], shape: Sequence[int] | None, like: Tensor, activations: tuple[type, ...]
) -> Maker | str:
    """Return what makes links of this layout; else why there is no compiler, empty if the chain needs another layout.

    Args:
        shape: of the images; None where it is not known. like: a weight.
    """
    if shape is None or len(shape) != 3 or not native.is_wanted(like):
        return ""
    shapes = shapes_of(chain, shape, activations)
    if shapes is None:
        return ""
    library = native.load(like.dtype)
    return library if isinstance(library, str) else Maker(library, shapes)


LINKS = (Pixels, MaxPool, MeanPool, BatchNorm, Planes)
"""The links of this file."""
