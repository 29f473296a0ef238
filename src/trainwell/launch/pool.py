"""Where groups of trainings run: what processes and Ray have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

Function = Callable[[Any, Any, Callable[[], bool]], Any]
"""(what all groups share, a group, whether to end) -> its result; a function at the top of a module."""

MOST_TRIES = 3
"""Times that a group is begun whose worker dies, until it is given up: perhaps it is the group that kills."""


@dataclasses.dataclass(frozen=True)
class Lost:
    """What comes back for a group whose workers died again and again."""

    reason: str


class Pool(Protocol):
    """Runs groups on workers and hands back what became of them, in the order in which they end.

    Attributes:
        workers: groups that run at a time.
    """

    workers: int

    def run(
        self, groups: Sequence[Any], stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, Any]]:
        """Yield the index of a group and its result, or `Lost`.

        Args:
            stopped: once it says so, no group begins, and those that run are asked to end.
        """
        ...

    def close(self) -> None:
        """Let the workers go."""
        ...
