"""Ray: one machine or a cluster, behind the same protocol as worker processes."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from trainwell.launch.pool import MOST_TRIES, Function, Lost
from trainwell.values.errors import UsageError

LOOK_EVERY_S = 0.2


class OnRay:
    """Send every group as a task to Ray, which begins it again elsewhere if its worker dies.

    Token authentication is switched on: whoever reaches the ports of a cluster without it can run code there. A
    cluster begun by us makes its own token; that of a running one comes from RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or
    ~/.ray/auth_token.

    Args:
        function: called in a task with `shared` and a group.
        address: of a running cluster; None begins one on this machine.
        workers: tasks at a time; None for as many as the cluster has cores. Each has one thread.

    Raises:
        UsageError: Ray is not installed, the cluster is not reached, or there is no token for it.
    """

    def __init__(
        self, function: Function, shared: Any, address: str | None = None, workers: int | None = None
    ) -> None:
        if "RAY_AUTH_MODE" not in os.environ and "ray" in sys.modules:
            raise UsageError(
                "Ray was imported before token authentication was switched on, and reads that once: set "
                "RAY_AUTH_MODE=token in the environment before `import ray`."
            )
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        if os.environ["RAY_AUTH_MODE"] == "disabled":
            raise UsageError(
                "RAY_AUTH_MODE=disabled: we use Ray with token authentication only; set it to token."
            )
        if address is not None and not _has_token():
            raise UsageError(
                f"--on ray:{address}: there is no token for this cluster; set RAY_AUTH_TOKEN, or write it to "
                "~/.ray/auth_token (`ray get-auth-token --generate` makes one)."
            )
        ray = _ray()
        self._ours = not ray.is_initialized()
        if self._ours:
            _connect(ray, address, workers)
        self.workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._shared = ray.put(shared)
        self._task = ray.remote(num_cpus=1, max_retries=MOST_TRIES - 1)(_call).options(name="trainwell group")
        self._function = function

    def run(
        self, groups: Sequence[Any], stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, Any]]:
        import ray

        waiting, running = deque(range(len(groups))), dict[Any, int]()
        while waiting or running:
            if stopped():
                for task in running:
                    ray.cancel(task)
                return
            while waiting and len(running) < self.workers:
                index = waiting.popleft()
                running[self._task.remote(self._function, self._shared, groups[index])] = index
            done, _ = ray.wait(list(running), timeout=LOOK_EVERY_S)
            for task in done:
                index = running.pop(task)
                try:
                    yield index, ray.get(task)
                except ray.exceptions.WorkerCrashedError:
                    yield index, Lost(f"its worker died {MOST_TRIES} times")
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from error

    def close(self) -> None:
        import ray

        if self._ours:
            ray.shutdown()


def _call(function: Function, shared: Any, group: Any) -> Any:
    import torch

    torch.set_num_threads(1)
    return function(shared, group, lambda: False)


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise UsageError(f"this needs Ray: pip install 'trainwell[ray]' ({error}).") from None
    return ray


def _connect(ray: Any, address: str | None, workers: int | None) -> None:
    import logging

    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:  # a cluster of our own, for this machine alone
        options |= {"include_dashboard": False, "num_cpus": workers}
    try:
        ray.init(address=address or "local", **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"--on ray{':' + address if address else ''}: {str(error).splitlines()[0]}"
        ) from None


def _has_token() -> bool:
    return bool(
        os.environ.get("RAY_AUTH_TOKEN")
        or os.environ.get("RAY_AUTH_TOKEN_PATH")
        or (Path.home() / ".ray" / "auth_token").is_file()
    )
