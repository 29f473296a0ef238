"""The layers of a network by the names of its parameters, counted from the output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def layer_of(name: str) -> str:
    """Return the layer that a parameter belongs to: the block of a numbered list, else the module that owns it."""
    parts = name.split(".")
    numbered = [i for i, p in enumerate(parts[:-1]) if p.isdigit()]
    if not numbered:
        return ".".join(parts[:-1]) or name
    end = numbered[0] + 1
    while end < len(parts) - 1 and parts[end].isdigit():
        end += 1
    return ".".join(parts[:end])


def layers(names: Sequence[str]) -> list[str]:
    """Return the layers in the order of their first parameter."""
    return list(dict.fromkeys(layer_of(n) for n in names))


def heights(names: Sequence[str], order: Sequence[str]) -> list[int]:
    """Return how many layers lie between each parameter and the output, 0 for the last layer.

    Args:
        order: the names of all parameters in the order of the network.
    """
    found = layers(order)
    place = {layer: len(found) - 1 - i for i, layer in enumerate(found)}
    return [place[layer_of(n)] for n in names]


def natural(names: Sequence[str]) -> list[str]:
    """Return names in the order of a network whose order is lost: the head last, numbers by their value."""

    def key(name: str) -> tuple[Any, ...]:
        parts = name.split(".")
        last = parts[0] in ("head", "output", "classifier", "fc")
        return (last, [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts])

    return sorted(names, key=key)
