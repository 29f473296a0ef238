"""Keeps copies of tensors in pages of their own, apart from the heap in which the loop's tensors come and go.

A copy that stays on the heap takes a hole which a tensor of the loop had: from then on that one lies elsewhere, the heap
grows and falls into pieces, and every later step of the loop is slower for it.
"""

from __future__ import annotations

import mmap
import sys

import torch
from torch import Tensor

BLOCK_BYTES = 1 << 20
"""Memory that is taken at once; a larger copy takes as much as it needs."""

ALIGN = 64
"""Bytes of a cache line, at whose beginning every copy starts."""


class Shelf:
    """Hands out memory from anonymous maps; a map goes when the last copy in it does."""

    def __init__(self) -> None:
        self._block: mmap.mmap | None = None
        self._used = 0

    @staticmethod
    def fits(value: Tensor) -> bool:
        """Whether a tensor can lie here: a plain, contiguous one on the CPU."""
        is_plain = type(value) is Tensor and value.is_cpu and value.layout == torch.strided
        return is_plain and value.numel() > 0 and value.is_contiguous()

    def keep(self, value: Tensor) -> Tensor:
        """Return a copy without a graph; an ordinary clone where it does not fit."""
        value = value.detach()
        if not self.fits(value):
            return value.clone()
        num_bytes = value.numel() * value.element_size()
        if self._block is None or self._used + num_bytes > len(self._block):
            self._block, self._used = _memory(max(num_bytes, BLOCK_BYTES)), 0
        flat = torch.frombuffer(self._block, dtype=value.dtype, count=value.numel(), offset=self._used)
        self._used += -(-num_bytes // ALIGN) * ALIGN
        return flat.view(value.shape).copy_(value)


def _memory(num_bytes: int) -> mmap.mmap:
    """Return memory of this process's own: by default a map is shared with forked ones."""
    if sys.platform == "win32":
        return mmap.mmap(-1, num_bytes)
    return mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
