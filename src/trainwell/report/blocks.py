"""What a section of a report is made of: plain values, so that one template draws and escapes them all."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

Cell = str | int | float | None


class Ticked(str):
    """Words of ours in which `these marks` stand around code."""

    __slots__ = ()


PICTURE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+=*")
"""What may be shown as a picture; anything else is left out."""
STACKED_COLUMNS, STACKED_LETTERS = 4, 26

_NUMBER = re.compile(r"-|[<>]?=? ?-?[\d,]*\.?\d+(e[+-]?\d+)?( ?(%|s|ms))?")

TONES = ("", "good", "warning", "critical")


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph; its tone says how grave it is."""

    words: str
    tone: str = ""
    kind: str = "text"

    def __post_init__(self) -> None:
        assert self.tone in TONES, self.tone


@dataclasses.dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    words: str
    kind: str = "heading"


@dataclasses.dataclass(frozen=True)
class Items:
    """A list of sentences; each may carry a command to copy, and lead to an address of the same page's server."""

    rows: Sequence[tuple[str, str]]
    links: Sequence[str] = ()
    kind: str = "items"


@dataclasses.dataclass(frozen=True)
class Tile:
    """One number of the summary with its name and a note."""

    label: str
    value: str
    note: str = ""
    tone: str = ""


@dataclasses.dataclass(frozen=True)
class Tiles:
    """The numbers that are read first."""

    tiles: Sequence[Tile]
    kind: str = "tiles"


@dataclasses.dataclass(frozen=True)
class Grid:
    """A table; columns of numbers stand to the right. With empty words in the head, names of facts and the facts.

    Args:
        folded: the words of a line that unfolds it; empty where it is shown at once.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    folded: str = ""
    kind: str = "grid"

    @property
    def is_stacked(self) -> bool:
        """Whether a narrow screen shows every row as a list of facts: many columns, and long words in them."""
        long = any(isinstance(v, str) and len(v) > STACKED_LETTERS for row in self.rows for v in row)
        return any(self.head) and len(self.head) >= STACKED_COLUMNS and long

    @property
    def is_numeric(self) -> list[bool]:
        """Whether each column holds numbers only."""
        columns = range(len(self.head))
        return [
            any(row[i] is not None for row in self.rows) and all(_is_number(row[i]) for row in self.rows)
            for i in columns
        ]


@dataclasses.dataclass(frozen=True)
class Code:
    """Lines to copy."""

    lines: str
    folded: str = ""
    kind: str = "code"


@dataclasses.dataclass(frozen=True)
class Chart:
    """A picture that `charts.js` draws.

    Args:
        form: which picture: `lines`, `heat`, `bars`, `intervals`, `matrix`, `points`, `parallel`.
        title: what it shows, read aloud in its place too.
        data: what its form needs, plain values; numbers that are not finite must be `None`.
        note: how to read it, in one or two sentences.
        numbers: the same as a table, folded below the picture.
        is_small: whether two of them stand side by side where there is room.
    """

    form: str
    title: str
    data: Mapping[str, Any]
    note: str = ""
    numbers: Grid | None = None
    is_small: bool = False
    kind: str = "chart"


@dataclasses.dataclass(frozen=True)
class Card:
    """One example: a picture or a text, and what is told of it.

    Args:
        title: its name.
        facts: names and values.
        picture: a PNG as a data address; anything else is left out.
        text: the example itself, where it is a text.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    picture: str = ""
    text: str = ""

    def __post_init__(self) -> None:
        if self.picture and not PICTURE.fullmatch(self.picture):
            object.__setattr__(self, "picture", "")


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Examples side by side."""

    cards: Sequence[Card]
    kind: str = "gallery"


@dataclasses.dataclass(frozen=True)
class Case:
    """One finding: what it is, and everything that shows and treats it."""

    title: str
    badge: str
    tone: str
    blocks: Sequence[Block]
    kind: str = "case"


Block = Text | Heading | Items | Tiles | Grid | Code | Chart | Gallery | Case


def _is_number(value: Cell) -> bool:
    return _NUMBER.fullmatch(value) is not None if isinstance(value, str) else True
