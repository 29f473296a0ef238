"""Time of an epoch against a hand-written loop: same model, optimizer, seed, validation and best-weights keeping.

    python benchmarks/engine_speed.py [--rounds 15] [--workload digits table] [--times 1]
    python benchmarks/engine_speed.py --memory      peak memory of each side in a process of its own

Both sides run in turn in one process, on one thread; printed are medians and the median of the ratios of a round.
--times makes every training so many times longer: what the watcher costs has a fixed part.
raw: in-memory batches and torch.optim.Adam with its defaults; raw-fused: the same with Adam(fused=True).
"""

from __future__ import annotations

import argparse
import copy
import itertools
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

import trainwell.techniques  # noqa: F401  (fills the registry)
from trainwell.engine.assemble import Source, assemble
from trainwell.values.recipe import Recipe
from trainwell.values.task import Task

Split = tuple[Tensor, Tensor, Tensor, Tensor]


def digits() -> tuple[Split, nn.Module, int, int]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(7).permutation(len(x))
    xt, yt = torch.from_numpy((x[order] / 16).astype("float32")), torch.from_numpy(y[order])
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return (xt[:1257], yt[:1257], xt[1257:1527], yt[1257:1527]), model, 32, 20


def table() -> tuple[Split, nn.Module, int, int]:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(17000, 30)).astype("float32")
    hidden = np.tanh(x @ rng.normal(size=(30, 24)) / 3)
    y = (hidden @ rng.normal(size=(24, 3)) * 1.2 + rng.gumbel(size=(len(x), 3)) * 0.35).argmax(1)
    xt, yt = torch.from_numpy(x), torch.from_numpy(y)
    torch.manual_seed(0)
    widths, layers = [30, 256, 256, 256], []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return (xt[:14000], yt[:14000], xt[14000:], yt[14000:]), nn.Sequential(*layers, nn.Linear(256, 3)), 256, 3


def raw(data: Split, model: nn.Module, batch: int, epochs: int, **adam: bool) -> float:
    """The hand-written loop; returns its seconds."""
    xtr, ytr, xva, yva = data
    loss_function = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, **adam)
    torch.manual_seed(0)
    start = time.perf_counter()
    best, best_state = float("inf"), None
    for _ in range(epochs):
        model.train()
        total = torch.zeros(())
        for i in torch.randperm(len(xtr)).split(batch):
            x, y = xtr[i], ytr[i]
            loss = loss_function(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(x)
        model.eval()
        val, right = torch.zeros(()), torch.zeros(())
        with torch.no_grad():
            for x, y in zip(xva.split(batch), yva.split(batch), strict=True):
                outputs = model(x)
                val += loss_function(outputs, y) * len(x)
                right += (outputs.argmax(1) == y).sum()
        value = val.item() / len(xva)
        if value < best:
            best, best_state = value, {k: t.detach().clone() for k, t in model.state_dict().items()}
    model.load_state_dict(best_state)
    return time.perf_counter() - start


def ours(data: Split, model: nn.Module, batch: int, epochs: int, watched: bool = False) -> float:
    xtr, ytr, xva, yva = data
    task = Task("multiclass", tuple(range(int(ytr.max()) + 1)), metric="accuracy")
    start = time.perf_counter()
    recipe = Recipe(optimizer="adam", lr=1e-3, epochs=epochs, batch_size=batch)
    training = assemble(model, recipe, Source(((xtr,), ytr), ((xva,), yva)), task=task)
    if watched:
        from trainwell.app.watching import Attending

        training.observer = Attending(training, print)
    training.run()
    return time.perf_counter() - start


def measure(name: str, rounds: int, times: int) -> None:
    data, model, batch, epochs = {"digits": digits, "table": table}[name]()
    epochs *= times
    sides: dict[str, Callable[[nn.Module], float]] = {
        "raw": lambda m: raw(data, m, batch, epochs),
        "raw-fused": lambda m: raw(data, m, batch, epochs, fused=True),
        "trainwell": lambda m: ours(data, m, batch, epochs),
        "watched": lambda m: ours(data, m, batch, epochs, watched=True),
    }
    for side in sides.values():
        side(copy.deepcopy(model))
    seconds: dict[str, list[float]] = {k: [] for k in sides}
    for _ in range(rounds):
        for key, side in sides.items():
            seconds[key].append(side(copy.deepcopy(model)) / epochs)
    print(f"{name}: batch {batch}, {epochs} epochs, {rounds} rounds")
    for key, values in seconds.items():
        ratio = statistics.median(v / r for v, r in zip(values, seconds["raw"], strict=True))
        print(f"  {key:10s} {1e3 * statistics.median(values):8.2f} ms/epoch   ratio to raw {ratio:.3f}")
    added = [w / t - 1 for w, t in zip(seconds["watched"], seconds["trainwell"], strict=True)]
    print(f"  the watcher adds {100 * statistics.median(added):.1f} %")


def peak_memory(name: str, rounds: int) -> None:
    """Print the largest resident set of each side, trained in fresh processes in turn."""
    peaks: dict[str, list[float]] = {"raw": [], "trainwell": []}
    for _ in range(rounds):
        for side, values in peaks.items():
            command = [sys.executable, __file__, "--side", side, "--workload", name]
            values.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    raw_mb, our_mb = (statistics.median(v) for v in peaks.values())
    print(
        f"{name}: peak raw {raw_mb:.0f} MB, trainwell {our_mb:.0f} MB, difference {our_mb - raw_mb:+.0f} MB"
    )


def run_side(name: str, side: str) -> None:
    """Train one side and print the peak of this process in MB."""
    data, model, batch, epochs = {"digits": digits, "table": table}[name]()
    (raw if side == "raw" else ours)(data, model, batch, epochs)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--workload", nargs="+", default=["digits", "table"])
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--side", choices=["raw", "trainwell"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.side:
        run_side(options.workload[0], options.side)
        return
    print(f"torch {torch.__version__}, {platform.processor() or platform.machine()}, one thread")
    for name in options.workload:
        peak_memory(name, min(5, options.rounds)) if options.memory else measure(
            name, options.rounds, options.times
        )


if __name__ == "__main__":
    main()
