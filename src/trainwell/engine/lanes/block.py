"""Linear layers one behind the other, with ReLU and dropout, as one link whose passes are compiled (block.c)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from trainwell.engine.lanes import links, native, planes, tables
from trainwell.engine.lanes.bits import BITS_PER_WORD, DropoutBits
from trainwell.engine.lanes.links import Link, Pass
from trainwell.engine.lanes.planes import address

LARGEST = 1 << 16
"""Numbers of a weight up to which a layer is compiled here; those above are left to the matrix library of torch."""

TOGETHER = (
    links.Linear, links.ReLU, links.Dropout, links.Elementwise, tables.MemberScale, tables.MemberHeads, *planes.LINKS,
)  # fmt: skip
"""What a chain may consist of whose linear layers are compiled."""

Unit = tuple[links.Linear, links.ReLU | None, links.Dropout | None]
"""A linear layer and what follows it."""


class Layer(ctypes.Structure):
    """One linear layer, as block.c reads it."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("weight", "bias")),
        *((name, ctypes.c_long) for name in ("weight_stride", "bias_stride")),
        *((name, ctypes.c_void_p) for name in ("weight_grad", "bias_grad")),
        *((name, ctypes.c_long) for name in ("weight_grad_stride", "bias_grad_stride")),
        *((name, ctypes.c_long) for name in ("out", "inputs", "relu", "first", "last")),
        *((name, ctypes.c_void_p) for name in ("threshold", "scale")),
        ("bits", ctypes.c_long),
        ("y", ctypes.c_void_p),
    )


def compiled(made: Sequence[Link]) -> list[Link]:
    """Put blocks in place of the linear layers that can be compiled, with the ReLU and dropout behind them.

    A chain with a norm is left to torch: the gradient of a bias before one is nothing but rounding, which Adam makes
    large, and it has to round as in a lone run.
    """
    library = _library(made)
    if library is None or isinstance(library, str):
        return list(made)
    found, at = list[Link](), 0
    while at < len(made):
        units = list[Unit]()
        while (unit := _unit_at(made, at)) is not None:
            units.append(unit)
            at += sum(part is not None for part in unit)
        if units:
            found.append(Block(library, units))
        else:
            found.append(made[at])
            at += 1
    return found


def why_not(made: Sequence[Link]) -> str:
    """Return why no layer of a chain was compiled, where some could have been; else an empty string."""
    library = _library(made)
    return library if isinstance(library, str) else ""


def _library(made: Sequence[Link]) -> Any:
    """Return the compiled functions for these links, why there are none, or None where nothing is to be compiled."""
    if not all(type(link) in TOGETHER for link in made):
        return None
    first = next((u[0].weight for at in range(len(made)) if (u := _unit_at(made, at)) is not None), None)
    return None if first is None or not native.is_wanted(first) else native.load(first.dtype)


def _unit_at(made: Sequence[Link], at: int) -> Unit | None:
    """Return the linear layer that begins here with what belongs to it, if it can be compiled."""
    layer, second, third = (made[at + i] if at + i < len(made) else None for i in range(3))
    if type(layer) is not links.Linear or not _is_small(layer):
        return None
    if not isinstance(second, links.ReLU):
        return layer, None, None
    return layer, second, third if isinstance(third, links.Dropout) else None


def _is_small(layer: links.Linear) -> bool:
    weight = layer.weight
    in_rows = weight.stride()[1:] == (weight.shape[2], 1)
    alike = not layer.is_rounded and weight.is_cpu and weight.dtype in native.REALS
    return alike and in_rows and weight[0].numel() <= LARGEST


class _Bound:
    """The layers for batches of one size: where their activations lie, and what is dropped of them."""

    def __init__(self, units: Sequence[Unit], rows: int, dropout: DropoutBits | None) -> None:
        lanes = len(units[0][0].weight)
        new = units[0][0].weight.new_empty
        self.largest = rows * max(max(u[0].weight.shape[1:]) for u in units)
        self.space = new(3 * self.largest)
        self.activations = [new(lanes, u[0].weight.shape[1], rows) for u in units]
        self.dropout, self.bits, self._kept = dropout, 0, list[Tensor]()
        self.layers = (Layer * len(units))(*map(self._layer, units, self.activations))
        self.address = ctypes.addressof(self.layers)

    def _layer(self, unit: Unit, y: Tensor) -> Layer:
        linear, relu, drop = unit
        (weight, bias), grads = (linear.weight, linear.bias), linear.grads
        tensors = (weight, bias, *grads)
        (w, b, gw, gb), strides = map(address, tensors), [0 if t is None else t.stride(0) for t in tensors]
        layer = Layer(
            w, b, *strides[:2], gw, gb, *strides[2:], *weight.shape[1:], int(relu is not None), y=address(y)
        )
        if drop is not None and self.dropout is not None:
            span = self.dropout.spans[drop.layer]
            tables = [t[drop.layer].contiguous() for t in (self.dropout.thresholds, self.dropout.scales)]
            self._kept += tables
            layer.first, layer.last, layer.bits = span.start, span.stop, self.bits
            layer.threshold, layer.scale = map(address, tables)
            self.bits += -(-y[0].numel() // BITS_PER_WORD) * BITS_PER_WORD
        return layer


class Block:
    """Linear layers with ReLU and dropout, of K lanes.

    Args:
        units: the layers, bound to their weights and gradients.
    """

    def __init__(self, library: Any, units: Sequence[Unit]) -> None:
        self._forward, self._backward = library.forward, library.backward
        self._units, self._known = list(units), dict[tuple[int, bool], _Bound]()
        first = units[0][0]
        self._like, self._needs_input, self._back = first.weight, first.needs_input, links.Space()

    def forward(self, h: Tensor, now: Pass) -> Tensor:
        lanes, features, rows = h.shape
        dropout = None if now.bits is None else now.dropout
        bound = self._bound(rows, dropout)
        self._by_row = h.stride()[1:] == (1, features)
        self._h = h if self._by_row or h.stride()[1:] == (rows, 1) else h.contiguous()
        bits, bits_stride = None, 0
        if now.bits is not None and bound.bits:
            bits, bits_stride = now.bits.data_ptr() + 2 * now.taken, now.bits.stride(0)
            now.taken += bound.bits
        self._forward(
            bound.address, len(self._units), lanes, rows, self._h.data_ptr(), self._h.stride(0), self._by_row,
            bits, bits_stride, now.training, bound.space.data_ptr(), bound.largest,
        )  # fmt: skip
        self._now = bound
        return bound.activations[-1]

    def _bound(self, rows: int, dropout: DropoutBits | None) -> _Bound:
        found = self._known.get((rows, dropout is None))
        if found is None or found.dropout is not dropout:
            found = self._known[rows, dropout is None] = _Bound(self._units, rows, dropout)
        return found

    def backward(self, g: Tensor, now: Pass) -> Tensor | None:
        g, bound, back = g.contiguous(), self._now, None
        if self._needs_input:
            back = self._back.like(self._like, self._like.shape[2], g.shape[-1])
        self._backward(
            bound.address, len(self._units), len(g), g.shape[-1], self._h.data_ptr(), self._h.stride(0), self._by_row,
            bound.bits > 0, g.data_ptr(), address(back), now.adds, bound.space.data_ptr(), bound.largest,
        )  # fmt: skip
        return back
