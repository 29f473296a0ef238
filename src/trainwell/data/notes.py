"""What the data room has to say: every inference, drop and suspicion, as plain values."""

from __future__ import annotations

import dataclasses
from typing import Any

INFO, WARNING = "info", "warning"


@dataclasses.dataclass(frozen=True)
class Note:
    """One thing said about the data.

    Args:
        severity: `info` or `warning`.
        code: a stable word for programs, e.g. `leak`, `duplicates`, `dropped`.
        message: a sentence for people.
        column: the column it is about; empty when it is about the whole table.
    """

    severity: str
    code: str
    message: str
    column: str = ""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def info(code: str, message: str, column: str = "") -> Note:
    """Make a note that only informs."""
    return Note(INFO, code, message, column)


def warning(code: str, message: str, column: str = "") -> Note:
    """Make a note that the user should act on."""
    return Note(WARNING, code, message, column)


def named(names: list[str], most: int = 6) -> str:
    """Return the names as `'a', 'b' and 3 more`."""
    shown = ", ".join(f"'{n}'" for n in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
