"""A fingerprint of the content of a data set, so that a run can tell whether it sees the same data again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from trainwell.data.cells import Cells

WHOLE_BYTES = 256 << 20
"""Arrays up to this size are hashed whole; of larger ones every k-th block, first and last included."""
BLOCK_BYTES = 64 << 10


def fingerprint(described: Any, columns: Mapping[str, Cells], arrays: Mapping[str, np.ndarray]) -> str:
    """Return 32 hexadecimal digits that depend on names, dtypes, values and order.

    Args:
        described: plain data that belongs to the content, e.g. the name of the target.
        columns: cells by name. arrays: further arrays by name, e.g. the rows of each part.
    """
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode())
    for name, cells in columns.items():
        words = [len(cells.words), *cells.words]
        digest.update(
            json.dumps([name, cells.form, cells.dtype, words], ensure_ascii=False).encode(errors="replace")
        )
        _add(digest, cells.values)
    for name, array in arrays.items():
        _add_array(digest, name, array)
    return digest.hexdigest()[:32]


def _add_array(digest: Any, name: str, array: np.ndarray) -> None:
    digest.update(json.dumps([name, str(array.dtype), list(array.shape)]).encode())
    _add(digest, array)


def _add(digest: Any, array: np.ndarray) -> None:
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    if len(data) <= WHOLE_BYTES:
        digest.update(data)
        return
    stride = BLOCK_BYTES * -(-len(data) // WHOLE_BYTES)
    for start in [*range(0, len(data) - BLOCK_BYTES, stride), len(data) - BLOCK_BYTES]:
        digest.update(data[start : start + BLOCK_BYTES])
