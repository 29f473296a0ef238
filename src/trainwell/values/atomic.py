"""Write a file whole or not at all: a temporary file beside it, synced, then renamed over the old one."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

_COUNT = itertools.count()


def temporary_beside(path: Path) -> Path:
    """Return a name beside `path` that no other live process uses; a dead one may have left it."""
    return path.with_name(f".{path.name}.tmp-{os.getpid()}-{next(_COUNT)}")


def atomic_write_bytes(path: Path, data: bytes, durable: bool = True) -> None:
    """Replace a file by these bytes: a kill or a full disk leaves the old or the new, never a part.

    Args:
        durable: wait for the disk, so that a loss of power cannot undo it; `False` where it may.

    Raises:
        OSError: the disk is full or cannot be written; the old file is untouched, the temporary file removed.
    """
    temporary = temporary_beside(path)
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if durable:
        sync_folder(path.parent)


def atomic_write_text(path: Path, text: str, durable: bool = True) -> None:
    """Replace a file by this text, in UTF-8; as `atomic_write_bytes`."""
    atomic_write_bytes(path, text.encode(), durable)


def sync_folder(folder: Path) -> None:
    """Wait until the names in the folder (what was made, renamed, removed) are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
