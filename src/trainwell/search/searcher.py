"""What a searcher is: it is told results and asked for batches of configurations."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from trainwell.search.space import Config, Space
from trainwell.values.errors import UsageError, did_you_mean

SEARCHERS: dict[str, type[Searcher]] = {}
"""Every searcher by name; filled when the classes are made."""


@dataclasses.dataclass(frozen=True)
class Told:
    """What is known of a trial.

    Args:
        value: what is minimised, at the end of the training; NaN or infinite for one that failed; None while it runs.
        spread: standard deviation of a value that is a forecast, because the training was paused; else 0.
    """

    number: int
    config: Config
    value: float | None = None
    spread: float = 0.0

    @property
    def is_good(self) -> bool:
        return self.value is not None and math.isfinite(self.value)


class Searcher:
    """Proposes configurations.

    A proposal is a function of the seed, its number and what was told before its generation; nothing is drawn from a
    stream that goes on. So a study that was killed proposes after a resume what it would have proposed, and
    25 + 25 trials are 50.

    Args:
        batch: trials of a generation; they are proposed knowing the same results.
    """

    name: ClassVar[str] = ""
    default_batch: ClassVar[int] = 64

    def __init_subclass__(cls) -> None:
        if not cls.name:
            return
        other = SEARCHERS.get(cls.name)
        if other is not None and other.__module__ != cls.__module__:
            raise UsageError(f"two searchers are called '{cls.name}': {other.__module__}, {cls.__module__}.")
        SEARCHERS[cls.name] = cls

    def __init__(self, space: Space, seed: int = 0, batch: int | None = None) -> None:
        self.space, self.seed = space, seed
        self.batch = batch or self.default_batch

    def propose(self, told: Sequence[Told], start: int, count: int) -> list[Config]:
        """Return the configurations of the trials `start` to `start + count - 1`, no two of them equal.

        Fewer where the space is exhausted. The first k of them do not depend on `count`.

        Args:
            told: the trials before `start`, those that still run (value None) included.
            start: the first number of a generation, a multiple of `batch`.
        """
        raise NotImplementedError

    @property
    def state(self) -> dict[str, Any]:
        """Return, as plain data, what the next proposals depend on beside what was told."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""


def make_searcher(name: str, space: Space, seed: int = 0, batch: int | None = None) -> Searcher:
    """Return the searcher of this name; `optuna:tpe` is the sampler `tpe` of the searcher `optuna`.

    Raises:
        UsageError: there is none.
    """
    import trainwell.search.searchers  # noqa: F401  (fills the registry)

    head, _, inner = name.partition(":")
    if head not in SEARCHERS:
        near = did_you_mean(head, SEARCHERS)
        raise UsageError(f"--searcher {name}: expected one of {', '.join(SEARCHERS)}.{near}")
    if inner:
        return SEARCHERS[head](space, seed, batch, inner)  # type: ignore[call-arg]
    return SEARCHERS[head](space, seed, batch)
