"""A notebook: one table that grows with the epochs, and the line below it that follows the training."""

from __future__ import annotations

import contextlib
import html
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from trainwell.report import words
from trainwell.report.terminal import Moment, live_line

REFRESH_S = 0.5
"""The table is drawn so often at most, by a thread of its own; the step never waits for it."""
SHOWN_ROWS = 30
COLUMNS = (
    ("train_loss", "training loss"),
    ("val_loss", "validation loss"),
    ("val_metric", ""),
    ("epoch_s", "seconds"),
)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook; IPython is not imported to find out."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None and hasattr(module, "get_ipython") else None
    return shell is not None and getattr(shell, "kernel", None) is not None


class LiveTable:
    """One output of a notebook's cell that follows a training; it is shown when there is something to show."""

    def __init__(self) -> None:
        self._lock, self._over = threading.Lock(), threading.Event()
        self._head: list[str] = []
        self._rows: list[dict[str, Any]] = []
        self._foot: list[str] = []
        self._metric, self._line = "", ""
        self._read: Callable[[], Moment] | None = None
        self._handle: Any = None
        self._thread: threading.Thread | None = None

    def say(self, line: str, *, best: bool = False) -> None:
        """Take a line: above the table before the training begins, below it from then on."""
        with self._lock:
            (self._head if self._read is None else self._foot).append(line)
        if self._read is None:
            self._draw()

    def follow(self, read: Callable[[], Moment]) -> None:
        """Draw from now on what is read, by a thread of its own, until `stop`."""
        self._read = read
        self._thread = threading.Thread(target=self._repeat, name="trainwell notebook", daemon=True)
        self._thread.start()

    def row(self, row: Mapping[str, Any], metric: str) -> None:
        """Add the row of an epoch."""
        with self._lock:
            self._metric = metric
            if row.get("best"):
                for held in self._rows:
                    held["best"] = False
            self._rows.append(dict(row))

    def stop(self) -> None:
        """Draw what there is for the last time."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(5)
        self._line = ""
        self._draw()

    def _repeat(self) -> None:
        while not self._over.wait(REFRESH_S):
            # read while the training changed it: the line before stays until the next look
            with contextlib.suppress(RuntimeError, IndexError, KeyError):
                assert self._read is not None
                self._line = live_line(self._read())
            self._draw()

    def _draw(self) -> None:
        from IPython.display import display

        with self._lock:
            bundle = {"text/html": self._html(), "text/plain": self._text()}
        with contextlib.suppress(Exception):  # a notebook that went away must not end a training
            if self._handle is None:
                self._handle = display(bundle, raw=True, display_id=f"trainwell-{time.time_ns()}")
            else:
                self._handle.update(bundle, raw=True)

    def _text(self) -> str:
        rows = [
            f"epoch {r['epoch']}  train_loss {_number(r.get('train_loss'))}  val_loss {_number(r.get('val_loss'))}"
            f"{'  *' if r.get('best') else ''}"
            for r in self._rows[-SHOWN_ROWS:]
        ]
        return "\n".join([*self._head, *rows, *([self._line] if self._line else []), *self._foot])

    def _html(self) -> str:
        parts = []
        if self._head:
            inner = html.escape("\n".join(self._head))
            parts.append(f"<details><summary>Data and recipe</summary><pre>{inner}</pre></details>")
        if self._rows:
            parts.append(self._table())
        if self._line:
            parts.append(f"<p>{html.escape(self._line)}</p>")
        if self._foot:
            foot = html.escape("\n".join(self._foot))
            parts.append(f"<pre style='white-space:pre-wrap'>{foot}</pre>")
        return f"<div class='trainwell'>{''.join(parts)}</div>"

    def _table(self) -> str:
        names = [name or words.metric_name(self._metric) for _, name in COLUMNS]
        held = [
            i for i, (key, _) in enumerate(COLUMNS) if any(words.is_number(r.get(key)) for r in self._rows)
        ]
        head = "".join(f"<th>{html.escape(names[i])}</th>" for i in held)
        left = len(self._rows) - SHOWN_ROWS
        shown = [r for i, r in enumerate(self._rows) if i >= left or r.get("best")]
        body = []
        for row in shown:
            cells = "".join(f"<td>{html.escape(_number(row.get(COLUMNS[i][0])))}</td>" for i in held)
            mark = "<td><b>best</b></td>" if row.get("best") else "<td></td>"
            body.append(f"<tr><td>{int(row['epoch'])}</td>{cells}{mark}</tr>")
        note = (
            f"<caption>the best and the last {SHOWN_ROWS} of {len(self._rows)} epochs</caption>"
            if left > 0
            else ""
        )
        return f"<table>{note}<thead><tr><th>epoch</th>{head}<th></th></tr></thead><tbody>{''.join(body)}</tbody></table>"


def _number(value: Any) -> str:
    return f"{value:.4g}" if words.is_number(value) else "-"
