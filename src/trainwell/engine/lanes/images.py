"""The links of a chain that see images: (K, B, C, H, W), channels last in memory.

A convolution is called lane by lane: its kernel is as fast as a product of that size, and copying windows for batched
products costs more than the calls (docs/log-lanes.md). What is won lies in the first convolution, if its images have one
channel, in the passes around them, and in a stack of one or few lanes, whose activations stay in the cache.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainwell.engine.lanes.links import Pass, Space, put

_native = torch.ops.aten
_none = [0, 0]


def channels_last(x: Tensor) -> Tensor:
    """Return images of all lanes with their channels last in memory."""
    return x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, x.shape[:2])


class Pixels:
    """Standardises pixels per channel, as `models.pixels.PixelFront` does. Learns nothing.

    Args:
        mean, scale: (K, C, 1, 1).
    """

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        self._mean, self._scale = mean.unsqueeze(1), scale.unsqueeze(1)

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        return channels_last(h.to(self._mean.dtype)).sub(self._mean).mul_(self._scale)

    def backward(self, g: Tensor, now: Pass) -> None:
        return None


class Convolution:
    """A convolution of the plane.

    Args:
        module: whose stride, padding and groups are taken. weight: (K, out, in, h, w). bias: (K, out) or None.
        grads: where their gradients lie; None where they are not trained.
        needs_input: whether the gradient of the input is asked for. compute: dtype of the products.
    """

    def __init__(
        self, module: nn.Conv2d, weight: Tensor, bias: Tensor | None, grads: tuple[Tensor | None, Tensor | None], *,
        needs_input: bool, compute: torch.dtype,
    ) -> None:  # fmt: skip
        self._module: Any = module
        self._weight, self._bias, self._grads, self._compute = weight, bias, grads, compute
        self._asks = [needs_input, grads[0] is not None, grads[1] is not None]

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        module, biases = self._module, None if self._bias is None else self._bias.to(self._compute)
        self._h, self._used = h, self._weight.to(self._compute)
        made = [
            F.conv2d(
                h[k], self._used[k], None if biases is None else biases[k], module.stride, module.padding,
                module.dilation, module.groups,
            )
            for k in range(len(h))
        ]  # fmt: skip
        return _together(made)

    def backward(self, g: Tensor, now: Pass) -> Tensor | None:
        module, found = self._module, []
        sizes = [module.out_channels] if self._bias is not None else None
        for k in range(len(g)):
            own = _native.convolution_backward(
                g[k], self._h[k], self._used[k], sizes, module.stride, module.padding, module.dilation, False, _none,
                module.groups, self._asks,
            )  # fmt: skip
            for grad, value in zip(self._grads, own[1:], strict=True):
                if grad is not None:
                    put(grad[k], value, now)
            found.append(own[0])
        return _together(found) if self._asks[0] else None


SMALL_WINDOW = 16
"""Values of a window up to which `FirstConvolution` is the faster: 38 us for 163 a network with 9 (8 x 8 pixels, batch
32, 16 lanes), but 1.8 ms for 1.5 with 27 (32 x 32 pixels in colour). Source: docs/log-lanes.md."""


def is_small(module: nn.Conv2d) -> bool:
    """Tell whether windows of a convolution hold few values."""
    return module.groups == 1 and module.weight[0].numel() <= SMALL_WINDOW


class FirstConvolution:
    """A convolution with small windows behind which nothing learns: the windows are copied, for products of all lanes.

    Args: as of `Convolution`.
    """

    def __init__(
        self, module: nn.Conv2d, weight: Tensor, bias: Tensor | None, grads: tuple[Tensor | None, Tensor | None], *,
        compute: torch.dtype,
    ) -> None:  # fmt: skip
        self._module: Any = module
        self._weight, self._bias, self._compute = weight.flatten(2), bias, compute
        self._grads = None if grads[0] is None else grads[0].flatten(2), grads[1]
        self._windows, self._out = Space(), Space()

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        module, lanes, rows = self._module, h.shape[0], h.shape[1]
        (down, right), (apart_y, apart_x) = module.stride, module.dilation
        (high, wide), (above, beside) = module.kernel_size, module.padding
        padded = F.pad(h.flatten(0, 1), (beside, beside, above, above))
        row, channel, y, x = padded.stride()
        height = (padded.shape[2] - apart_y * (high - 1) - 1) // down + 1
        width = (padded.shape[3] - apart_x * (wide - 1) - 1) // right + 1
        places = rows * height * width
        views = padded.as_strided(
            (lanes, h.shape[2], high, wide, rows, height, width),
            (rows * row, channel, apart_y * y, apart_x * x, row, down * y, right * x),
        )
        self._seen = self._windows.like(h, self._weight.shape[2], places)
        self._seen.view(views.shape).copy_(views)
        used = self._weight.to(self._compute).mT
        out = self._out.like(h, used.shape[2], places).view(lanes, places, -1)
        if self._bias is None:
            torch.bmm(self._seen.mT, used, out=out)
        else:
            torch.baddbmm(self._bias.to(self._compute).unsqueeze(1), self._seen.mT, used, out=out)
        return out.view(lanes, rows, height, width, -1).permute(0, 1, 4, 2, 3)

    def backward(self, g: Tensor, now: Pass) -> None:
        own = g.permute(0, 1, 3, 4, 2).reshape(len(g), self._seen.shape[2], -1)
        if (
            self._grads[0] is not None
        ):  # the small factor first: the other way round it takes eight times as long
            put(self._grads[0], torch.bmm(self._seen, own).mT, now)
        if self._grads[1] is not None:
            put(self._grads[1], own.sum(1), now)


class MaxPool:
    """The largest of every window."""

    def __init__(self, module: nn.MaxPool2d) -> None:
        stride = module.kernel_size if module.stride is None else module.stride
        sizes = module.kernel_size, stride, module.padding, module.dilation
        self._how = [*(_pair(size) for size in sizes), module.ceil_mode]

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        self._h = h
        out, self._which = _native.max_pool2d_with_indices(h.flatten(0, 1), *self._how)
        return out.unflatten(0, h.shape[:2])

    def backward(self, g: Tensor, now: Pass) -> Tensor:
        back = _native.max_pool2d_with_indices_backward(
            g.flatten(0, 1), self._h.flatten(0, 1), *self._how, self._which
        )
        return back.unflatten(0, g.shape[:2])


class MeanPool:
    """The mean of every channel, (K, B, C, 1, 1)."""

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        self._shape = h.shape
        return h.mean((3, 4), keepdim=True)

    def backward(self, g: Tensor, now: Pass) -> Tensor:
        size = self._shape[3] * self._shape[4]
        return channels_last((g / size).expand(self._shape))


class Flatten:
    """From images to the layout of the linear links, (K, C * H * W, B)."""

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        self._shape = h.shape
        return h.flatten(2).mT

    def backward(self, g: Tensor, now: Pass) -> Tensor:
        return channels_last(g.mT.reshape(self._shape))


class BatchNorm:
    """The batch norm of every lane, with its own statistics.

    Args:
        weight, bias: (K, C) or None. grads: where their gradients lie.
        mean, var, count: the running statistics, (K, C), and the batches seen, (K,). momentum: (K, 1), where it trains.
    """

    def __init__(
        self, weight: Tensor | None, bias: Tensor | None, grads: tuple[Tensor | None, Tensor | None],
        mean: Tensor, var: Tensor, count: Tensor, momentum: Tensor | None, eps: float,
    ) -> None:  # fmt: skip
        self._weight, self._bias, self._grads = weight, bias, grads
        self._mean, self._var, self._count, self._momentum, self._eps = mean, var, count, momentum, eps
        self._new_mean, self._new_var = torch.zeros_like(mean), torch.zeros_like(var)

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        self._x, self._seen, made = h, list[tuple[Tensor, Tensor]](), []
        training = now.training
        mean, var = (self._new_mean.zero_(), self._new_var.zero_()) if training else (self._mean, self._var)
        for k in range(len(h)):
            scale, shift = (None if t is None else t[k] for t in (self._weight, self._bias))
            out, *seen = torch.native_batch_norm(
                h[k], scale, shift, mean[k], var[k], training, 1.0 if training else 0.0, self._eps
            )
            made.append(out)
            self._seen.append((seen[0], seen[1]))
        if training:
            assert self._momentum is not None
            self._mean.lerp_(mean, self._momentum)
            self._var.lerp_(var, self._momentum)
            self._count.add_(1)
        return _together(made)

    def backward(self, g: Tensor, now: Pass) -> Tensor:
        affine, made = self._weight is not None, []
        for k in range(len(g)):
            back, *own = _native.native_batch_norm_backward(
                g[k], self._x[k], None if self._weight is None else self._weight[k], None, None, *self._seen[k], True,
                self._eps, [True, affine, affine],
            )  # fmt: skip
            for grad, value in zip(self._grads, own, strict=True):
                if grad is not None:
                    put(grad[k], value, now)
            made.append(back)
        return _together(made)


def group_norm(h: Tensor, groups: int, eps: float) -> Tensor:
    """Normalise groups of channels of every image, without scale and shift, in float32 at least."""
    exact = h.float() if h.dtype == torch.bfloat16 else h
    return F.group_norm(exact.flatten(0, 1), groups, eps=eps).unflatten(0, h.shape[:2])


def _together(made: list[Tensor]) -> Tensor:
    """Stack images (B, C, H, W) and keep their layout."""
    if len(made) == 1:
        return made[0].contiguous(memory_format=torch.channels_last).unsqueeze(0)
    like = made[0].permute(0, 2, 3, 1)
    out = like.new_empty(len(made), *like.shape).permute(0, 1, 4, 2, 3)
    for k, image in enumerate(made):
        out[k].copy_(image)
    return out


def _pair(size: Any) -> list[int]:
    return list(size) if isinstance(size, tuple | list) else [size, size]
