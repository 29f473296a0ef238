"""What is measured at the end of a small training keeps to one thread, and leaves the script's threads as they were."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import REPO

SCRIPT = """
import contextlib, json, os
import torch
from threadpoolctl import threadpool_info
import trainwell as tw
from trainwell.signals.residual import Residual

inside, plain = [], Residual.close
def close(self, *args):
    inside.append(torch.get_num_threads())
    return plain(self, *args)
Residual.close = close

def run(watched, width, steps):
    inside.clear()
    torch.manual_seed(0)
    x = torch.randn(256, 64)
    y = (x[:, 0] > x[:, 1]).long()
    net = torch.nn.Sequential(torch.nn.Linear(64, width), torch.nn.ReLU(), torch.nn.Linear(width, width),
                              torch.nn.ReLU(), torch.nn.Linear(width, 2))
    optimizer = torch.optim.SGD(net.parameters(), 1e-3)
    before = [p["num_threads"] for p in threadpool_info()]
    with tw.watch(net, optimizer, quiet=True) if watched else contextlib.nullcontext() as seen:
        for i in range(steps):
            rows = torch.arange(32 * i, 32 * i + 32) % 256
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
    after = [p["num_threads"] for p in threadpool_info()][: len(before)]
    big = torch.randn(700, 700) @ torch.randn(700, 700)
    return {
        "inside": [*inside], "before": before, "after": after, "bits": [float(big.double().sum()), float(big[3, 5]),
        *(float(p.detach().double().sum()) for p in net.parameters())],
        "error": seen and (seen.traces.fact("watch_error") or seen.traces.fact("unmeasured")),
    }

print(json.dumps({"plain": run(False, 16, 24), "small": run(True, 16, 24), "large": run(True, 4000, 6)}), flush=True)
os._exit(0)  # without the second that Python takes to end
"""


@pytest.fixture(scope="module")
def runs() -> dict[str, dict[str, Any]]:
    """Return what three trainings of one process with two threads tell: a plain one, and two that are watched."""
    threads = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}  # else they spin where other work runs
    env = {**os.environ, **threads, "PYTHONPATH": str(REPO / "src")}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=env, check=True)
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def test_small_work_keeps_to_one_thread_and_threads_are_given_back(runs: dict[str, dict[str, Any]]) -> None:
    plain, seen = runs["plain"], runs["small"]
    assert seen["error"] is None and seen["inside"] == [1]
    assert seen["before"] == seen["after"] and seen["bits"] == plain["bits"]


def test_large_work_takes_the_threads_that_there_are(runs: dict[str, dict[str, Any]]) -> None:
    seen = runs["large"]
    assert seen["error"] is None and seen["inside"] == [2]
