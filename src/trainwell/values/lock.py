"""A lock on a file that the death of its holder opens, however it died."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from trainwell.values.errors import RunError

_HELD: set[int] = set()
"""The open lock files of this process; a forked child (a worker that loads data) must let go of them."""


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock at `path`, or raise.

    Args:
        what: the beginning of the message, e.g. `runs/x is being trained`.

    Raises:
        RunError: another process (or another part of this one) holds it; says which.
    """
    _let_children_go()
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}.") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(handle)
        os.close(handle)
        raise RunError(f"{what} by {holder}. Wait for it or stop it, or give another folder.") from None
    except OSError:
        pass  # a file system without locks: nothing can be guarded, and nothing is wrong
    _HELD.add(handle)
    try:
        with contextlib.suppress(
            OSError
        ):  # a full disk costs the others the name of the holder, not us the run
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
        yield
    finally:
        if handle in _HELD:  # not in a forked child
            _HELD.remove(handle)
            os.close(handle)


def _holder(handle: int) -> str:
    try:
        found = json.loads(os.pread(handle, 4096, 0))
        elsewhere = "" if found["host"] == socket.gethostname() else f" on {found['host']}"
        return f"process {found['pid']}{elsewhere}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


@functools.cache
def _let_children_go() -> None:
    os.register_at_fork(after_in_child=_close_all)


def _close_all() -> None:
    while _HELD:
        os.close(_HELD.pop())
