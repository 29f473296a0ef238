"""Measure what the default watcher costs: the same training watched and unwatched, side by side.

python benchmarks/watch_overhead.py [--seconds 15] [--pairs 5] [cnn|mlp|digits|script-cnn|script-mlp ...]
python benchmarks/watch_overhead.py --device cuda [--seconds 8] [--pairs 4] [cnn|mlp|digits ...]
python benchmarks/watch_overhead.py --calls
python benchmarks/watch_overhead.py --equal [--device cuda] [cnn|mlp|digits ...]

On a CPU both trainings of a pair run at the same time, as two processes on one core: the scheduler lets them take
turns every few milliseconds, so that whatever else the machine does slows both alike. Compared is their CPU time, from
before the watcher is attached until it is closed; of a `script` (`trainwell watch script.py` against
`python script.py`) that of the whole process, starts included. On another device one process takes turns (ABBA) by
wall clock, synchronised at both ends. Printed are the mean ratio of the pairs, its 95 % interval (Student's t of the
logarithms) and the limit. `--calls` counts the Python calls that the watcher adds to a step; `--equal` compares the
weights of a watched and an unwatched training of 1,000 steps bit for bit.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import itertools
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor, nn

# trainwell, scikit-learn and scipy are imported where they are used: the plain script must not pay for them

LIMITS = {"cnn": 1.03, "mlp": 1.03, "digits": 1.10, "script-cnn": 1.03, "script-mlp": 1.03}
ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": "4294967296", "MALLOC_MMAP_THRESHOLD_": "33554432"}
"""Memory stays with the process. Else chance decides whether glibc gives it back after every step: then a step of the
CNN has 1,018 page faults and takes 10 ms instead of 8, watched or not."""

BATCH = {"cnn": 64, "mlp": 128, "digits": 32}


def save_rows(file: Path) -> None:
    from sklearn.datasets import load_digits

    data = load_digits()
    np.savez(file, x=(data.data / 16).astype(np.float32), y=data.target)


def setting(name: str, file: Path, device: str) -> tuple[nn.Module, Tensor, Tensor]:
    """Return the model, the inputs and the targets of a setting."""
    torch.manual_seed(0)
    held = np.load(file)
    x, y = torch.tensor(held["x"]), torch.tensor(held["y"])
    if name == "cnn":
        x = x.view(-1, 1, 8, 8).repeat_interleave(3, 2).repeat_interleave(3, 3)
        convs = [
            nn.Conv2d(1, 16, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        model = nn.Sequential(*convs, nn.Flatten(), nn.Linear(32 * 4 * 4, 10))
    else:
        widths = (64, 64, 64, 10) if name == "digits" else (64, 256, 256, 256, 10)
        pairs = [(nn.Linear(a, b), nn.ReLU()) for a, b in itertools.pairwise(widths)]
        model = nn.Sequential(*[layer for pair in pairs for layer in pair][:-1])
    return model.to(device), x.to(device), y.to(device)


def train(
    name: str, file: Path, steps: int, watched: bool, device: str = "cpu", log: list[str] | None = None
) -> float:
    """Train for `steps` steps and return the seconds: of CPU time, or on another device by the clock."""
    return trained(name, file, steps, watched, device, log)[0]


def trained(
    name: str, file: Path, steps: int, watched: bool, device: str = "cpu", log: list[str] | None = None
) -> tuple[float, nn.Module]:
    """Return the seconds and the model."""
    model, x, y = setting(name, file, device)
    size = BATCH[name]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loss_fn = nn.CrossEntropyLoss()
    if watched:
        import trainwell as tw

        tw.watch  # noqa: B018  # imports are counted in `script` alone
    start = _now(device)
    with tw.watch(model, optimizer, say=lambda _: None) if watched else contextlib.nullcontext() as watch:
        for step in range(steps):
            if step % (len(x) // size) == 0:
                order = torch.randperm(len(x), device=device)
            rows = order[step % (len(x) // size) * size :][:size]
            optimizer.zero_grad()
            loss_fn(model(x[rows]), y[rows]).backward()
            optimizer.step()
    used = _now(device) - start
    if watch is not None and log is not None:
        error = watch.traces.fact("watch_error")
        log.append(f"{watch._schedule.looks} looks" + (f", ERROR {error}" if error else ""))
    return used, model


def _now(device: str) -> float:
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def child(name: str, file: Path, steps: int, watched: bool) -> None:
    """Train once in this process and print what it took."""
    torch.set_num_threads(1)
    log: list[str] = []
    train(name, file, 50, watched)  # warm up
    print("ready", flush=True)
    sys.stdin.readline()  # both begin together
    print(json.dumps({"cpu_s": train(name, file, steps, watched, log=log), "log": log}))


def install(folder: Path) -> dict[str, str]:
    """Copy the package with its bytecode, as pip would install it, and return the environment that imports it."""
    source = Path(__file__).resolve().parent.parent / "src" / "trainwell"
    shutil.copytree(source, folder / "trainwell", ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(folder / "trainwell", quiet=1)
    return {**os.environ, "PYTHONPATH": str(folder), **ALLOCATOR}


def side_by_side(
    name: str, file: Path, steps: int, core: int, environment: dict[str, str]
) -> tuple[float, float, str]:
    """Run a training plain and watched at once on one core; return the CPU times and what the watcher says."""
    runs = []
    for watched in (False, True):
        if name.startswith("script"):
            script = file.with_name(f"script{core}.py")
            own = f"import sys, pathlib\nsys.path.insert(0, {str(Path(__file__).resolve().parent)!r})\n"
            call = f"train({name.split('-')[1]!r}, pathlib.Path({str(file)!r}), {steps}, False)\n"
            script.write_text(
                f"{own}import torch\nfrom watch_overhead import train\ntorch.set_num_threads(1)\n{call}"
            )
            command = [sys.executable, *(("-m", "trainwell", "watch") if watched else ()), str(script)]
        else:
            command = [sys.executable, __file__, "--child", name, str(file), str(steps), str(int(watched))]
        folder = tempfile.mkdtemp(dir=file.parent)
        runs.append(
            subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            )
        )
    if not name.startswith("script"):
        for run in runs:
            assert run.stdout is not None
            assert run.stdout.readline() == "ready\n"
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("go\n")
        run.stdin.close()
    used, log = [], ""
    for run in runs:
        assert run.stdout is not None
        said = run.stdout.read()
        _, status, cost = os.wait4(run.pid, 0)
        assert status == 0, said
        told = json.loads(said) if not name.startswith("script") else {}
        used.append(told.get("cpu_s", cost.ru_utime + cost.ru_stime))
        log = " ".join(told.get("log", []))
    return used[0], used[1], log


def taking_turns(name: str, file: Path, steps: int, device: str) -> tuple[float, float, str]:
    """Run a training plain, watched, watched, plain in this process."""
    log: list[str] = []
    took = [train(name, file, steps, watched, device, log) for watched in (False, True, True, False)]
    return took[0] + took[3], took[1] + took[2], " ".join(log)


def measure(
    name: str, file: Path, seconds: float, pairs: int, device: str, environment: dict[str, str]
) -> None:
    from scipy import stats

    kind = name.split("-")[-1]
    for watched in (False, True) if device != "cpu" else (False,):
        train(kind, file, 100, watched, device)
    steps = max(100, int(500 * seconds / train(kind, file, 500, False, device)))
    if device == "cpu":
        cores = sorted(os.sched_getaffinity(0))

        def strand(i: int) -> list[tuple[float, float, str]]:
            return [
                side_by_side(name, file, steps, cores[i], environment) for _ in range(i, pairs, len(cores))
            ]

        with ThreadPoolExecutor(len(cores)) as pool:  # each core has its own pairs
            found = [pair for strand_ in pool.map(strand, range(len(cores))) for pair in strand_]
    else:
        found = [taking_turns(name, file, steps, device) for _ in range(pairs)]
    ratios = [watched / plain for plain, watched, _ in found]
    logs = [math.log(r) for r in ratios]
    half = (
        stats.t.ppf(0.975, pairs - 1) * statistics.stdev(logs) / math.sqrt(pairs) if pairs > 1 else math.inf
    )
    middle = statistics.fmean(logs)
    plain, watch = (statistics.fmean(f[i] for f in found) for i in (0, 1))
    print(
        f"{name:10s} {steps} steps: plain {plain:.2f} s, watched {watch:.2f} s, ratio {math.exp(middle):.4f} "
        f"[{math.exp(middle - half):.4f}, {math.exp(middle + half):.4f}] (limit {LIMITS[name]:.2f}; "
        f"pairs {' '.join(f'{r:.3f}' for r in ratios)}) {found[-1][2]}",
        flush=True,
    )


def compare(name: str, file: Path, device: str) -> None:
    """Print whether weights are equal bit for bit: two unwatched trainings, and a watched one with them."""
    log: list[str] = []
    torch.use_deterministic_algorithms(True, warn_only=True)
    runs = [
        trained(name, file, 1000, watched, device, log)[1].state_dict() for watched in (False, False, True)
    ]

    def same(i: int) -> str:
        equal = all(torch.equal(a, b) for a, b in zip(runs[0].values(), runs[i].values(), strict=True))
        return "equal" if equal else "DIFFER"

    print(f"{name:10s} {device}: unwatched twice {same(1)}, watched {same(2)}; {' '.join(log)}", flush=True)


def count_calls(name: str, file: Path, steps: int) -> None:
    """Print how many Python calls the watcher adds to a step on average, its start and its end included."""
    counts = []
    for watched in (False, True):
        count = 0

        def profile(frame: FrameType, event: str, _: object) -> None:
            nonlocal count
            count += event == "call"

        train(name, file, 50, watched)
        sys.setprofile(profile)
        train(name, file, steps, watched)
        sys.setprofile(None)
        counts.append(count)
    print(
        f"{name:10s} {steps} steps: {(counts[1] - counts[0]) / steps:.1f} Python calls added per step",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=[])
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--calls", action="store_true")
    parser.add_argument("--equal", action="store_true")
    parser.add_argument(
        "--child", nargs=4, metavar=("NAME", "FILE", "STEPS", "WATCHED"), help=argparse.SUPPRESS
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.child:
        name, file, steps, watched = args.child
        child(name, Path(file), int(steps), watched == "1")
        return
    known = [n for n in LIMITS if (args.device == "cpu" and not (args.calls or args.equal)) or n in BATCH]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "digits.npz"
        save_rows(file)
        environment = install(Path(folder) / "installed")
        for name in args.names or known:
            if args.calls:
                count_calls(name, file, 4000)
            elif args.equal:
                compare(name, file, args.device)
            else:
                measure(name, file, args.seconds, args.pairs, args.device, environment)


if __name__ == "__main__":
    main()
