"""Keeps batches from all over a stream of unknown length: a validation may come sorted by its labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Thinned(Generic[T]):
    """Hold every n-th batch, with n doubled whenever there are too many rows.

    Two streams of the same batches keep the same ones.

    Args:
        most: rows that may be held; a single batch may have more.

    Attributes:
        items: what is held. numbers: the place of each in the stream. seen: batches that were offered.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.items: list[T] = []
        self.numbers: list[int] = []
        self._rows: list[int] = []
        self.seen, self._stride = 0, 1

    def __len__(self) -> int:
        return len(self.items)

    def offer(self, rows: int, make: Callable[[], T | None]) -> None:
        """Take the next batch of the stream, if its turn has come; only then it is made, and `None` is passed over."""
        number, self.seen = self.seen, self.seen + 1
        item = make() if number % self._stride == 0 else None
        if item is None:
            return
        self.items.append(item)
        self.numbers.append(number)
        self._rows.append(rows)
        while sum(self._rows) > self.most and len(self.items) > 1:
            self._stride *= 2
            stay = [i for i, n in enumerate(self.numbers) if n % self._stride == 0]
            self.items = [self.items[i] for i in stay]
            self.numbers, self._rows = [self.numbers[i] for i in stay], [self._rows[i] for i in stay]
