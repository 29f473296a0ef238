"""Worker processes: one machine, several cores."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.reduction import ForkingPickler
from typing import Any

from trainwell.launch.pool import MOST_TRIES, Function, Lost
from trainwell.values.errors import UsageError

LOOK_EVERY_S = 0.2

NO_START = (
    'worker processes die as they begin. A script that uses workers does so under `if __name__ == "__main__":`; if yours '
    "does, there may be too little memory: try fewer --workers."
)


class Processes:
    """A pool of processes of the standard library; a group whose worker dies is begun again.

    Helps where several cores are free, or where networks cannot be fused. Harms short studies: a worker takes some
    seconds to import torch.

    Args:
        function: called in a worker with `shared` and a group; it and `shared` have to be known to another process.
        workers: processes. Each has one thread, or OMP_NUM_THREADS of them: with other threads sums round otherwise, and
            on cores that are busy two threads can be many times slower than one.
        say: told when a worker has died.

    Raises:
        UsageError: what the groups share cannot be sent to another process; or no worker comes to life.
    """

    def __init__(
        self, function: Function, shared: Any, workers: int, say: Callable[[str], None] = lambda text: None
    ) -> None:
        try:
            ForkingPickler.dumps((function, shared))
        except Exception as error:  # pickle raises whatever the objects raise
            raise UsageError(
                f"this cannot be sent to a worker process: {error}. Put your functions and classes at the top of a "
                "module, or leave --workers away."
            ) from None
        self.workers, self._say = workers, say
        self._context = multiprocessing.get_context("spawn")
        self._stop, self._lives = self._context.Event(), self._context.Event()
        threads = int(os.environ.get("OMP_NUM_THREADS", "1") or 1)
        self._begin = (function, shared, threads, self._stop, self._lives)
        self._executor: ProcessPoolExecutor | None = None

    def run(
        self, groups: Sequence[Any], stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, Any]]:
        self._stop.clear()
        waiting, tries = deque(range(len(groups))), [0] * len(groups)
        running: dict[Future[Any], int] = {}
        while waiting or running:
            if stopped():
                self._stop.set()
                waiting.clear()
            while waiting and len(running) < self.workers:
                index = waiting.popleft()
                running[self._submitted(groups[index])] = index
            ended, broken = self._ended(running)
            yield from ended
            if broken:
                yield from self._begun_again(running, waiting, tries)

    def _ended(self, running: dict[Future[Any], int]) -> tuple[list[tuple[int, Any]], bool]:
        """Return what has ended, and whether a worker died: all the others of this executor then fail as well."""
        ended = list[tuple[int, Any]]()
        for future in wait(running, LOOK_EVERY_S, FIRST_COMPLETED).done:
            if isinstance(future.exception(), BrokenProcessPool):
                return ended, True
            ended.append((running.pop(future), future.result()))
        return ended, False

    def _begun_again(
        self, running: dict[Future[Any], int], waiting: deque[int], tries: list[int]
    ) -> Iterator[tuple[int, Any]]:
        self.close()
        for index in running.values():
            tries[index] += 1
        if not self._lives.is_set() and max(tries) > 1:
            raise UsageError(NO_START)
        again = "its group is" if len(running) == 1 else f"{len(running)} groups are"
        self._say(f"a worker died: {again} begun again")
        for index in running.values():
            if tries[index] < MOST_TRIES:
                waiting.append(index)
            else:
                yield index, Lost(f"its worker died {MOST_TRIES} times")
        running.clear()

    def _submitted(self, group: Any) -> Future[Any]:
        for _ in range(MOST_TRIES):
            if self._executor is None:
                self._executor = ProcessPoolExecutor(
                    self.workers, self._context, initializer=_begin, initargs=self._begin
                )
            with contextlib.suppress(BrokenProcessPool):
                return self._executor.submit(_call, group)
            self.close()
        raise UsageError(NO_START)

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
        self._executor = None


_here: dict[str, Any] = {}
"""What this worker was begun with."""


def _begin(function: Function, shared: Any, threads: int, stop: Any, lives: Any) -> None:
    """Make this process a worker: it leaves Ctrl-C to its parent, and ends with it."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    _here.update(function=function, shared=shared, stop=stop)
    lives.set()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _call(group: Any) -> Any:
    return _here["function"](_here["shared"], group, _here["stop"].is_set)
