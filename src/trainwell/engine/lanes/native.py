"""The compiled products of small networks."""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch

from trainwell.values import native
from trainwell.values.native import is_wanted as is_wanted

SOURCES = tuple(Path(__file__).with_name(name) for name in ("block.c", "planes.c", "product.h"))

REALS = (torch.float32, torch.float64)

P, N = ctypes.c_void_p, ctypes.c_long

FUNCTIONS = (
    ("forward", (P, N, N, N, P, N, N, P, N, N, P, N), None),
    ("backward", (P, N, N, N, P, N, N, N, P, P, N, P, N), None),
    ("masks", (N, N, N, P, N, P, P, P), None),
    ("planes_forward", (P, N, N, N, P, N, N, P, N), None),
    ("planes_backward", (P, N, N, N, P, N, P, P, N, P, N), None),
    ("planes_space", (P,), N),
    ("pool_forward", (N, N, N, N, P, P, P), None),
    ("pool_backward", (N, N, N, N, P, P, P), None),
)


def load(dtype: torch.dtype) -> ctypes.CDLL | str:
    """Return the compiled functions for this dtype, or why there are none."""
    return native.load(SOURCES, native.dtype_name(dtype), FUNCTIONS)
