"""CPU seconds until something happens: the help, the import, the first step of `fit` on digits against a raw script.

    python benchmarks/startup.py [--rounds 7] [--json]

Every measurement is a process of its own on one thread; the sides of a comparison run in turn, and printed are
medians, with the median of the differences of a round. The limits are those of the project's first issue. The raw
scripts do by hand what `fit` is asked for: the same data, model, optimizer and batch size, and a validation part.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

HELP = "from trainwell.app.cli import run_command; run_command(['--help'])"
IMPORTS = {
    "torch": "import torch",
    "torch + trainwell": "import torch, trainwell",
    "torch + trainwell.fit": "import torch, trainwell; trainwell.fit",
}

RAW_TENSORS = """
import numpy as np, torch
from torch import nn
data = np.load("digits.npz")
x, y = torch.from_numpy(data["x"]), torch.from_numpy(data["y"])
torch.manual_seed(0)
order = torch.randperm(len(x))
train, val = order[300:], order[:300]
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
loss_function = nn.CrossEntropyLoss()
i = train[torch.randperm(len(train))[:32]]
loss = loss_function(model(x[i]), y[i])
optimizer.zero_grad()
loss.backward()
optimizer.step()
"""

RAW_CSV = """
import numpy as np, pandas as pd, torch
from torch import nn
frame = pd.read_csv("digits.csv")
y = torch.from_numpy(frame.pop("digit").to_numpy())
x = torch.from_numpy(frame.to_numpy("float32"))
torch.manual_seed(0)
order = torch.randperm(len(x))
train, val, test = order[540:], order[:270], order[270:540]
x = (x - x[train].mean(0)) / (x[train].std(0) + 1e-6)
layers, width = [], 64
for _ in range(3):
    layers += [nn.Linear(width, 256), nn.ReLU()]
    width = 256
model = nn.Sequential(*layers, nn.Linear(256, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
loss_function = nn.CrossEntropyLoss()
i = train[torch.randperm(len(train))[:64]]
loss = loss_function(model(x[i]), y[i])
optimizer.zero_grad()
loss.backward()
optimizer.step()
"""

TOLD = "\nimport time; print('CPU', time.process_time())\n"

STOP_AFTER_FIRST_STEP = """
import os, time
def tell_first_step():
    from trainwell.engine.step import Step
    step = Step.__call__
    def first(self, *args):
        loss = step(self, *args)
        print('CPU', time.process_time(), flush=True)
        os._exit(0)
    Step.__call__ = first
"""

OURS_TENSORS = (
    STOP_AFTER_FIRST_STEP
    + """
import numpy as np, torch
from torch import nn
import trainwell as tw
tell_first_step()
data = np.load("digits.npz")
x, y = torch.from_numpy(data["x"]), torch.from_numpy(data["y"])
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
recipe = tw.Recipe(optimizer="adam", lr=1e-3, batch_size=32)
tw.fit((x, y), model=model, loss=nn.CrossEntropyLoss(), recipe=recipe, out="runs/tensors-%d" % os.getpid())
"""
)

OURS_CSV = (
    STOP_AFTER_FIRST_STEP
    + """
from trainwell.app.cli import run_command
tell_first_step()
run_command(["fit", "digits.csv", "--target", "digit"])
"""
)

Sides = dict[str, str]
FIRST_STEP: dict[str, Sides] = {
    "digits as tensors, own module": {"raw": RAW_TENSORS + TOLD, "trainwell": OURS_TENSORS},
    "digits.csv, trainwell fit": {"raw": RAW_CSV + TOLD, "trainwell": OURS_CSV},
}


def whole_cpu(code: str, folder: Path) -> float:
    """Return the CPU seconds of a process from its start to its end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0, f"{code!r} ended with {status}"
    return usage.ru_utime + usage.ru_stime


def told_cpu(code: str, folder: Path) -> float:
    """Return the CPU seconds that a process had used when it told."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )
    told = [line for line in done.stdout.splitlines() if line.startswith("CPU ")]
    assert told, done.stderr[-2000:]
    return float(told[0].split()[1])


def in_turn(
    sides: Sides, measure: Callable[[str, Path], float], rounds: int, folder: Path
) -> dict[str, list[float]]:
    """Measure the sides in turn, after one round that only warms the disk's cache."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, code in sides.items():
            seconds = measure(code, folder)
            if number:
                found[name].append(seconds)
    return found


def added(found: dict[str, list[float]], side: str, base: str) -> float:
    return statistics.median(s - b for s, b in zip(found[side], found[base], strict=True))


def write_digits(folder: Path) -> None:
    import numpy as np
    import pandas as pd
    from sklearn.datasets import load_digits

    data = load_digits()
    np.savez(folder / "digits.npz", x=(data.data / 16).astype("float32"), y=data.target)
    frame = pd.DataFrame(data.data.astype(int), columns=[f"pixel_{i}" for i in range(64)])
    frame.assign(digit=data.target).to_csv(folder / "digits.csv", index=False)


def measure(rounds: int, folder: Path) -> list[dict[str, object]]:
    """Return one row per figure: what, the seconds of each side, what is limited, its value and the limit."""
    found = in_turn({"python": "pass", "help": HELP}, whole_cpu, rounds, folder)
    rows = [row("trainwell --help", found, statistics.median(found["help"]), 0.5)]
    found = in_turn(IMPORTS, whole_cpu, rounds, folder)
    rows.append(row("import trainwell, beyond torch", found, added(found, "torch + trainwell", "torch"), 0.2))
    rows.append(
        row("trainwell.fit, beyond torch", found, added(found, "torch + trainwell.fit", "torch"), None)
    )
    for name, sides in FIRST_STEP.items():
        found = in_turn(sides, told_cpu, rounds, folder)
        rows.append(row(f"first step, {name}, beyond raw", found, added(found, "trainwell", "raw"), 0.6))
    return rows


def row(what: str, found: dict[str, list[float]], value: float, limit: float | None) -> dict[str, object]:
    return {"what": what, "cpu_s": value, "limit_cpu_s": limit, "raw_numbers": found}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        write_digits(Path(name))
        rows = measure(options.rounds, Path(name))
    from importlib.metadata import version

    machine = (
        f"torch {version('torch')}, Python {platform.python_version()}, {platform.machine()}, one thread"
    )
    if options.json:
        print(json.dumps({"machine": machine, "rounds": options.rounds, "figures": rows}, indent=1))
        return
    print(f"{machine}, medians of {options.rounds} rounds")
    for r in rows:
        sides = ", ".join(f"{k} {statistics.median(v):.2f}" for k, v in r["raw_numbers"].items())  # type: ignore[attr-defined]
        limit = "" if r["limit_cpu_s"] is None else f"  (limit {r['limit_cpu_s']})"
        print(f"{r['what']:50s} {r['cpu_s']:6.3f} CPU-s{limit}   {sides}")


if __name__ == "__main__":
    main()
