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
FUNCTIONS = (("adam", (ctypes.c_long,) * 2 + (ctypes.c_void_p,) * 8, None),)


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
    if weights.ndim != 2 or not native.is_wanted(weights):
        return False
    library = native.load(SOURCES, native.dtype_name(weights.dtype), FUNCTIONS)
    if isinstance(library, str):
        return False
    take1, take2 = ((1 - beta) / (1 - beta**step) for beta in (doses.beta1, doses.beta2))
    numbers = [_for_each(weights, number) for number in (lr, take1, take2, doses.eps)]
    tensors = (weights, grads.flat, state["mean"], state["mean_square"], *numbers)
    library.adam(*weights.shape, *(t.data_ptr() for t in tensors))
    return True


def _for_each(weights: Tensor, number: float | Tensor) -> Tensor:
    """Return a number for each lane, (K, 1)."""
    if isinstance(number, float | int):
        return weights.new_full((len(weights), 1), number)
    return number.to(weights.dtype).expand(len(weights), 1).contiguous()


@functools.cache
def _many_steps(device: torch.device) -> Tensor:
    import torch

    return torch.tensor(1e9, device=device)
