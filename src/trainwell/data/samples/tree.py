"""The files of a folder or an archive, read without harm."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainwell.values.errors import DataError

MAX_FILE_BYTES = 256 << 20
"""A larger file is no single item; it is named and skipped."""


class BadItem(Exception):
    """An item that cannot be used; the message says why."""


class Tree:
    """The files of a folder or a .zip archive, by their names in it; nothing is unpacked to the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            self._zip = None
            names, folders = _walk(path)
        else:
            try:
                self._zip = zipfile.ZipFile(path)
            except (zipfile.BadZipFile, OSError) as error:
                raise DataError(f"{path} cannot be read as a zip archive: {error}.") from None
            held = [n for n in self._zip.namelist() if not _is_hidden(n)]
            names, folders = [n for n in held if n[-1] != "/"], [n[:-1] for n in held if n[-1] == "/"]
        self.root = _common_root(names) if self._zip is not None else ""
        self.names = sorted(n[len(self.root) :] for n in names)
        self.folders = sorted(n[len(self.root) :] for n in folders)

    def read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            BadItem: it is too large, no regular file, or cannot be read.
        """
        try:
            if self._zip is not None:
                entry = self._zip.getinfo(self.root + name)
                _check_size(entry.file_size)
                return self._zip.read(entry)
            return read_file(self.path / name)
        except (FileNotFoundError, KeyError):
            raise BadItem("is named, but there is no such file") from None
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            raise BadItem(f"cannot be read: {error}") from None


def _walk(path: Path) -> tuple[list[str], list[str]]:
    """Return the names of all files and of all folders."""
    names: list[str] = []
    within: list[str] = []
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__MACOSX")))
        inner = os.path.relpath(folder, path).replace(os.sep, "/") + "/"
        base = "" if inner == "./" else inner
        names += (base + f for f in sorted(files) if not f.startswith("."))
        within += (base + f for f in folders)
    return names, within


def _is_hidden(name: str) -> bool:
    return any(p.startswith((".", "__MACOSX")) for p in name.split("/"))


def _common_root(names: Sequence[str]) -> str:
    """Return the folder that holds everything, with its slash, or nothing."""
    firsts = {n.split("/", 1)[0] + "/" for n in names}
    return firsts.pop() if len(firsts) == 1 and all("/" in n for n in names) else ""


def _check_size(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise BadItem(f"holds {size >> 20} MiB, more than {MAX_FILE_BYTES >> 20} MiB")
    if size == 0:
        raise BadItem("is empty")


def read_file(path: Path) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        BadItem: it is too large, empty or no regular file. OSError: it cannot be read.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise BadItem("is no regular file")
    _check_size(found.st_size)
    return path.read_bytes()


def is_tree(source: Any) -> bool:
    """Whether the source is a folder or a .zip archive."""
    if not isinstance(source, str | Path):
        return False
    path = Path(source)
    return path.is_dir() or (path.suffix.lower() == ".zip" and path.is_file())
