"""Adam in one pass over the memory: by torch's fused kernel, or with numbers of every lane by a compiled one."""

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


def in_one_pass(
    doses: Any, out: Tensor, grads: Flat, state: dict[str, Tensor], step: Any, lr: float | None
) -> bool:
    """Subtract `lr` times the direction of Adam from `out`, or put the direction there where `lr` is None.

    The kernel corrects by 1 - beta^steps. The moments here are corrected already: it is given the memories of this
    step, and so many steps that nothing is left to correct. It takes a third of the time of the passes one by one.

    Returns False, and does nothing, where it cannot: on devices that lack the kernel, and with doses by lane.
    """
    import torch

    numbers = doses.beta1 + doses.beta2 + doses.eps
    has_kernel = grads.flat.is_cpu or grads.flat.is_cuda
    if not (has_kernel and isinstance(step, int) and isinstance(numbers, float)):
        return False
    if lr is None:
        out.zero_()
    memory1 = 1 - (1 - doses.beta1) / (1 - doses.beta1**step)
    memory2 = 1 - (1 - doses.beta2) / (1 - doses.beta2**step)
    torch._fused_adam_(
        [out], [grads.flat], [state["mean"]], [state["mean_square"]], [], [_many_steps(out.device)],
        lr=-1.0 if lr is None else lr, beta1=memory1, beta2=memory2, weight_decay=0.0, eps=doses.eps, amsgrad=False,
        maximize=False,
    )  # fmt: skip
    return True


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


@functools.cache
def _many_steps(device: torch.device) -> Tensor:
    import torch

    return torch.tensor(1e9, device=device)
