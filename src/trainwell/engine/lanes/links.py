"""The links of a chain for K networks at once, each with its forward and its backward pass, without autograd.

Activations and their gradients are (K, features, B). What the weights get is written where the flat gradients lie.
A link may overwrite the gradient that it is given; `backward` returns None where nothing before it needs one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from trainwell.engine.lanes import native
from trainwell.engine.lanes.bits import BITS_PER_WORD, DropoutBits

_native = torch.ops.aten


LARGE = 1 << 15
"""Numbers of a weight from which on a call for each lane costs less than a copy of its gradient (docs/log-lanes.md)."""


class Pass:
    """What the links of one forward pass share, beside the activations.

    Attributes:
        adds: whether gradients are added to those that are there, as in the later micro-batches of a step.
        bits: of the dropout layers, (K, n) int16, from `taken` on; None where nothing is dropped.
    """

    def __init__(self, bits: DropoutBits | None, rows: int, *, training: bool, adds: bool = False) -> None:
        self.training, self.adds, self.rows = training, adds, rows
        self.dropout = bits if training else None
        self.bits = bits.take() if training and bits is not None else None
        self.taken = 0


class Link(Protocol):
    """One module of a chain, bound to the weights of K lanes."""

    def forward(self, h: Tensor, now: Pass) -> Tensor: ...

    def backward(self, g: Tensor, now: Pass) -> Tensor | None: ...


class Space:
    """Buffers that a link writes into, one for each number of rows, made when first needed."""

    def __init__(self) -> None:
        self._buffers: dict[int, Tensor] = {}

    def like(self, source: Tensor, features: int, rows: int) -> Tensor:
        """Return a buffer (K, features, rows) of the dtype of `source`."""
        found = self._buffers.get(rows)
        if found is None:
            found = self._buffers[rows] = source.new_empty(source.shape[0], features, rows)
        return found


class Linear:
    """A linear layer.

    Args:
        weight: (K, out, in). bias: (K, out) or None.
        grads: where their gradients lie, in the same shapes; None where they are not trained.
        needs_input: whether the gradient of the input is asked for.
        compute: dtype of the products; gradients are rounded to it before they reach the weights, as autocast does.
    """

    _gain = 1.0  # of the product, before the bias

    def __init__(
        self, weight: Tensor, bias: Tensor | None, grads: tuple[Tensor | None, Tensor | None], *,
        needs_input: bool, compute: torch.dtype,
    ) -> None:  # fmt: skip
        self.is_rounded = self._low = compute != weight.dtype
        self.weight, self.bias, self.grads, self.needs_input = weight, bias, grads, needs_input
        self._weight = torch.empty_like(weight, dtype=compute, memory_format=torch.contiguous_format)
        self._bias = None if bias is None else bias.unsqueeze(-1)
        if self._low:
            self._bias = None if bias is None else torch.empty_like(bias, dtype=compute).unsqueeze(-1)
        else:
            self._weight = weight
        self._transposed = self._weight.mT
        self._grad, self._bias_grad = grads
        self._scratch: Tensor | None = None
        self._by_lane = False
        if self._grad is not None:
            in_one_piece = self._grad.is_contiguous() and not self._low  # else `bmm` would go lane by lane
            self._by_lane = not in_one_piece and not self._low and weight[0].numel() >= LARGE
            scratch = None if self._by_lane else self._weight.new_empty(weight.shape)
            self._scratch = self._grad if in_one_piece else scratch
        self._out, self._back = Space(), Space()

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        if self._low:
            self._weight.copy_(self.weight)
            if self._bias is not None:
                self._bias.squeeze(-1).copy_(self.bias)  # type: ignore[arg-type]
        self._h = h
        out = self._out.like(self._weight, self._weight.shape[1], h.shape[-1])
        if self._bias is None:
            return torch.bmm(self._weight, h, out=out)
        return torch.baddbmm(self._bias, self._weight, h, alpha=self._gain, out=out)

    def backward(self, g: Tensor, now: Pass) -> Tensor | None:
        if self._by_lane:
            _products(self._grad, g, self._h.mT, now)
        elif self._scratch is not None:
            if now.adds and self._scratch is self._grad:
                self._scratch.baddbmm_(g, self._h.mT)
            else:
                torch.bmm(g, self._h.mT, out=self._scratch)
            if self._scratch is not self._grad:
                put(self._grad, self._scratch, now)
        if self._bias_grad is not None:
            put_sum(self._bias_grad, g, now)
        if not self.needs_input:
            return None
        return torch.bmm(
            self._transposed, g, out=self._back.like(self._weight, self._weight.shape[2], g.shape[-1])
        )


def _products(grad: Any, left: Tensor, right: Tensor, now: Pass) -> None:
    """Write products where gradients lie, lane by lane."""
    for k in range(len(left)):
        if now.adds:
            grad[k].addmm_(left[k], right[k])
        else:
            torch.mm(left[k], right[k], out=grad[k])


def put(grad: Tensor | None, value: Tensor, now: Pass) -> None:
    """Write a gradient where it belongs, or add it to what is there."""
    if grad is not None:
        grad.add_(value) if now.adds else grad.copy_(value)


def put_sum(grad: Tensor, g: Tensor, now: Pass) -> None:
    """Write the sum over the rows. Shapes: g (K, out, B) -> grad (K, out)."""
    if now.adds or g.dtype != grad.dtype:
        put(grad, g.sum(-1), now)
    else:
        torch.sum(g, -1, out=grad)  # a product with ones is faster, but rounds otherwise than a lone run does


class ReLU:
    """max(h, 0).

    Args:
        in_place: whether the activations may be overwritten: nothing else needs them.
    """

    def __init__(self, *, in_place: bool) -> None:
        self._call = torch.relu_ if in_place else torch.relu

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        self._y = self._call(h)
        return self._y

    def backward(self, g: Tensor, now: Pass) -> Tensor:
        out: Tensor = _native.threshold_backward.grad_input(g, self._y, 0, grad_input=g)
        return out


class Elementwise:
    """An activation whose derivative torch has as an operation of its own.

    Args:
        call: (h) -> y. derive: (g, h, y) -> gradient of h.
    """

    def __init__(self, call: Callable[[Tensor], Tensor], derive: Callable[..., Tensor]) -> None:
        self._call, self._derive = call, derive

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        self._h, self._y = h, self._call(h)
        return self._y

    def backward(self, g: Tensor, now: Pass) -> Tensor:
        return self._derive(g, self._h, self._y)


SELU = 1.6732632423543772, 1.0507009873554805
"""Alpha and scale of the SELU, arXiv:1706.02515."""

DERIVATIVES: dict[str, Callable[..., Callable[..., Tensor]]] = {
    "Tanh": lambda module: lambda g, h, y: _native.tanh_backward(g, y),
    "Sigmoid": lambda module: lambda g, h, y: _native.sigmoid_backward(g, y),
    "SiLU": lambda module: lambda g, h, y: _native.silu_backward(g, h),
    "GELU": lambda module: lambda g, h, y: _native.gelu_backward(g, h, approximate=module.approximate),
    "ReLU": lambda module: lambda g, h, y: _native.threshold_backward(g, y, 0),
    "SELU": lambda module: lambda g, h, y: _native.elu_backward(g, *SELU, 1.0, False, h),
    "Mish": lambda module: lambda g, h, y: _native.mish_backward(g, h),
}
"""By class of torch.nn what makes the derivative from the module; the other activations go through autograd."""


class ByAutograd:
    """Any other function of the activations, differentiated by autograd.

    Args:
        call: (h, *weights) -> y, lane by lane. weights: (K, ...) each. grads: where their gradients lie, or None.
    """

    def __init__(
        self, call: Callable[..., Tensor], weights: Sequence[Tensor], grads: Sequence[Tensor | None]
    ) -> None:
        self._call, self._weights, self._grads = call, tuple(weights), tuple(grads)

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        if not now.training:
            return self._call(h, *self._weights)
        with torch.enable_grad():
            self._leaves = [t.detach().requires_grad_() for t in (h, *self._weights)]
            self._y = self._call(*self._leaves)
        return self._y.detach()

    def backward(self, g: Tensor, now: Pass) -> Tensor:
        found = torch.autograd.grad(self._y, self._leaves, g)
        for grad, value in zip(self._grads, found[1:], strict=True):
            put(grad, value, now)
        return found[0]


class BatchNorm:
    """The batch norms of all lanes as one over K * features channels, each with its own statistics.

    Args:
        weight, bias: (K, features) or None. grads: where their gradients lie.
        mean, var, count: the running statistics, (K, features), and the batches seen, (K,).
        momentum: (K, 1), where it trains.
    """

    def __init__(
        self, weight: Tensor | None, bias: Tensor | None, grads: tuple[Tensor | None, Tensor | None],
        mean: Tensor, var: Tensor, count: Tensor, momentum: Tensor | None, eps: float,
    ) -> None:  # fmt: skip
        self._weight, self._bias, self._grads = weight, bias, grads
        self._mean, self._var, self._count, self._momentum, self._eps = mean, var, count, momentum, eps
        self._new_mean, self._new_var = torch.zeros_like(mean).view(-1), torch.zeros_like(var).view(-1)

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        self._x = h.reshape(1, -1, h.shape[-1])
        self._scale = None if self._weight is None else self._weight.reshape(-1)
        shift = None if self._bias is None else self._bias.reshape(-1)
        if not now.training:
            mean, var = self._mean.reshape(-1), self._var.reshape(-1)
            out = torch.native_batch_norm(self._x, self._scale, shift, mean, var, False, 0.0, self._eps)[0]
            return out.view(h.shape)
        assert self._momentum is not None
        new_mean, new_var = self._new_mean.zero_(), self._new_var.zero_()
        out, self._batch_mean, self._inverse = torch.native_batch_norm(
            self._x, self._scale, shift, new_mean, new_var, True, 1.0, self._eps
        )
        self._mean.lerp_(new_mean.view(self._mean.shape), self._momentum)
        self._var.lerp_(new_var.view(self._var.shape), self._momentum)
        self._count.add_(1)
        return out.view(h.shape)

    def backward(self, g: Tensor, now: Pass) -> Tensor:
        affine = self._weight is not None
        back, scale, shift = _native.native_batch_norm_backward(
            g.reshape(self._x.shape), self._x, self._scale, None, None, self._batch_mean, self._inverse, True,
            self._eps, [True, affine, affine],
        )  # fmt: skip
        for grad, value in zip(self._grads, (scale, shift), strict=True):
            if grad is not None:
                put(grad, value.view(grad.shape), now)
        out: Tensor = back.view(g.shape)
        return out


class Dropout:
    """Set activations to zero by the bits of the pass, and scale the rest up, in the lanes that have dropout here.

    Args:
        layer: index among the dropout layers of the model.
        in_place: whether the activations may be overwritten: nothing else needs more of them than their sign.
    """

    def __init__(self, layer: int, *, in_place: bool) -> None:
        self.layer, self._in_place = layer, in_place
        self._mask: Any = None
        self._of: DropoutBits | None = None
        self._masks, self._turned = Space(), Space()

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        self._mask = None
        if now.bits is None or now.dropout is None:
            return h
        count, start = h[0].numel(), now.taken
        now.taken += -(-count // BITS_PER_WORD) * BITS_PER_WORD
        if self._of is not now.dropout:
            self._look_up(now.dropout, h)
        if self._lanes is None:
            return h
        some = h if self._all else h[self._lanes]
        bits = (
            now.bits[:, start : start + count] if self._all else now.bits[self._lanes, start : start + count]
        )
        mask = self._mask = self._mask_of(bits, some)
        if self._in_place:
            some.mul_(mask)
            return h
        if self._all:
            return h * mask
        out = h.clone()
        out[self._lanes].mul_(mask)
        return out

    def _mask_of(self, bits: Tensor, like: Tensor) -> Tensor:
        if like.ndim > 3:  # images
            mask = torch.empty_like(like)
            return torch.ge(bits.view(-1, *like.shape[1:]), self._threshold, out=mask).mul_(self._scale)
        features, rows = like.shape[1:]
        mask = self._masks.like(like, features, rows)
        if self._compiled is not None:
            self._compiled(
                len(like), features, rows, bits.data_ptr(), bits.stride(0), self._threshold.data_ptr(),
                self._scale.data_ptr(), mask.data_ptr(),
            )  # fmt: skip
            return mask
        turned = self._turned.like(bits, features, rows).copy_(bits.view(-1, rows, features).mT)
        return torch.ge(turned, self._threshold, out=mask).mul_(self._scale)

    def _look_up(self, dropout: DropoutBits, h: Tensor) -> None:
        """Take from the bits of a stack which lanes are masked here, and with what."""
        lanes, ones = dropout.spans[self.layer], (1,) * (h.ndim - 1)
        self._of, self._lanes = dropout, lanes if lanes.start < lanes.stop else None
        self._all = lanes == slice(0, len(h))
        tables = dropout.thresholds, dropout.scales
        self._threshold, self._scale = (t[self.layer, lanes].contiguous().view(-1, *ones) for t in tables)
        library = native.load(h.dtype) if native.is_wanted(h) else ""
        self._compiled: Any = None if isinstance(library, str) else library.masks

    def backward(self, g: Tensor, now: Pass) -> Tensor:
        if self._mask is not None:
            (g if self._all else g[self._lanes]).mul_(self._mask)
        return g


class Codes:
    """Puts the embeddings of codes below the features, as `models.front.Front` does.

    Args:
        table: (K, entries, width), of all columns. grad: where its gradient lies; None where it is not trained.
        offsets: (K, columns), the first entry of every column.
    """

    def __init__(self, table: Tensor, grad: Tensor | None, offsets: Tensor) -> None:
        assert grad is None or grad.stride() == table.stride()
        self._numbers, self._grad, self._width = _in_a_row(table), grad, table.shape[2]
        lanes = torch.arange(len(table), device=table.device).view(-1, 1, 1, 1) * table.stride(0)
        within = torch.arange(self._width, device=table.device).view(-1, 1)
        self._firsts = lanes + offsets[:, :, None, None] * self._width + within  # (K, columns, width, 1)
        self._out = Space()

    @property
    def is_trained(self) -> bool:
        return self._grad is not None

    def forward(self, h: Tensor, codes: Tensor, now: Pass) -> Tensor:
        """Shapes: (K, features, B), (K, B, columns) -> (K, features + columns * width, B)."""
        lanes, features = h.shape[:2]
        self._places = ((codes.mT * self._width).unsqueeze(2) + self._firsts).view(
            -1
        )  # of (K, columns, width, B)
        found = self._numbers.index_select(0, self._places).view(lanes, -1, now.rows)
        out = self._out.like(h, features + found.shape[1], now.rows)
        out[:, :features].copy_(h)
        out[:, features:].copy_(found)
        return out

    def backward(self, g: Tensor, now: Pass) -> Tensor:
        """Return the gradient of the features."""
        features = g.shape[1] - self._firsts.shape[1] * self._width
        if self._grad is not None:
            if not now.adds:
                self._grad.zero_()
            own = g[:, features:].to(self._grad.dtype)
            _in_a_row(self._grad).index_add_(0, self._places, own.reshape(-1))
        return g[:, :features]


def _in_a_row(tables: Tensor) -> Tensor:
    """Return the memory from the first to the last number of (K, entries, width), whatever lies between the lanes."""
    lanes, entries, width = tables.shape
    return tables.as_strided(((lanes - 1) * tables.stride(0) + entries * width,), (1,))
