"""Arrays that were costly to make, kept on the disk and found again by a hash of what they were made from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trainwell.values.atomic import atomic_write_text, temporary_beside
from trainwell.values.journal import dumps, loads

FREE_SHARE = 0.1
"""At most this share of the free disk is taken by one array."""


def folder() -> Path:
    """Return where arrays are kept: `$TRAINWELL_CACHE`, or `~/.cache/trainwell`."""
    named = os.environ.get("TRAINWELL_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(named) if named else Path(base) / "trainwell"


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
