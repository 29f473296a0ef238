"""Recognises a loss that a loop writes by hand, from its gradient at the output of the network and its value.

With p the softmax of an output and t the targets, the gradient of cross-entropy is c (p - t), that of squares is
2 c (output - t): targets and scale follow from it (Bishop 2006, sections 4.3.6 and 5.3). What follows is checked against
the loss: classes must be whole and of one scale in all rows, numbers must give the value that was minimised.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from trainwell.watch.losses import LossCall, original

HARD = 2e-3
"""How far a target that follows may lie from the class it is: gradients are rounded, and logs are kept from zero."""

EXACT = 1e-4
"""How far a value and the scale of a loss may lie from what they ought to be, as a share."""

SURE = 1e-3
"""A probability so near to its target says too little of the scale, after rounding."""

MANY = 8
"""Gradients that must agree in their scale: that of few agrees by chance."""

Function = Callable[..., Tensor]


@dataclasses.dataclass(frozen=True)
class _Scaled:
    """A loss function of torch whose mean is taken times a factor, e.g. for half of the squares, or a sum."""

    function: Function
    factor: float

    def __call__(self, input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
        value = self.function(input, target, reduction=reduction)
        return value * self.factor if self.factor != 1 and reduction == "mean" else value


def recognised(output: Tensor, grad: Tensor, value: Tensor) -> LossCall | None:
    """Return the call of the function of torch that a loss amounts to; `None` where it is none that is known.

    Args:
        output: of the network. grad: of the loss with respect to it. value: the loss.
    Shapes: output, grad: (N, ...), of classes (N, K) or (N, K, positions ...) or (N, T, K); value: ().
    """
    if output.shape != grad.shape or output.dtype not in (torch.float32, torch.float64) or output.dim() == 0:
        return None
    output, grad, value = output.detach(), grad.detach(), value.detach()
    if not bool(torch.isfinite(grad).all() & torch.isfinite(output).all() & grad.any()):
        return None
    for found in _candidates(output, grad, value):
        if found is not None:
            return found
    return None


def _candidates(output: Tensor, grad: Tensor, value: Tensor) -> Iterator[LossCall | None]:
    if output.dim() > 1 and output.shape[-1] > 1:
        yield _classes(output, grad, value)
    if bool(((output >= 0) & (output <= 1)).all()):
        yield _yes_or_no(output, grad, value, is_probability=True)
    yield _yes_or_no(output, grad, value, is_probability=False)
    yield _squares(output, grad, value)


def _squares(output: Tensor, grad: Tensor, value: Tensor) -> LossCall | None:
    """Squares, their mean or sum, or half of it."""
    if not value > 0:
        return None
    scale = float(grad.pow(2).sum() / (4 * value))
    factor = scale * output.numel()
    row = output.numel() // len(output)
    usual = {half * many for half, many in itertools.product((1.0, 0.5), (1, row, output.numel()))}
    exact = [u for u in usual if abs(factor - u) <= EXACT * u]
    if not exact:
        return None
    target = _tidy(output - grad / (2 * scale))
    return _call("mse_loss", output, target, value, exact[0])


def _tidy(target: Tensor) -> Tensor:
    """Take off what rounding added to whole numbers."""
    whole = target.round()
    return whole if bool(((target - whole).abs() <= HARD / 10).all()) else target


def _classes(output: Tensor, grad: Tensor, value: Tensor) -> LossCall | None:
    """Cross-entropy of logits, or of what a network has made log-probabilities or probabilities of."""
    axis = 1 if output.dim() == 4 else -1
    if axis == -1:
        output, grad = output.reshape(-1, output.shape[-1]), grad.reshape(-1, output.shape[-1])
    sums = output.exp().sum(axis)
    if bool(((sums - 1).abs() <= EXACT).all()):
        shares, given = -grad, output
    elif bool(((output.sum(axis) - 1).abs() <= EXACT).all() & (output >= 0).all()):
        shares, given = -grad * output, output.clamp(min=1e-30).log()
    else:
        return _logits(output, grad, value, axis)
    scale = shares.sum(axis).median()
    hot = shares / scale
    label = hot.argmax(axis)
    if not bool(scale > 0) or not _is_whole(hot, label, axis):
        return None
    return _call("nll_loss", given, label, value, _factor(float(scale), label.numel()))


def _logits(output: Tensor, grad: Tensor, value: Tensor, axis: int) -> LossCall | None:
    p = output.softmax(axis)
    label = grad.argmin(axis)
    place = label.unsqueeze(axis)
    missing = 1 - p.gather(axis, place)
    telling = missing > SURE
    if int(telling.sum()) * (output.shape[axis] - 1) < MANY:
        return None
    scale = (-grad.gather(axis, place)[telling] / missing[telling]).median()
    if bool(scale > 0) and _is_whole(p - grad / scale, label, axis):
        return _call("cross_entropy", output, label, value, _factor(float(scale), label.numel()))
    for factor in (1.0, float(label.numel())):
        soft = (p - grad * label.numel() / factor).clamp(min=0)
        found = _call("cross_entropy", output, soft, value, factor)
        agrees = abs(float(found.value) - float(value)) <= EXACT * abs(float(value))
        if agrees and bool(((soft.sum(axis) - 1).abs() <= EXACT).all()):
            return found
    return None


def _is_whole(hot: Tensor, label: Tensor, axis: int) -> bool:
    """Whether targets that follow are one of each row, and nothing of the others."""
    off = torch.zeros_like(hot).scatter_(axis, label.unsqueeze(axis), 1.0).sub_(hot).abs_()
    return bool((off <= HARD).all())


def _yes_or_no(output: Tensor, grad: Tensor, value: Tensor, is_probability: bool) -> LossCall | None:
    """Binary cross-entropy of logits, or of probabilities."""
    p = output if is_probability else output.sigmoid()
    pull = grad * p * (1 - p) if is_probability else grad
    target = (pull < 0).to(output.dtype)
    missing = (target - p).abs()
    telling = missing > SURE
    if int(telling.sum()) < MANY:
        return None
    scale = (pull[telling].abs() / missing[telling]).median()
    if not bool(scale > 0) or not bool(((p - pull / scale - target).abs() <= HARD).all()):
        return None
    name = "binary_cross_entropy" if is_probability else "binary_cross_entropy_with_logits"
    return _call(name, output, target, value, _factor(float(scale), output.numel()))


def _factor(scale: float, count: int) -> float:
    """Return by how much a loss of this scale is more than the mean; 1 where that is all but so."""
    factor = scale * count
    return 1.0 if abs(factor - 1) <= 10 * EXACT else factor


def _call(name: str, output: Tensor, target: Tensor, value: Tensor, factor: float) -> LossCall:
    function = _Scaled(original(name), factor)
    call = LossCall(name, function, output, target, (), {}, value)
    call.value = call.again(output)
    return call
