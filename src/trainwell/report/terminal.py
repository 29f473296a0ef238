"""The terminal: one live line where a person watches, plain rows in a pipe, and how a run ended in a few lines."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from trainwell.report import words

REFRESH_PER_S = 4
"""The live line is drawn so often, by a thread of its own that only reads counters; the step never waits for it."""


@dataclasses.dataclass(frozen=True)
class Moment:
    """Where a training stands.

    Args:
        step, total_steps, epoch, epochs: counters; `epoch` is the one in hand, from 1.
        rows: rows of one step.
        seconds: since the session began, in which `steps_here` steps were taken.
        last: the row of the epoch that ended last; empty before the first.
        metric: name of the metric; empty where there is none.
        best_epoch: 0 before the first.
        findings: what was found so far that asks for a change.
    """

    step: int
    total_steps: int
    epoch: int
    epochs: float
    rows: int
    seconds: float
    steps_here: int
    last: Mapping[str, Any]
    metric: str = ""
    best_epoch: int = 0
    findings: Sequence[str] = ()


def live_line(now: Moment) -> str:
    """Return the moment as one line: epoch, speed, loss, metric, best, time left, findings."""
    if now.step >= now.total_steps:
        return f"all {now.total_steps:,} steps are done; scoring the best weights"
    parts = [f"epoch {now.epoch}/{now.epochs:g}", f"{min(1.0, now.step / now.total_steps):4.0%}"]
    speed = now.steps_here / now.seconds if now.seconds > 0 else 0.0
    if speed > 0:
        parts.append(f"{speed * now.rows:,.0f} rows/s")
    for key, name in (("train_loss", "loss"), ("val_loss", "val"), ("val_metric", now.metric)):
        if words.is_number(now.last.get(key)) and name:
            parts.append(f"{name} {now.last[key]:.4f}")
    if now.best_epoch:
        parts.append(f"best {now.best_epoch}")
    if speed > 0 and now.seconds > 0.5:
        parts.append(f"{words.seconds(max(0, now.total_steps - now.step) / speed)} left at most")
    if now.findings:
        parts.append(f"found: {words.joined(now.findings, 1)}")
    return " · ".join(parts)


def is_live(stream: TextIO, environment: Mapping[str, str] | None = None) -> bool:
    """Whether a person watches this stream in a terminal that can redraw a line."""
    held = os.environ if environment is None else environment
    try:
        return stream.isatty() and held.get("TERM") != "dumb" and "CI" not in held
    except (ValueError, OSError):
        return False


class LiveLine:
    """One line at the foot of a terminal that follows a training.

    Args:
        stream: a terminal.
        read: returns where the training stands; called by the thread that draws.
    """

    def __init__(self, stream: TextIO, read: Callable[[], Moment]) -> None:
        from rich.console import Console
        from rich.live import Live

        self._read, self._line = read, ""
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._live = Live(
            get_renderable=self._drawn, console=self._console, refresh_per_second=REFRESH_PER_S, transient=True,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        self._live.start()
        atexit.register(self.stop)  # the cursor comes back whatever ends the process

    def say(self, line: str, *, best: bool = False) -> None:
        """Print a line above; that of the best epoch stands out, unless NO_COLOR is set."""
        self._console.print(line, style="bold green" if best else None)

    def stop(self) -> None:
        """Take the line away; a second call does nothing."""
        self._live.stop()
        atexit.unregister(self.stop)

    def _drawn(self) -> Any:
        from rich.text import Text

        # read while the training changed it: the line before stays until the next look
        with contextlib.suppress(RuntimeError, IndexError, KeyError):
            self._line = live_line(self._read())
        return Text(self._line, style="dim", no_wrap=True, overflow="ellipsis")


# ---------------------------------------------------------------------- the end of a run


@dataclasses.dataclass(frozen=True)
class End:
    """How a run ended.

    Args:
        scores: metrics by part.
        metric: the primary one.
        interval: 95 % interval of the primary metric on the scored part; None where it is not known.
        rows: rows by part, where they are known.
        stop: why it ended.
        history: one row per epoch.
        seconds, watch_s: of the training, and of the watcher within.
        findings: title and remedy of each that asks for a change; None where the training was not watched.
        run: its folder as a word of a shell; empty where it was not written.
        then: the verb that comes next.
    """

    scores: Mapping[str, Mapping[str, float]]
    metric: str
    stop: str
    history: Sequence[Mapping[str, Any]]
    best_epoch: int
    seconds: float
    interval: tuple[float, float] | None = None
    rows: Mapping[str, int] = dataclasses.field(default_factory=dict)
    watch_s: float = 0.0
    findings: Sequence[tuple[str, str]] | None = None
    run: str = ""
    then: str = "predict"


def ending(end: End) -> Iterator[str]:
    """Yield how a run ended, in five lines at most.

    The score with its interval, why and where it stopped, where the time went, what was found, what to do next.
    """
    part = next((p for p in ("test", "val") if end.metric in end.scores.get(p, {})), "")
    if part:
        rows = f", {end.rows[part]:,} rows" if end.rows.get(part) else ""
        between = (
            f" (95 % interval {end.interval[0]:.4f} to {end.interval[1]:.4f}{rows})" if end.interval else ""
        )
        yield f"score     {part} {end.metric} {end.scores[part][end.metric]:.4f}{between}"
    yield f"stopped   {end.stop}; best epoch {end.best_epoch} of {len(end.history)}, {end.seconds:.1f} s"
    validation = words.total(row.get("validation_s") for row in end.history)
    whole = words.total(row.get("epoch_s") for row in end.history)
    if whole > 0:
        shares = {
            "training": max(0.0, whole - validation - end.watch_s),
            "validation": validation,
            "watching": end.watch_s,
        }
        told = ", ".join(f"{k} {v / whole:.0%}" for k, v in shares.items() if v / whole >= 0.005)
        yield f"time      {words.seconds(whole / len(end.history))} an epoch: {told}"
    if end.findings is not None:
        yield f"findings  {_found(end.findings)}"
    if end.run:
        yield f"report    trainwell report {end.run}; then: trainwell {end.then}"


def _found(findings: Sequence[tuple[str, str]]) -> str:
    """Return what was found in one line: the gravest with its remedy, and how many more."""
    if not findings:
        return "none that asks for a change"
    title, fix = findings[0]
    more = (
        f"; and {len(findings) - 1} more: {words.joined([t for t, _ in findings[1:]], 3)}"
        if findings[1:]
        else ""
    )
    return f"{title}{f': {fix}' if fix else ''}{more}"
