"""One live line while a study goes on: a line that is written over in a terminal, a line now and then in a pipe."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from trainwell.app.console import Console
from trainwell.search.study import COMPLETE, ENDED, Study

if TYPE_CHECKING:
    from trainwell.app.tuning_search import Search

PIPE_EVERY_S, TERMINAL_EVERY_S = 10.0, 0.1


class Live:
    """Shows trials, trials per second, the best so far, the time left and the rungs."""

    def __init__(
        self,
        console: Console,
        study: Study,
        search: Search,
        began: float,
    ) -> None:
        self._console, self._study, self._task = console, study, search.work.prepared.task
        self._search, self._halving = search, search.halving
        self._start, self._last = time.monotonic(), began
        self._before = self._ended()
        self._status: Any = None

    def _ended(self) -> int:
        return sum(t.state in ENDED for t in self._study.trials)

    def __enter__(self) -> Self:
        if self._console._stream is sys.stderr and os.isatty(2):
            from rich.console import Console as Terminal

            self._status = Terminal(file=sys.stderr).status("searching")
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()
        self._console.say(f"search    {self.line()}")

    def update(self) -> None:
        """Show where the study stands, if it was not just shown."""
        now = time.monotonic()
        if now - self._last < (PIPE_EVERY_S if self._status is None else TERMINAL_EVERY_S):
            return
        self._last = now
        if self._status is not None:
            self._status.update(self.line())
        else:
            self._console.say(f"search    {self.line()}")

    def line(self) -> str:
        """Return where the study stands."""
        now, ended = time.monotonic(), self._ended()
        pace = (ended - self._before) / max(1e-9, now - self._start)
        parts = [f"{ended} trials", f"{pace:.1f}/s"]
        best = self._study.best
        if best is not None:
            sign, name = (-self._task.metric_sign, self._task.metric) if self._task else (1, "val_loss")
            parts.append(
                f"best {name} {sign * best.value:.4f} (trial {best.number}) {self._interval()}".rstrip()
            )
        if self._halving is not None and self._halving.rungs:
            parts.append(f"rungs {','.join(map(str, self._halving.rungs))}")
        parts.append(f"{max(0.0, (self._search.deadline or now) - now):.0f} s left")
        return ", ".join(parts)

    def _interval(self) -> str:
        """Return the values of the best five: what lies inside is no difference to build on."""
        top = sorted(t.value for t in self._study.trials if t.state == COMPLETE)[:5]
        sign = -self._task.metric_sign if self._task else 1
        return (
            f"[{min(sign * top[0], sign * top[-1]):.4f}, {max(sign * top[0], sign * top[-1]):.4f}]"
            if len(top) > 1
            else ""
        )
