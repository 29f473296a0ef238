"""The parameters of a network by the layers that lie between them and the output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from trainwell.techniques._depth import heights, natural
from trainwell.values.errors import NoPlaceError

if TYPE_CHECKING:
    from torch import Tensor

    from trainwell.engine.flat import Flat, Group


def groups_by_height(technique: str, groups: Sequence[Group]) -> Iterator[tuple[Group, int]]:
    """Yield each group with the layers that lie between it and the output.

    Raises:
        NoPlaceError: there is one layer alone.
    """
    names = [g.name for g in groups]
    found = heights(names, names)
    check_depth(technique, max(found, default=0))
    yield from zip(groups, found, strict=True)


def check_depth(technique: str, height: float) -> None:
    """Refuse a network of one layer.

    Raises:
        NoPlaceError: no layer lies before the last one.
    """
    if height < 1:
        raise NoPlaceError(
            technique,
            f"{technique} treats the layers before the last one apart, and in this network no other learns: leave it "
            "out, or train more layers (of a backbone: --set model=its name).",
        )


def height_of_numbers(technique: str, params: Flat) -> Tensor:
    """Return the height of the layer of every number of the flat weights, (P,).

    Raises:
        NoPlaceError: there is one layer alone.
    """
    import torch

    names = [s.name for s in params.slots]
    found = torch.zeros(params.flat.shape[-1], dtype=params.flat.dtype, device=params.flat.device)
    for slot, height in zip(params.slots, heights(names, natural(names)), strict=True):
        found[slot.offset : slot.offset + slot.numel] = height
    check_depth(technique, float(found.max()))
    return found
