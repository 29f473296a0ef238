"""The techniques of several lanes as one: the methods of the class, with doses of shape (K, 1)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch

from trainwell.engine.compose import Sites
from trainwell.values.technique import Technique

PER_STEP = ("batch", "penalty", "grads", "update", "direction", "move_by", "after_step", "loss")
"""Methods that are called in a step, or make what is called in a step."""
STATE = ("init_state", "averaged")

Columns = list[list[Technique]]
"""Per kind of technique the technique of every lane."""


class StackedTechnique:
    """The techniques of one kind in a stack of lanes. Has the methods of the kind, and its doses as (K, 1).

    A choice among words must be the same in all lanes and stays a word.

    Args:
        numbers: whether a dose that is the same in all lanes stays a number, with which less is computed.
    """

    def __init__(
        self, techniques: Sequence[Technique], dtype: torch.dtype, device: torch.device | None = None, *,
        numbers: bool = False,
    ) -> None:  # fmt: skip
        kind = type(techniques[0])
        assert all(type(t) is kind for t in techniques)
        self.name = kind.name
        for field, spec in kind.doses().items():
            values = [getattr(t, field) for t in techniques]
            alike = spec.options or (numbers and len(set(values)) == 1)
            given = values[0] if alike else torch.tensor(values, dtype=dtype, device=device).unsqueeze(-1)
            setattr(self, field, given)
        for method in (*PER_STEP, *STATE):
            if callable(getattr(kind, method, None)):
                setattr(self, method, functools.partial(getattr(kind, method), self))


def in_step(techniques: Sequence[Technique]) -> tuple[Technique, ...]:
    """Return the techniques that act in the step; the others did their work before it, lane by lane."""
    return tuple(t for t in techniques if any(hasattr(t, m) for m in PER_STEP))


def align(sequences: Sequence[Sequence[Technique]]) -> Columns | None:
    """Give every lane the same kinds of technique in one order; one that it does not have is off in it.

    Returns None where that cannot be: the lanes disagree on the order or on a choice among words, or a technique
    that not all of them have cannot be turned off by a dose.
    """
    left = [[type(t) for t in sequence] for sequence in sequences]
    columns: Columns = []
    while any(left):
        behind = {kind for sequence in left for kind in sequence[1:]}
        kind = next((s[0] for s in left if s and s[0] not in behind), None)
        column = None if kind is None else _column(kind, sequences)
        if column is None:
            return None
        columns.append(column)
        left = [sequence[1:] if sequence and sequence[0] is kind else sequence for sequence in left]
    return columns


def _column(kind: type[Technique], sequences: Sequence[Sequence[Technique]]) -> list[Technique] | None:
    found = [next((t for t in s if type(t) is kind), None) for s in sequences]
    present = [t for t in found if t is not None]
    if len({choices(t) for t in present}) > 1:
        return None
    absent = turned_off(present[0])
    if absent is None and len(present) < len(found):
        return None
    return [t or absent for t in found]  # type: ignore[misc]


def choices(technique: Technique) -> tuple[str, ...]:
    """Return the doses that are words."""
    return tuple(str(getattr(technique, f)) for f, spec in technique.doses().items() if spec.options)


def turned_off(technique: Technique) -> Technique | None:
    """Return the technique with a dose at which it does nothing, or None if it has no such dose."""
    for field, spec in technique.doses().items():
        if spec.off is not None and not spec.options:
            return technique.replace(**{field: spec.off})
    return None


def stack_sites(
    columns: Columns, optimizers: Sequence[Technique], dtype: torch.dtype, device: torch.device
) -> Sites:
    """Return the sites of a stack. Schedules and stops stay with the lanes."""
    members = tuple(StackedTechnique(column, dtype, device) for column in columns)
    numbers = device.type == "cpu"  # elsewhere they would stay in a captured step as they were
    return Sites(members, StackedTechnique(optimizers, dtype, device, numbers=numbers), schedule=None)


def optimizer_kind(optimizer: Technique) -> tuple[str, ...]:
    """Return what two optimizers must share to stand in one stack."""
    return (optimizer.name, *choices(optimizer))


def describe(columns: Columns) -> str:
    """Name the techniques of a stack."""
    return ", ".join(type(c[0]).name for c in columns) or "no technique"
