"""Recognises a loss that a loop writes by hand, from its gradient at the output of the network and its value.

With p the softmax of an output and t the targets, the gradient of cross-entropy is c (p - t), that of squares is
2 c (output - t): targets and scale follow from it (Bishop 2006, sections 4.3.6 and 5.3). What follows is checked against
the loss: classes must be whole and of one scale in all rows, or in all rows of a class, but for rows from which nothing
is learned, as where a mask takes out padding; numbers must give the value that was minimised. Where the gradient alone
does not tell the targets, see `against`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from trainwell.watch.against import Part, against, part_of
from trainwell.watch.formula import Formula
from trainwell.watch.losses import IGNORED, LossCall
from trainwell.watch.scaled import scaled

HARD = 2e-3
"""How far a target that follows may lie from the class it is: gradients are rounded, and logs are kept from zero."""

EXACT = 1e-4
"""How far a value and the scale of a loss may lie from what they ought to be, as a share."""

WHOLE = 1e-3
"""How far the parts of a loss may miss its value, as a share."""

SURE = 1e-3
"""A probability so near to its target says too little of the scale, after rounding."""

MANY = 8
"""Gradients that must agree in their scale: that of few agrees by chance."""

ALIKE = 1e-2
"""How far the scales of the rows of one class may lie apart, as a share: a weight for each class is one number."""

OPEN = ("cosine_similarity",)
"""Losses of whose value a constant may have been taken, which minimises alike."""


@dataclasses.dataclass(frozen=True)
class Recognised:
    """What a loss amounts to.

    Args:
        calls: of functions of torch; one for each output, the main one first.
        factor: by which the loss is more than the sum of their values; below zero where they are driven up.
        offset: what is added to that sum: likeness may be taken from one, or from nothing.
        root: what the root of their value was multiplied by, where the root is minimised; else 0. The factor is then
            that of the gradient at this step.
    """

    calls: list[LossCall]
    factor: float
    offset: float = 0.0
    root: float = 0.0

    def in_its_unit(self, value: Tensor) -> Tensor:
        """Return from what is minimised the loss that it amounts to."""
        if self.root:
            return (value / self.root).square()
        return value if self.factor == 1 and not self.offset else value / self.factor - self.offset


def recognised(parts: Sequence[tuple[Tensor, Tensor]], formula: Formula) -> Recognised | None:
    """Return the calls of functions of torch that a loss amounts to; `None` where it is none that is known.

    Args:
        parts: each output of the network from which the loss follows, and the gradient of the loss with respect to it.
    Shapes: output, grad: (N, ...), of classes (N, K) or (N, K, positions ...) or (N, T, K).
    """
    parts = [(output.detach(), grad.detach()) for output, grad in parts]
    if not parts or not all(_can_tell(output, grad) for output, grad in parts):
        return None
    alone = len(parts) == 1
    found = [_part(output, grad, formula, alone) for output, grad in parts]
    known = [part for part in found if part is not None]
    if len(known) < len(found) or (not alone and not _adds_up(known, formula)):
        return None
    factor = known[0].factor
    others = [scaled(part.call, part.factor / factor) for part in known[1:]]
    is_open = alone and known[0].call.name in OPEN
    offset = float(formula.value) / factor - float(known[0].call.value) if is_open else 0.0
    return Recognised([known[0].call, *others], factor, offset, known[0].root)


def _can_tell(output: Tensor, grad: Tensor) -> bool:
    if output.shape != grad.shape or output.dtype not in (torch.float32, torch.float64) or output.dim() == 0:
        return False
    return bool(torch.isfinite(grad).all() & torch.isfinite(output).all() & grad.any())


def _part(output: Tensor, grad: Tensor, formula: Formula, alone: bool) -> Part | None:
    """Return what one output is held against; where it is alone, the value is checked as well."""
    for part in _by_gradient(output, grad, formula.value if alone else None):
        if part is not None:
            return part
    for part in against(output, grad, formula):
        if not alone or part.call.name in OPEN or _adds_up([part], formula):
            return part
        if _is_root(part, formula):
            return dataclasses.replace(part, root=2 * part.factor * float(part.call.value) ** 0.5)
    for part in _by_gradient(output, -grad, None):
        if part is not None:
            return dataclasses.replace(part, factor=-part.factor)
    return None


def _is_root(part: Part, formula: Formula) -> bool:
    """Whether the loss is a root of squares: the slope of c sqrt(m) by m is c / (2 sqrt(m)), half its value over m."""
    value = float(formula.value)
    squares = part.call.name == "mse_loss" and part.factor > 0
    return squares and abs(2 * part.factor * float(part.call.value) - value) <= WHOLE * abs(value)


def _adds_up(parts: Sequence[Part], formula: Formula) -> bool:
    """Whether the parts come to the value of the loss, or there is more in it that no output tells of."""
    if formula.has_more or any(part.call.name in OPEN for part in parts):
        return True
    value = float(formula.value)
    return abs(sum(p.factor * float(p.call.value) for p in parts) - value) <= WHOLE * abs(value)


def _by_gradient(output: Tensor, grad: Tensor, value: Tensor | None) -> Iterator[Part | None]:
    if output.dim() > 1 and output.shape[-1] > 1:
        yield _classes(output, grad, value)
    if bool(((output >= 0) & (output <= 1)).all()):
        yield _yes_or_no(output, grad, is_probability=True)
    yield _yes_or_no(output, grad, is_probability=False)
    if value is not None:
        yield _squares(output, grad, value)


def _squares(output: Tensor, grad: Tensor, value: Tensor) -> Part | None:
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
    return part_of("mse_loss", output, output - grad / (2 * scale), exact[0])


def _classes(output: Tensor, grad: Tensor, value: Tensor | None) -> Part | None:
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
    return part_of("nll_loss", given, label, float(scale) * label.numel())


def _logits(output: Tensor, grad: Tensor, value: Tensor | None, axis: int) -> Part | None:
    p, idle = output.softmax(axis), (grad == 0).all(axis)
    label = torch.where(idle, p.argmax(axis), grad.argmin(axis))
    place = label.unsqueeze(axis)
    missing = (1 - p.gather(axis, place)).squeeze(axis)
    masked = idle & (missing > SURE)
    telling = (missing > SURE) & ~idle
    if int(telling.sum()) * (output.shape[axis] - 1) < MANY:
        return None
    scales = -grad.gather(axis, place).squeeze(axis) / missing
    scale = scales[telling].median()
    if bool(scale > 0) and _is_whole(p - grad / scale, label, axis, masked):
        kept = int((~masked).sum())
        return part_of("cross_entropy", output, label.masked_fill(masked, IGNORED), float(scale) * kept)
    if value is None or bool(masked.any()):
        return None
    if output.dim() == 2:
        found = _weighted(output, grad, value, label, torch.where(telling, scales, torch.nan))
        if found is not None:
            return found
    for factor in (1.0, float(label.numel())):
        soft = (p - grad * label.numel() / factor).clamp(min=0)
        part = part_of("cross_entropy", output, soft, factor)
        agrees = abs(part.factor * float(part.call.value) - float(value)) <= EXACT * abs(float(value))
        if agrees and bool(((soft.sum(axis) - 1).abs() <= EXACT).all()):
            return part
    return None


def _weighted(output: Tensor, grad: Tensor, value: Tensor, label: Tensor, scales: Tensor) -> Part | None:
    """Cross-entropy with a weight for each class: its rows have one scale.

    Args: scales: what the rows were scaled by; nan where that is not known.
    """
    own = torch.zeros(output.shape[1], dtype=output.dtype, device=output.device)
    for c in label.unique().tolist():
        rows = scales[(label == c) & scales.isfinite()]
        if not len(rows):
            return None
        own[c] = rows.median()
        if bool(((rows - own[c]).abs() > ALIKE * own[c]).any()):
            return None
    known = own > 0
    if int(scales.isfinite().sum()) - int(known.sum()) < MANY or not bool(known[label].all()):
        return None
    if not _is_whole(output.softmax(1) - grad / own[label, None], label, 1):
        return None
    factor = float(own[label].mean()) * len(label)
    weight = torch.where(known, own * len(label) / factor, torch.ones_like(own))
    part = part_of("cross_entropy", output, label, factor, weight=weight)
    return (
        part
        if abs(part.factor * float(part.call.value) - float(value)) <= WHOLE * abs(float(value))
        else None
    )


def _is_whole(hot: Tensor, label: Tensor, axis: int, masked: Tensor | bool = False) -> bool:
    """Whether targets that follow are one of each row that is not masked, and nothing of the others."""
    off = torch.zeros_like(hot).scatter_(axis, label.unsqueeze(axis), 1.0).sub_(hot).abs_()
    return bool(((off <= HARD).all(axis) | masked).all())


def _yes_or_no(output: Tensor, grad: Tensor, is_probability: bool) -> Part | None:
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
    return part_of(name, output, target, float(scale) * output.numel())
