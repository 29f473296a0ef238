"""Finds the targets of a loss written by hand among the tensors that its outputs are held against.

A difference or a factor that autograd keeps proposes targets (see `formula`); they are taken where the gradient of a
known loss of output and targets is, but for one factor, the gradient that came. So absolute errors are heard, of which
a gradient has the sign alone, losses times any number, and errors that are taken over all pairs of rows by mistake.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from trainwell.watch.formula import Formula
from trainwell.watch.losses import LossCall
from trainwell.watch.scaled import function_of

FITS = 2e-3
"""How far a gradient may lie from that of the loss that it is taken for, in units of the largest of its numbers."""

ROUND = 1e-3
"""A factor so near to one, or to the number of the targets, is that number: gradients are rounded."""

TIDY = 2e-4
"""How far targets may lie from whole numbers that are such but for rounding."""

CONSTANT = 1e-5
"""How far what ought to be one number may vary by rounding, in units of the numbers it follows from."""

UNIT = 1e-3
"""How far from one the length of a direction may be."""

Proposal = tuple[str, Tensor, Tensor, dict[str, Any]]
"""Name of a loss, output as it is given to it, targets, and what else it is called with."""

Slope = Callable[[Tensor, Tensor, dict[str, Any]], Tensor]

SLOPES: dict[str, Slope] = {
    "mse_loss": lambda o, t, _: 2 * (o - t),
    "l1_loss": lambda o, t, _: (o - t).sign(),
    "huber_loss": lambda o, t, kwargs: (o - t).clamp(-kwargs["delta"], kwargs["delta"]),
    "binary_cross_entropy_with_logits": lambda o, t, _: o.sigmoid() - t,
    "binary_cross_entropy": lambda o, t, _: (o - t) / (o * (1 - o)).clamp(min=1e-12),
    "cosine_similarity": lambda o, t, _: _turn(o, t),
}
"""Derivatives of losses of one number, or row, by the output."""


@dataclasses.dataclass(frozen=True)
class Part:
    """What one output is held against: a call of a loss and what that is multiplied by; `root` is as of `Recognised`."""

    call: LossCall
    factor: float
    root: float = 0.0


def part_of(name: str, output: Tensor, target: Tensor, factor: float, **kwargs: Any) -> Part:
    """Return the call of a loss that is so many times its mean; a sum is called one."""
    if name in ("mse_loss", "l1_loss", "huber_loss"):
        target = _tidy(target)
    count = torch.broadcast_shapes(output.shape, target.shape) if name in SLOPES else target.shape
    many = 1 if name == "cosine_similarity" else torch.Size(count).numel()
    if name in ("cross_entropy", "nll_loss") and target.is_floating_point():
        many = target.numel() // target.shape[1]
    elif name == "cross_entropy":
        many = int((target >= 0).sum())
    sign = 1.0 if factor > 0 else -1.0
    if abs(abs(factor) - 1) <= ROUND:
        factor = sign
    elif abs(abs(factor) / many - 1) <= ROUND:
        factor, kwargs = sign, kwargs | {"reduction": "sum"}
    call = LossCall(name, function_of(name, output, target, kwargs), output, target, (), kwargs, output)
    call.value = call.again(output)
    return Part(call, factor)


def against(output: Tensor, grad: Tensor, formula: Formula) -> Iterator[Part]:
    """Yield the losses of an output and of what it is held against whose gradient is the one that came.

    Shapes: output, grad: (N, ...).
    """
    for name, given, target, kwargs in _proposals(output, formula):
        o, t = torch.broadcast_tensors(given, target)
        slope = SLOPES[name](o, t, kwargs).sum_to_size(given.shape).reshape(output.shape)
        size = float(slope.pow(2).sum())
        if not 0 < size < float("inf"):
            continue
        factor = float((grad * slope).sum()) / size
        if bool((grad - factor * slope).abs().max() <= FITS * grad.abs().max()):
            count = len(output) if name == "cosine_similarity" else o.numel()
            yield part_of(name, given, target, factor * count, **kwargs)


def _proposals(output: Tensor, formula: Formula) -> Iterator[Proposal]:
    for difference, is_reversed in formula.differences:
        d = -difference if is_reversed else difference
        for given, target in _targets(output, d):
            yield "mse_loss", given, target, {}
            yield "l1_loss", given, target, {}
            alike = [near for near in formula.conditions if near.shape == d.shape]
            yield from (("huber_loss", given, target, {"delta": _delta(d.abs(), near)}) for near in alike)
    for factor in formula.factors:
        yield from _of_factor(output, factor.to(output.dtype))


def _of_factor(output: Tensor, t: Tensor) -> Iterator[Proposal]:
    """Yield the losses in which targets are multiplied by something of the output."""
    if bool(((t >= 0) & (t <= 1)).all()):
        is_probability = bool(((output >= 0) & (output <= 1)).all())
        name = "binary_cross_entropy" if is_probability else "binary_cross_entropy_with_logits"
        for given in _forms(output, t):
            yield name, given, t, {}
            yield name, given, 1 - t, {}
    if t.shape == output.shape and t.dim() == 2 and bool(((t.norm(dim=1) - 1).abs() <= UNIT).all()):
        yield "cosine_similarity", output, t, {}


def _targets(output: Tensor, d: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the output as it was given, and the targets from which it differs so."""
    if d.numel() == output.numel():
        yield output.reshape(d.shape), output.reshape(d.shape) - d
        return
    rows = len(output)
    if d.shape != (rows, rows) or output.numel() != rows:
        return
    for given in (output.reshape(rows, 1), output.reshape(rows)):
        y = given - d
        axis = 0 if given.dim() == 2 else 1
        first = y.narrow(axis, 0, 1)
        if bool((y - first).abs().max() <= CONSTANT * (1 + given.abs().max() + d.abs().max())):
            yield given, first.reshape(rows) if axis == 0 else first


def _forms(output: Tensor, target: Tensor) -> Iterator[Tensor]:
    """Yield the output in the shape of the targets, or in one that gives all pairs of the rows with them."""
    if target.numel() != output.numel():
        return
    yield output.reshape(target.shape)
    rows = len(output)
    if rows == output.numel() > 1 and target.dim() <= 2:
        yield output.reshape(rows, 1) if target.dim() == 1 else output.reshape(rows)


def _delta(size: Tensor, near: Tensor) -> float:
    """Return where squares end: the roundest number between the differences of both kinds."""
    low = float(size[near].max()) if bool(near.any()) else 0.0
    high = float(size[~near].min()) if not bool(near.all()) else 2 * low
    for digits in range(5):
        middle = round((low + high) / 2, digits)
        if low <= middle <= high and middle > 0:
            return middle
    return max((low + high) / 2, 1e-30)


def _turn(o: Tensor, t: Tensor) -> Tensor:
    size = o.norm(dim=1, keepdim=True).clamp(min=1e-12)
    ahead = o / size
    return ((ahead * t).sum(1, keepdim=True) * ahead - t) / size


def _tidy(target: Tensor) -> Tensor:
    """Take off what rounding added to whole numbers."""
    whole = target.round()
    return whole if bool(((target - whole).abs() <= TIDY).all()) else target
