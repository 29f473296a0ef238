"""Measure what the default watcher costs: the same training watched and unwatched, strictly in turn.

python benchmarks/watch_overhead.py [--seconds 8] [--rounds 10] [cnn|mlp|digits|script-cnn|script-mlp ...]
python benchmarks/watch_overhead.py --device cuda [--seconds 8] [--rounds 4] [cnn|mlp|digits ...]
python benchmarks/watch_overhead.py --calls
python benchmarks/watch_overhead.py --equal [--device cuda] [cnn|mlp|digits ...]

On a CPU a round is a fresh process that warms up and forks: two unwatched trainings and a watched one on one core, of
which one runs at a time, a tenth of a second each (`in_turn.py`), so that whatever else the machine does meets all
alike. Compared is their CPU time, from before the watcher is attached until it is closed; of a `script` (`trainwell
watch script.py` against `python script.py`) that of the whole process, starts included. Printed are the median over the
rounds of watched against the mean of the two unwatched, its 95 % interval (bootstrap over the rounds), and as a control
the same of one unwatched process against the other. `--against FOLDER` adds a training that is watched by another
`trainwell`, which lies in the folder.

On another device one process takes turns (ABBA) by wall clock, synchronised at both ends. `--calls` counts the Python
calls that the watcher adds to a step; `--equal` compares the weights of a watched and an unwatched training of 1,000
steps bit for bit.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import functools
import itertools
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
from in_turn import in_turn, median, rounds_of

# trainwell, scikit-learn and scipy are imported where they are used: the plain script must not pay for them

LIMITS = {"cnn": 1.03, "mlp": 1.03, "digits": 1.10, "script-cnn": 1.03, "script-mlp": 1.03}
HELD: list[Tensor] = []
"""What holds the holes of `scatter` apart."""

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


def install(folder: Path) -> Path:
    """Copy the package with its bytecode, as an installation has it: where none may be written every start compiles."""
    source = Path(__file__).parents[1] / "src" / "trainwell"
    shutil.copytree(source, folder / "trainwell", ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(folder / "trainwell", quiet=1)
    return folder


def round_in_turn(name: str, file: Path, steps: int, folders: Sequence[str]) -> None:
    """Train twice unwatched and once with each folder's watcher; print the CPU-seconds and what the last says."""
    if not name.startswith("script"):
        train(name, file, 50, False)  # warm up
    prepare = prepare_script if name.startswith("script") else prepare_training
    ran = in_turn([functools.partial(prepare, name, file, steps, folder) for folder in ("", "", *folders)])
    used = [said["cpu_s"] if said else whole for whole, said in ran]
    print(json.dumps([used, ran[-1][1]["log"] if ran[-1][1] else []]))


def prepare_training(name: str, file: Path, steps: int, folder: str) -> Callable[[], Any]:
    """Import what a watch needs and watch once, the unwatched as well: what imports leave in memory costs a step 2 %."""
    sys.path.insert(0, folder or str(file.with_name("installed")))
    import trainwell as tw

    layer = nn.Linear(2, 2)
    with tw.watch(layer, torch.optim.SGD(layer.parameters(), 0.1), quiet=True):
        pass
    scatter()
    log: list[str] = []
    return lambda: {"cpu_s": train(name, file, steps, bool(folder), log=log), "log": log}


def scatter() -> None:
    """Leave holes of chance in the heap: where a step's tensors come to lie decides about some percent of its time.

    Forked processes with the same history lie alike, so that without this all rounds would repeat one case.
    """
    rng = np.random.default_rng()
    HELD.extend(torch.empty(int(size)) for size in 2 ** rng.uniform(4, 18, 400))
    for place in sorted(rng.permutation(400)[:300], reverse=True):
        del HELD[place]


def prepare_script(name: str, file: Path, steps: int, folder: str) -> Callable[[], Any]:
    """Write the script and return what becomes it."""
    script = file.with_name(f"script{os.getpid()}.py")
    script.write_text(
        f"import sys, pathlib\nsys.path.insert(0, {str(Path(__file__).resolve().parent)!r})\n"
        "import torch\nfrom watch_overhead import train\ntorch.set_num_threads(1)\n"
        f"train({name.split('-')[1]!r}, pathlib.Path({str(file)!r}), {steps}, False)\n"
    )
    command = [sys.executable, *(("-m", "trainwell", "watch") if folder else ()), str(script)]
    os.chdir(tempfile.mkdtemp(dir=file.parent))
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    return lambda: os.execve(command[0], command, {**os.environ, "PYTHONPATH": folder})


def taking_turns(name: str, file: Path, steps: int, device: str) -> tuple[list[float], list[str]]:
    """Run a training plain, watched, watched, plain in this process."""
    log: list[str] = []
    took = [train(name, file, steps, watched, device, log) for watched in (False, True, True, False)]
    return [took[0], took[3], (took[1] + took[2]) / 2], log


def measure(name: str, file: Path, args: argparse.Namespace, folders: Sequence[str]) -> None:
    kind, device = name.split("-")[-1], args.device
    for watched in (False, True) if device != "cpu" else (False,):
        train(kind, file, 100, watched, device)
    steps = max(100, int(300 * args.seconds / train(kind, file, 300, False, device)))
    if device == "cpu":
        command = [__file__, "--round", name, str(file), str(steps), *folders]
        found = rounds_of(command, args.rounds, args.core or sorted(os.sched_getaffinity(0)))
    else:
        found = [taking_turns(name, file, steps, device) for _ in range(args.rounds)]
    used = np.array([seconds for seconds, _ in found])
    plain = used[:, :2].mean(1)
    print(
        f"{name:10s} {steps} steps, {args.rounds} rounds: plain {np.median(plain):.2f} s; "
        f"control {median(used[:, 1] / used[:, 0])}; limit {LIMITS[name]:.2f}"
    )
    for place, folder in enumerate(folders, 2):
        ratios = used[:, place] / plain
        print(
            f"  {'watched' if place == 2 else folder}: added {np.median(used[:, place] - plain):.3f} s, "
            f"ratio {median(ratios)}; rounds {' '.join(f'{r:.3f}' for r in ratios)}",
            *(found[-1][1] if place == len(folders) + 1 else ()),
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
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--core", type=int, action="append", help="a core that takes rounds; all without it")
    parser.add_argument("--against", action="append", default=[], metavar="FOLDER")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--calls", action="store_true")
    parser.add_argument("--equal", action="store_true")
    parser.add_argument("--round", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.round:
        name, file_, steps, *folders = args.round
        round_in_turn(name, Path(file_), int(steps), folders)
        return
    known = [n for n in LIMITS if (args.device == "cpu" and not (args.calls or args.equal)) or n in BATCH]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "digits.npz"
        save_rows(file)
        installed = install(Path(folder) / "installed")
        for name in args.names or known:
            if args.calls:
                count_calls(name, file, 4000)
            elif args.equal:
                compare(name, file, args.device)
            else:
                measure(name, file, args, [str(installed), *(str(Path(f).resolve()) for f in args.against)])


if __name__ == "__main__":
    main()
