"""A Dose is one number (or choice) of a technique: its default, range, scale, unit and the value that turns it off."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from trainwell.values.errors import DoseError


@dataclasses.dataclass(frozen=True)
class Dose:
    """One number of a technique.

    Args:
        default: the value when none is given.
        low, high: the closed range that is allowed and searched. `None` for a choice.
        log: search on a logarithmic scale.
        off: the value at which the technique does nothing; `None` when there is none.
        unit: what the number counts, in words.
        integer: only whole numbers.
        options: the allowed words of a choice; empty for a number.
    """

    default: Any
    low: float | None = None
    high: float | None = None
    log: bool = False
    off: Any = None
    unit: str = ""
    integer: bool = False
    options: tuple[str, ...] = ()

    def parse(self, text: str, where: str) -> Any:
        """Turn a command-line word into a value of this dose and check it."""
        if self.options:
            return self.check(text, where)
        try:
            value = float(text)
        except ValueError:
            raise DoseError(f"{where} must be a number, got '{text}'.") from None
        return self.check(int(value) if self.integer and value == int(value) else value, where)

    def check(self, value: Any, where: str) -> Any:
        """Return the value if it is allowed, else raise DoseError naming `where`."""
        if self.options:
            if value not in self.options:
                raise DoseError(f"{where} must be one of {', '.join(self.options)}, got {value!r}.")
            return value
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            raise DoseError(f"{where} must be a number, got {value!r}.")
        if self.off is not None and value == self.off:
            return value
        if self.integer and value != int(value):
            raise DoseError(f"{where} must be a whole number, got {value!r}.")
        low, high = self.low, self.high
        if (low is not None and value < low) or (high is not None and value > high):
            off = "" if self.off is None else f" or be {self.off} (off)"
            raise DoseError(f"{where} must lie in [{low:g}, {high:g}]{off}, got {value!r}.")
        return value


def dose(
    default: float,
    *,
    low: float,
    high: float,
    log: bool = False,
    off: float | None = None,
    unit: str = "",
    integer: bool = False,
) -> Any:
    """Declare a field of a technique as a number with a range."""
    spec = Dose(default, low, high, log, off, unit, integer)
    return dataclasses.field(default=default, metadata={"dose": spec})


def choice(default: str, *options: str, unit: str = "", off: str | None = None) -> Any:
    """Declare a field of a technique as one of several words."""
    spec = Dose(default, off=off, unit=unit, options=options)
    return dataclasses.field(default=default, metadata={"dose": spec})


def doses_of(cls: type) -> Mapping[str, Dose]:
    """Return the doses of a dataclass by field name, in the order of declaration."""
    return {f.name: f.metadata["dose"] for f in dataclasses.fields(cls) if "dose" in f.metadata}
