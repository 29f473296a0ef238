"""Several sources in one call, such as what a shell makes of `photos/*.jpg`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainwell.data.read import SUFFIXES, existing
from trainwell.data.samples.tree import is_tree

WHOLE = (*SUFFIXES, ".npz")
"""Endings of files that hold many rows."""


def grouped(sources: Sequence[Any], *, of_files: bool) -> list[Any]:
    """Return what is read together: single files that follow each other as one list, all else alone, in their order.

    Args:
        of_files: whether a row is a file, as of images and sounds.

    Raises:
        UsageError: there is no such file.
    """
    found: list[Any] = []
    for source in sources:
        if isinstance(source, str | Path):
            existing(Path(source))
        if not (of_files and is_single(source)):
            found.append(source)
        elif found and isinstance(found[-1], list):
            found[-1].append(source)
        else:
            found.append([source])
    return found


def is_single(source: Any) -> bool:
    """Whether a source is a file that is one row."""
    return isinstance(source, str | Path) and not is_tree(source) and not str(source).lower().endswith(WHOLE)


def named_rows(source: Any, names: Sequence[str], rows: int) -> list[str]:
    """Return what each row of one of several sources is called: its file, or the table that it stands in."""
    if len(names) != rows:
        return [str(source) if isinstance(source, str | Path) else ""] * rows
    return [str(Path(source) / n) for n in names] if is_tree(source) else list(names)
