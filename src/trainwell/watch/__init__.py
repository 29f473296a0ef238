"""Watches any training loop. The room can be called: `tw.watch(model, optimizer)` is `loop.watch` (decision 11)."""

from __future__ import annotations

import sys
import types
from typing import Any

from trainwell.watch.loop import LoopWatch, watch
from trainwell.watch.watcher import Watch

__all__ = ["LoopWatch", "Watch", "watch"]


class _Callable(types.ModuleType):
    """A module that is a function too, so that the room and the public name are one object in whatever order."""

    def __call__(self, *args: Any, **kwargs: Any) -> LoopWatch:
        return watch(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
