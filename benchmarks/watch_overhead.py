"""Measure what the default watcher costs: the same training watched and unwatched, by turns in one process.

python benchmarks/watch_overhead.py [--seconds 15] [--repeats 3] [cnn|mlp|digits|script ...]

CPU time of the process, from before the watcher is attached until it is closed. Prints the medians, their ratio and
the limit. On a shared machine two equal runs differ by up to a tenth, so it also prints the CPU time spent inside the
watcher's own functions, as a share of the plain run. `script` compares `trainwell watch script.py` with
`python script.py`, starts included.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import itertools

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import trainwell as tw
from trainwell.watch.loop import LoopWatch

LIMITS = {"cnn": 1.03, "mlp": 1.03, "digits": 1.10, "script": 1.03}


def digits() -> tuple[Tensor, Tensor]:
    data = load_digits()
    return torch.tensor(data.data / 16, dtype=torch.float32), torch.tensor(data.target)


def setting(name: str) -> tuple[nn.Module, Tensor, Tensor, int]:
    """Return the model, the inputs, the targets and the batch size of a setting."""
    torch.manual_seed(0)
    x, y = digits()
    if name == "cnn":
        images = x.view(-1, 1, 8, 8).repeat_interleave(3, 2).repeat_interleave(3, 3)
        layers = [
            nn.Conv2d(1, 16, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 4 * 4, 10)), images, y, 64
    widths = (64, 64, 64, 10) if name == "digits" else (64, 256, 256, 256, 10)
    parts: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        parts += [nn.Linear(fan_in, fan_out), nn.ReLU()][: 1 if i == len(widths) - 2 else 2]
    return nn.Sequential(*parts), x, y, 32 if name == "digits" else 128


def train(name: str, steps: int, watched: bool, log: list[str]) -> float:
    """Train for `steps` steps and return the CPU time."""
    model, x, y, size = setting(name)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loss_fn = nn.CrossEntropyLoss()
    start = time.process_time()
    with tw.watch(model, optimizer) if watched else contextlib.nullcontext() as watch:
        for step in range(steps):
            if step % (len(x) // size) == 0:
                order = torch.randperm(len(x))
            rows = order[step % (len(x) // size) * size :][:size]
            optimizer.zero_grad()
            loss_fn(model(x[rows]), y[rows]).backward()
            optimizer.step()
    used = time.process_time() - start
    if watch is not None:
        looks, error = watch._schedule.looks, watch.traces.fact("watch_error")
        log.append(f"{looks} looks" + (f", ERROR {error}" if error else ""))
    return used


def train_script(steps: int, watched: bool) -> float:
    """Run a training as a script and return the CPU time of its process."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        root = Path(__file__).resolve().parent
        script.write_text(
            f"import sys\nsys.path.insert(0, {str(root)!r})\nimport torch\ntorch.set_num_threads(1)\n"
            f"from watch_overhead import train\ntrain('mlp', {steps}, False, [])\n"
        )
        command = [sys.executable, *(("-m", "trainwell", "watch") if watched else ()), str(script)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class Inside:
    """Adds up the CPU time of the functions by which a loop enters the watcher."""

    ENTRIES = ("__init__", "close", "_on_step_guarded", "_on_loss_guarded", "_before_forward", "_after_forward",
               "_before_backward")  # fmt: skip

    def __init__(self) -> None:
        self.used, self._depth = 0.0, 0
        for name in self.ENTRIES:
            setattr(LoopWatch, name, self._timed(getattr(LoopWatch, name)))

    def _timed(self, function: Callable[..., object]) -> Callable[..., object]:
        def timed(*args: object, **kwargs: object) -> object:
            if self._depth:  # one calls another
                return function(*args, **kwargs)
            self._depth, start = 1, time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self._depth = 0
                self.used += time.process_time() - start

        return timed


def measure(name: str, seconds: float, repeats: int) -> None:
    log: list[str] = []
    inside = Inside()
    kind = "mlp" if name == "script" else name
    train(kind, 50, True, [])  # warm up both ways
    steps = max(100, int(300 * seconds / train(kind, 300, False, [])))

    def run(watched: bool) -> float:
        return train_script(steps, watched) if name == "script" else train(name, steps, watched, log)

    once: Callable[[bool], float] = run
    inside.used = 0.0
    times: dict[bool, list[float]] = {False: [], True: []}
    for i in range(repeats):
        for watched in (False, True) if i % 2 == 0 else (True, False):
            times[watched].append(once(watched))
    plain, watch = statistics.median(times[False]), statistics.median(times[True])
    share = "" if name == "script" else f"{inside.used / repeats / plain:.1%} inside the watcher, "
    pairs = " ".join(f"{w / p:.3f}" for p, w in zip(times[False], times[True], strict=True))
    print(
        f"{name:8s} {steps} steps: plain {plain:.2f} s, watched {watch:.2f} s, ratio {watch / plain:.3f} "
        f"({share}limit {LIMITS[name]:.2f}; pairs {pairs}) {'; '.join(log)}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=[])
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.names or list(LIMITS):
        measure(name, args.seconds, args.repeats)


if __name__ == "__main__":
    main()
