"""SIGINT and SIGTERM end a training after the step in hand; a second SIGINT leaves at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any, Self


class Interrupts:
    """Sets `signal` when one arrives; the loop looks at it after every step.

    Outside the main thread, where Python forbids handlers, it does nothing.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.signal and number == signal.SIGINT:
            os._exit(130)
        self.signal = number
