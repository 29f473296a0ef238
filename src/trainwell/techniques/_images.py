"""What augmentations of images share: the images of a batch, and numbers drawn for every one of them.

A lane of a stack draws from a generator of its own, so that lane k sees what its lone run would see. Pixels are 0 to
255, as bytes or as floats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from trainwell.engine.parts import Batch

    Generators = torch.Generator | Sequence[torch.Generator]
    Edit = Callable[["torch.Tensor", "torch.Tensor", Any], "torch.Tensor"]


def row_axis(batch: Batch) -> int:
    """Return the axis of the rows: 0, or 1 in a stack of lanes."""
    y = batch.y
    return y.ndim - 2 if y.is_floating_point() else y.ndim - 1


def edit_images(batch: Batch, generator: Generators, draws: int, dose: Any, edit: Edit) -> None:
    """Replace every input that is an image by `edit(images, numbers, dose)`; other inputs stay as they are.

    Shapes: edit sees images (N, C, H, W), numbers (draws, N) in [0, 1), and the dose as a number or as (N,); N counts
        the rows of all lanes.
    """
    axis = row_axis(batch)
    made = []
    for x in batch.x:
        if x.ndim - axis != 4:
            made.append(x)
            continue
        numbers = uniforms(generator, draws, x.shape[axis], x.device)
        each = dose.expand(x.shape[: axis + 1]).reshape(-1) if hasattr(dose, "expand") else dose
        flat = x.flatten(0, 1) if axis else x
        edited = edit(flat, numbers, each)
        made.append(edited.unflatten(0, x.shape[:2]) if axis else edited)
    batch.x = tuple(made)


def uniforms(generator: Generators, draws: int, rows: int, device: torch.device) -> torch.Tensor:
    """Draw numbers in [0, 1) for every row of every lane, (draws, lanes * rows)."""
    import torch

    if isinstance(generator, torch.Generator):
        return torch.rand(draws, rows, generator=generator, device=device)
    return torch.cat([uniforms(g, draws, rows, device) for g in generator], 1)


def per_image(numbers: Any) -> Any:
    """Return numbers (N,) so that they broadcast against images."""
    return numbers.view(-1, 1, 1, 1) if hasattr(numbers, "view") else numbers
