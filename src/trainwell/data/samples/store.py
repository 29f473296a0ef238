"""Arrays that were costly to make, kept on the disk and found again by a hash of what they were made from."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trainwell.values.atomic import atomic_write_text, temporary_beside
from trainwell.values.cache import folder
from trainwell.values.errors import DataError
from trainwell.values.journal import dumps, loads

FREE_SHARE = 0.1
"""At most this share of the free disk is taken by one array."""
MEMORY_SHARE, BLANK_SHARE = 0.25, 0.5
"""Of the available memory, above which pixels go to the disk, and of the free disk, which they may take there."""


def find(kind: str, key: str) -> tuple[np.ndarray, dict[str, Any]] | None:
    """Return an array and what was written of it, or None. Its pages are read when they are used."""
    path = folder() / kind / key
    try:
        about = loads(path.with_suffix(".json").read_bytes())
        array = np.load(path.with_suffix(".npy"), mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if not isinstance(about, dict) or list(array.shape) != about.get("shape"):
        return None
    return array, about


def available_bytes() -> int:
    """Return the memory that can be had without swapping; a large number where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 1 << 40


def blank(shape: tuple[int, ...]) -> np.ndarray:
    """Return bytes to be filled, uint8: in memory, or in a file where they would take too much of it.

    The file has no name, so that it is gone when the process has ended, whatever ended it.

    Raises:
        DataError: neither memory nor disk has the room.
    """
    size, have = int(np.prod(shape)), available_bytes()
    if size <= MEMORY_SHARE * have:
        return np.empty(shape, np.uint8)
    place = folder()
    try:
        place.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(place).free
        if size <= BLANK_SHARE * free:
            with tempfile.TemporaryFile(dir=place) as file:
                file.truncate(size)
                return np.memmap(file, np.uint8, "r+", shape=shape)
    except OSError as error:
        raise DataError(
            f"{size >> 20:,} MiB of pixels cannot be written to {place}: {error.strerror}."
        ) from None
    raise DataError(
        f"the pixels take {size >> 20:,} MiB; memory has {have >> 20:,} MiB and the disk of {place} {free >> 20:,} MiB. "
        "Take a smaller --size, or let $TRAINWELL_CACHE name a folder on a larger disk."
    )


def keep(kind: str, key: str, array: np.ndarray, about: Mapping[str, Any]) -> bool:
    """Keep an array, if the disk has room; say whether it was kept. A disk that refuses is no error."""
    path = folder() / kind / key
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if array.nbytes > FREE_SHARE * shutil.disk_usage(path.parent).free:
            return False
        temporary = temporary_beside(path.with_suffix(".npy"))
        try:
            with open(temporary, "wb") as file:
                np.save(file, array, allow_pickle=False)
            os.replace(temporary, path.with_suffix(".npy"))
        finally:
            temporary.unlink(missing_ok=True)
        atomic_write_text(path.with_suffix(".json"), dumps({**about, "shape": list(array.shape)}) + "\n")
    except OSError:
        return False
    return True
