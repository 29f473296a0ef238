"""The journal of a run: one JSON object a line, appended, each line sealed by a checksum.

A line reads `{"event": "epoch", "time": 1700000000.0, "epoch": 3, ..., "crc": "0f3a99c1"}`. The checksum
(crc32) covers every byte before `, "crc"`, so that a line that was torn by a kill or damaged on the disk is
recognised, and every line remains plain JSON for other programs.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import time
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from trainwell.values.errors import RunError

EVENTS = (
    "started", "epoch", "checkpoint", "warning", "interrupted", "resumed", "stopped", "finished", "failed", "treated",
    "study", "asked", "told",
)  # fmt: skip
"""Everything that a journal may tell."""

_WORD = re.compile(r"(\\*)(nan|inf|-inf)")
_SEAL = re.compile(rb', "crc": "([0-9a-f]{8})"\}')
_SEAL_BYTES = len(', "crc": "00000000"}')


def to_plain(value: Any) -> Any:
    """Return the value as what JSON holds exactly: nan and inf become words, such words get a backslash.

    Raises:
        TypeError: a part is neither number, text, list, mapping nor None, or a key is not text.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return "\\" + value if _WORD.fullmatch(value) else value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Mapping):
        if not all(isinstance(k, str) for k in value):
            raise TypeError(f"keys must be text to survive JSON, got {list(value)!r}.")
        return {k: to_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(v) for v in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a scalar of numpy or torch
        return to_plain(value.item())
    raise TypeError(f"{type(value).__name__} cannot be written as JSON: {value!r}.")


def from_plain(value: Any) -> Any:
    """Undo `to_plain` (tuples have become lists)."""
    if isinstance(value, str):
        word = _WORD.fullmatch(value)
        if word is None:
            return value
        return value[1:] if word[1] else float(value)
    if isinstance(value, dict):
        return {k: from_plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [from_plain(v) for v in value]
    return value


def dumps(value: Any, indent: int | None = None) -> str:
    """Return the value as JSON text in ASCII from which `loads` makes the same value, bit for bit."""
    return json.dumps(to_plain(value), allow_nan=False, indent=indent)


def loads(text: str | bytes) -> Any:
    """Return the value that `dumps` wrote."""
    return from_plain(json.loads(text))


def seal(value: Mapping[str, Any]) -> bytes:
    """Return a mapping as one line of JSON that ends in the checksum of all that stands before."""
    assert value, "a sealed line needs content"
    assert "crc" not in value, "the key 'crc' is the seal's own"
    body = dumps(value)[:-1].encode()
    return body + b', "crc": "%08x"}' % zlib.crc32(body)


def unseal(line: bytes) -> dict[str, Any]:
    """Return the mapping that `seal` wrote.

    Raises:
        ValueError: a byte differs from what was written.
    """
    body, end = line[:-_SEAL_BYTES], line[-_SEAL_BYTES:]
    match = _SEAL.fullmatch(end)
    if match is None:
        raise ValueError("it does not end in a checksum")
    found = b"%08x" % zlib.crc32(body)
    if match[1] != found:
        raise ValueError(f"checksum {found.decode()}, expected {match[1].decode()}")
    value = loads(body + b"}")
    if not isinstance(value, dict):
        raise ValueError("it is not an object")
    return value


class Journal:
    """A journal that is open for appending; what a kill tore from its last line is cut off first.

    Attributes:
        notes: what had to be mended when it was opened, for the caller to print.
        failure: why a line could not be written, of the first that failed; empty while all went well.

    Raises:
        RunError: the file cannot be opened for writing.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.failure = Path(path), ""
        self.notes: list[str] = []
        self._torn_at: int | None = None
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            self._mend()
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {error.strerror}.") from error

    def _mend(self) -> None:
        """End the file after its last whole line."""
        data = self.path.read_bytes()
        end = data.rfind(b"\n") + 1
        tail = data[end:]
        if not tail:
            return
        try:
            unseal(tail)
        except ValueError:
            os.ftruncate(self._file, end)
            self.notes.append(f"{self.path}: the last line was torn ({len(tail)} bytes); cut off.")
        else:
            os.write(self._file, b"\n")

    def append(self, event: str, **fields: Any) -> bool:
        """Write one line and return whether it stands in the file; a full disk never raises.

        Args:
            event: one of EVENTS.
            fields: anything that `to_plain` accepts; `time` (seconds since 1970) is added.
        """
        assert event in EVENTS, f"unknown event '{event}'"
        line = seal({"event": event, "time": round(time.time(), 3), **fields}) + b"\n"
        if not self._cut():
            return False
        start = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, line)  # one call, so that a kill leaves the line or nothing
            if written == len(line):
                return True
            reason = "the disk is full"
        except OSError as error:
            reason = str(error.strerror)
        self.failure = self.failure or reason
        self._torn_at = start
        self._cut()
        return False

    def _cut(self) -> bool:
        """Take a part of a line away that a full disk left; return whether the file ends in a whole line."""
        if self._torn_at is not None:
            try:
                os.ftruncate(self._file, self._torn_at)
            except OSError:
                return False
            self._torn_at = None
        return True

    def sync(self) -> bool:
        """Wait until all lines are on the disk; return False if the disk refuses."""
        try:
            os.fsync(self._file)
        except OSError as error:
            self.failure = self.failure or str(error.strerror)
            return False
        return True

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._file >= 0:
            handle, self._file = self._file, -1
            with contextlib.suppress(OSError):  # the lines are written; nothing more can be done
                os.close(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_journal(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the events of a journal and one warning for each thing that is wrong with it.

    A torn last line is dropped; damaged lines are named and skipped. A journal that is missing has no events.

    Raises:
        RunError: the file is there but cannot be read.
    """
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], [f"{path} is missing."]
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.") from error
    events: list[dict[str, Any]] = []
    damaged: list[int] = []
    torn = 0
    for number, line in enumerate(lines, start=1):
        try:
            events.append(unseal(line))
        except ValueError:
            if number < len(lines):
                damaged.append(number)
            else:
                torn = len(line)  # an empty last piece is the end of a whole file
    warnings = []
    if damaged:
        more = f" and {len(damaged) - 10} more" if len(damaged) > 10 else ""
        named = ", ".join(map(str, damaged[:10])) + more
        warnings.append(f"{path}: damaged and skipped: line{'s' * (len(damaged) > 1)} {named}.")
    if torn:
        warnings.append(f"{path}: the last line was torn ({torn} bytes); skipped.")
    return events, warnings


def epochs(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the last row of each epoch, in the order of the epochs.

    A resumed run writes again, and perhaps otherwise, what lay after its checkpoint.
    """
    last: dict[int, dict[str, Any]] = {}
    for e in events:
        if e.get("event") == "resumed":
            last = {n: row for n, row in last.items() if row.get("step", 0) <= e.get("step", math.inf)}
        elif e.get("event") == "treated":
            last = {n: row for n, row in last.items() if row.get("step", 0) <= e.get("back_to", math.inf)}
        elif e.get("event") == "epoch":
            last[e["epoch"]] = dict(e)
    return [last[epoch] for epoch in sorted(last)]
