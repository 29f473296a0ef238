"""Lets processes run strictly in turn on one core: what else the machine does meets the CPU time of all alike."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

TURN_S = 0.1
"""Seconds of a turn: long against what another process leaves in the cache."""

ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": "4294967296", "MALLOC_MMAP_THRESHOLD_": "33554432"}
"""Memory stays with the process. Else chance decides whether glibc gives it back after every step: then a step of a small
CNN has 1,018 page faults and takes 10 ms instead of 8, watched or not."""

Job = Callable[[], Any]


def in_turn(prepares: Sequence[Callable[[], Job]]) -> list[tuple[float, Any]]:
    """Run each job in a process of its own, forked from this one, one at a time.

    Args:
        prepares: each is called in its process and returns the job, which waits for its first turn.

    Returns:
        The CPU-seconds of each process, and what its job returned.
    """
    runs: list[tuple[int, int]] = []
    used: dict[int, float] = {}
    try:
        runs.extend(_fork(prepare) for prepare in prepares)
        while len(used) < len(runs):
            for pid in [pid for pid, _ in runs if pid not in used]:
                os.kill(pid, signal.SIGCONT)
                time.sleep(TURN_S)
                os.kill(pid, signal.SIGSTOP)
                _, status, cost = os.wait4(pid, os.WUNTRACED)
                if not os.WIFSTOPPED(status):
                    used[pid] = cost.ru_utime + cost.ru_stime
                    if status:
                        raise RuntimeError(f"a process of {len(runs)} failed (status {status})")
        return [(used[pid], _answer(pipe)) for pid, pipe in runs]
    finally:
        for pid, _ in runs:
            if pid not in used:
                os.kill(pid, signal.SIGKILL)


def _fork(prepare: Callable[[], Job]) -> tuple[int, int]:
    """Start a process that stops once its job is prepared; return its id and the pipe of its answer."""
    take, give = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            job = prepare()
            os.kill(os.getpid(), signal.SIGSTOP)
            os.write(give, json.dumps(job()).encode())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(give)
    if not os.WIFSTOPPED(os.wait4(pid, os.WUNTRACED)[1]):
        raise RuntimeError("a process failed before its first turn")
    return pid, take


def _answer(pipe: int) -> Any:
    with os.fdopen(pipe, "rb") as file:
        said = file.read()
    return json.loads(said) if said else None


def rounds_of(command: Sequence[str], rounds: int, cores: Sequence[int]) -> list[Any]:
    """Run a round so many times, each in a fresh process, whose memory lies elsewhere; return what each printed as JSON.

    Args: cores: each takes rounds of its own, side by side with the others.
    """

    def strand(i: int) -> list[Any]:
        return [one(cores[i]) for _ in range(i, rounds, len(cores))]

    def one(core: int) -> Any:
        ran = subprocess.run(
            [sys.executable, *command],
            env={**os.environ, **ALLOCATOR},
            stdout=subprocess.PIPE,
            check=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        return json.loads(ran.stdout)

    with ThreadPoolExecutor(len(cores)) as pool:
        return [found for strand_ in pool.map(strand, range(len(cores))) for found in strand_]


def median(ratios: np.ndarray) -> str:
    """Return the median and its 95 % interval, by the percentiles of 10,000 resamples."""
    draws = np.random.default_rng(0).choice(ratios, (10_000, len(ratios)))
    low, high = np.percentile(np.median(draws, 1), (2.5, 97.5))
    return f"{np.median(ratios):.4f} [{low:.4f}, {high:.4f}]"
