"""Reads off autograd what a loss written by hand is made of: the outputs it follows from, and what they are held against.

For the backward pass autograd keeps a difference that is squared or made absolute, and a factor beside what it multiplies
("Saved tensors" in PyTorch's notes on autograd). They are read before that pass and nothing in it is changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

from torch import Tensor

MOST_NODES = 256
"""Operations that are followed at most; a loss has a few dozen."""

MOST_KEPT = 6
"""Differences, and factors, of one loss that are tried."""

SUMS = ("SubBackward0", "AddBackward0")
"""Operations that add a constant to an output, or take it away."""

LEAF = "torch::autograd::AccumulateGrad"


@dataclasses.dataclass
class Formula:
    """What one loss is made of.

    Args:
        value: the loss.
        reached: the numbers of the outputs from which it follows.
        differences: outputs less constants, each with whether it is the other way round.
        factors: tensors that something which follows from an output is multiplied by.
        conditions: by which one of two formulas is chosen for each number.
        has_more: whether parameters come in that no output tells of, as in a penalty on the weights.
    """

    value: Tensor
    reached: set[int] = dataclasses.field(default_factory=set)
    differences: list[tuple[Tensor, bool]] = dataclasses.field(default_factory=list)
    factors: list[Tensor] = dataclasses.field(default_factory=list)
    conditions: list[Tensor] = dataclasses.field(default_factory=list)
    has_more: bool = False

    def note(self, node: Any) -> None:
        """Take what an operation keeps."""
        below = node.next_functions
        constant = [i for i, (child, _) in enumerate(below) if child is None]
        if node.name() == "MulBackward0" and len(constant) == 1 and len(self.factors) < MOST_KEPT:
            self.factors += _kept(node, "_saved_self" if constant[0] == 0 else "_saved_other")
        elif node.name() == "WhereBackward0":
            self.conditions += _kept(node, "_saved_condition")
        for place, (child, _) in enumerate(below):
            sides = [side for side, _ in child.next_functions] if child and child.name() in SUMS else []
            if len(sides) == 2 and sides.count(None) == 1 and len(self.differences) < MOST_KEPT:
                kept = _kept(node, "_saved_self" if place == 0 else "_saved_other")
                self.differences += [(value, sides[0] is None) for value in kept]


def formula_of(loss: Tensor, outputs: Sequence[Tensor]) -> Formula:
    """Return what a loss is made of, from its value back to the outputs of the network."""
    found = Formula(loss.detach())
    ends: dict[tuple[Any, int], int] = {(o.grad_fn, o.output_nr): i for i, o in enumerate(outputs)}
    waiting: list[tuple[Any, int]] = [(loss.grad_fn, loss.output_nr)]
    seen: set[Any] = set()
    while waiting and len(seen) < MOST_NODES:
        node, number = waiting.pop()
        if node is not None and (node, number) in ends:
            found.reached.add(ends[node, number])
        elif node is not None and node not in seen:
            seen.add(node)
            waiting += node.next_functions
            if node.name() == LEAF:
                found.has_more = True
            else:
                found.note(node)
    return found


def _kept(node: Any, name: str) -> list[Tensor]:
    """Return a tensor that an operation keeps, if it is not a plain number and is still as it was.

    What a hook would have to bring back, as in checkpoints, is left alone: it may bring it back only once.
    """
    if getattr(getattr(node, f"_raw{name}", None), "unpack_hook", node) is not None:
        return []
    with contextlib.suppress(RuntimeError):  # written to since, or given back already
        value = getattr(node, name)
        if isinstance(value, Tensor) and value.dim() > 0:
            return [value.detach()]
    return []
