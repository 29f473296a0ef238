"""One live line while a study goes on: a line that is written over in a terminal, a line now and then in a pipe."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from trainwell.app.console import Console
from trainwell.search.study import COMPLETE, ENDED, Study

if TYPE_CHECKING:
    from trainwell.app.tuning.search import Search

PIPE_EVERY_S, TERMINAL_EVERY_S = 10.0, 0.1

BEST = 5
"""Trials whose values are shown as an interval: what lies inside is no difference to build on."""


class Live:
    """Shows how a stage of a study goes on.

    Args:
        name: of the stage. shown: `time.monotonic()` when something was last shown.
    """

    def __init__(self, console: Console, name: str, shown: float) -> None:
        self._console, self._name, self._last = console, name, shown
        self._status: Any = None

    def __enter__(self) -> Self:
        if self._console._stream is sys.stderr and os.isatty(2):
            from rich.console import Console as Terminal

            self._status = Terminal(file=sys.stderr).status(f"{self._name:9s} {self.line()}")
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def update(self) -> None:
        """Show where the stage stands, if it was not just shown."""
        now = time.monotonic()
        if now - self._last < (PIPE_EVERY_S if self._status is None else TERMINAL_EVERY_S):
            return
        self._last = now
        if self._status is not None:
            self._status.update(f"{self._name:9s} {self.line()}")
        else:
            self._console.say(f"{self._name:9s} {self.line()}")

    def line(self) -> str:
        """Return where the stage stands."""
        raise NotImplementedError


class LiveSearch(Live):
    """Shows trials, trials per second, the best so far, the rungs and the time left.

    Args:
        began: `time.monotonic()` when all began. end: when the judgement is to end.

    Attributes:
        before: trials that had ended before this go.
    """

    def __init__(self, console: Console, study: Study, search: Search, began: float, end: float) -> None:
        super().__init__(console, "search", began)
        self._study, self._search, self._end = study, search, end
        self._start, self.before = time.monotonic(), self._ended()

    def _ended(self) -> int:
        return sum(t.state in ENDED for t in self._study.trials)

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._console.say(f"search    {', '.join(self._parts())}")

    def line(self) -> str:
        deadline, now = self._search.deadline, time.monotonic()
        if deadline is None:
            return ", ".join(self._parts())
        if now > self._end - 0.5:
            return ", ".join([*self._parts(), "time is up"])
        left = f"{span(deadline - now)} left + " if deadline > now + 0.5 else ""
        return ", ".join([*self._parts(), f"{left}{span(self._end - max(now, deadline))} to confirm"])

    def _parts(self) -> list[str]:
        now, ended = time.monotonic(), self._ended()
        pace = (ended - self.before) / max(1e-9, now - self._start)
        parts = ["1 trial" if ended == 1 else f"{ended:,} trials", f"{pace:.1f}/s"]
        task, best, halving = self._search.work.prepared.task, self._study.best, self._search.halving
        if best is not None:
            sign, name = (-task.metric_sign, task.metric) if task else (1, "val_loss")
            parts.append(f"best {name} {sign * best.value:.4f} (trial {best.number}){self._interval(sign)}")
        if halving is not None and halving.rungs:
            parts.append(f"rungs {','.join(map(str, halving.rungs))}")
        return parts

    def _interval(self, sign: float) -> str:
        top = sorted(t.value for t in self._study.trials if t.state == COMPLETE)[:BEST]
        if len(top) < 2:
            return ""
        low, high = sorted((sign * top[0], sign * top[-1]))
        return f", best {len(top)} in [{low:.4f}, {high:.4f}]"


class LiveJudging(Live):
    """Shows how many of the trainings that judge the finalists have ended."""

    def __init__(self, console: Console, trainings: int, end: float) -> None:
        super().__init__(console, "confirm", time.monotonic())
        self._trainings, self._end, self._done = trainings, end, 0

    def one(self) -> None:
        """Count one training."""
        self._done += 1
        self.update()

    def line(self) -> str:
        left = self._end - time.monotonic()
        return f"{self._done} of {self._trainings} trainings, {f'{span(left)} left' if left > 0.5 else 'time is up'}"


def span(seconds: float) -> str:
    """Return a time in words: seconds, or minutes from two on."""
    if seconds < 1:
        return "under 1 s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
