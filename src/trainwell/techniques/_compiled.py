"""Adam of many lanes in one pass over the memory, compiled (adam.c)."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwell.values import native

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from trainwell.engine.flat import Flat

SOURCES = (Path(__file__).with_name("adam.c"),)
FUNCTIONS = (
    ("adam", (ctypes.c_long,) * 2 + (ctypes.c_void_p,) * 4 + (ctypes.c_double, ctypes.c_void_p) * 5, None),
)


def by_lanes(
    doses: Any, weights: Tensor, grads: Flat, state: dict[str, Tensor], step: Any, lr: float | Tensor
) -> bool:
    """Move the weights of all lanes, (K, P), whose rates, doses and steps may differ: then they are (K, 1).

    Returns False, and does nothing, where nothing is compiled.
    """
    compiled = _compiled(weights.dtype) if weights.ndim == 2 and native.is_wanted(weights) else None
    if compiled is None:
        return False
    tensors = (weights, grads.flat, state["mean"], state["mean_square"])
    numbers, kept = list[Any](), list[Any]()
    for number in (lr, doses.beta1, doses.beta2, doses.eps, step):
        if isinstance(number, float | int):
            numbers += [number, None]
        else:
            kept.append(number.to(weights.dtype).contiguous())
            numbers += [0.0, kept[-1].data_ptr()]
    compiled(*weights.shape, *(t.data_ptr() for t in tensors), *numbers)
    return True


@functools.cache
def _compiled(dtype: torch.dtype) -> Any:
    """Return the compiled function, None where there is no compiler."""
    library = native.load(SOURCES, native.dtype_name(dtype), FUNCTIONS)
    return None if isinstance(library, str) else library.adam
