"""Trainings that are cut and resumed against the same trainings undisturbed, bit for bit.

    python benchmarks/resume.py [--every 10] [--in-process] [--case NAME] [--json]

Each training is cut by SIGINT after every 10th step, and each time a fresh process resumes it. Compared are all
tensors of `best/` and `last/` (weights, averaged weights, states of optimizer and techniques, random streams),
the history but for its times, the traces, the scores, the epoch and the reason of the end.

table:    a CSV file, MLP; dropout, mixup, EMA, warm-up, early stopping, clipping by norm; Adam, cosine.
module:   tensors, an own module with a dropout and BatchNorm; label smoothing, EMA, warm-up, early stopping, clipping by
          quantile; SGD with momentum. Batches of 15 rows of 13 numbers begin at odd addresses.
loader:   a shuffling DataLoader whose rows get noise as they are read, an own module and an own RMSprop;
          gradient accumulation, warm-up, early stopping.
shuffled: as `loader`, but the DataLoader has a generator of its own.
live:     an own module whose rate rises until it diverges, which live treatment mends; dropout, BatchNorm, EMA, SGD.
given:    the same with an own SGD and a shuffling DataLoader.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import trainwell as tw
from trainwell.app.run import Run
from trainwell.engine.checkpoint import load_checkpoint
from trainwell.engine.step import Step
from trainwell.values.journal import epochs
from trainwell.values.runfolder import RunFolder

Rows = tuple[Tensor, Tensor]


def table(root: Path) -> Path:
    """Return a CSV file of two numbers, a category and a target that they decide but for noise."""
    path = root / "table.csv"
    if not path.exists():
        rng = np.random.default_rng(0)
        frame = pd.DataFrame(
            {"a": rng.normal(size=300), "b": rng.normal(size=300), "c": rng.choice(list("xyz"), 300)}
        )
        noisy = frame.a + (frame.c == "x") + rng.normal(size=300)
        frame.assign(y=np.where(noisy > 0.3, "yes", "no")).to_csv(path, index=False)
    return path


def rows(count: int, seed: int) -> Rows:
    """Return 13 numbers a row and one of three classes, often the wrong one."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 13, generator=generator)
    noise = torch.randn(count, 2, generator=generator)
    return x, (x[:, 0] + noise[:, 0] > 0).long() + (x[:, 1] + noise[:, 1] > 0).long()


class OwnDropout(nn.Dropout):
    """Draws from torch's global stream, as a module of the user's may; `nn.Dropout` itself gets a named stream."""


def network() -> nn.Module:
    """Return a network that draws from torch's global stream and keeps running statistics."""
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Linear(13, 10),
        nn.BatchNorm1d(10),
        nn.ReLU(),
        OwnDropout(0.3),
        nn.Linear(10, 8),
        nn.Tanh(),
        nn.Linear(8, 3),
    )


class Noisy(Dataset[Rows]):
    """Rows with fresh noise at every reading, as an augmentation makes it."""

    def __init__(self, data: Rows) -> None:
        self.x, self.y = data

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> Rows:
        return self.x[i] + 0.1 * torch.randn(13), self.y[i]


def loaders(generator: torch.Generator | None) -> tuple[DataLoader[Rows], DataLoader[Rows]]:
    """Return loaders of the training and the validation part."""
    train = DataLoader(Noisy(rows(91, 1)), batch_size=13, shuffle=True, generator=generator)
    return train, DataLoader(Noisy(rows(60, 2)), batch_size=32, shuffle=True)


Work = Callable[[Path, Path], Run]
"""(folder of the data, folder of the run) -> the run."""


def table_recipe(epochs: int, patience: int) -> tw.Recipe:
    return tw.Recipe(
        model=tw.ModelSpec.of("mlp", width=24, depth=2), schedule="cosine", lr=0.006, batch_size=15, epochs=epochs,
        techniques=("dropout:rate=0.2", "mixup:alpha=0.4", "ema:decay=0.9", "warmup:fraction=0.2",
                    f"early_stopping:patience={patience}", "clip_grad:max_norm=0.5"),
    )  # fmt: skip


def fit_table(root: Path, out: Path) -> Run:
    return tw.fit(table(root), "y", recipe=table_recipe(14, 3), out=out, baseline=False)


def resume_table(_root: Path, out: Path) -> Run:
    return tw.resume(out, baseline=False)


def tensors() -> tuple[Rows, Rows]:
    return rows(120, 1), rows(60, 2)


RECIPE = tw.Recipe(
    optimizer="sgd:momentum=0.9", schedule="linear", lr=0.1, batch_size=15, epochs=12,
    techniques=("label_smoothing", "ema:decay=0.8", "warmup:fraction=0.3", "early_stopping:patience=3",
                "clip_quantile:quantile=0.7"),
)  # fmt: skip


def fit_module(_root: Path, out: Path) -> Run:
    return tw.fit(tensors(), model=network(), recipe=RECIPE, out=out)


def resume_module(_root: Path, out: Path) -> Run:
    return tw.resume(out, tensors(), model=network())


LOADER_TECHNIQUES = ("grad_accumulation:micro_batches=2", "warmup:fraction=0.3", "early_stopping:patience=3")


def with_optimizer() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = network()
    return model, torch.optim.RMSprop(model.parameters(), lr=0.001, momentum=0.5)


def fit_loader(_root: Path, out: Path, generator: torch.Generator | None = None) -> Run:
    model, optimizer = with_optimizer()
    recipe = tw.Recipe(epochs=12, schedule="cosine", techniques=LOADER_TECHNIQUES)
    return tw.fit(loaders(generator), model=model, optimizer=optimizer, recipe=recipe, out=out)


def resume_loader(_root: Path, out: Path, generator: torch.Generator | None = None) -> Run:
    model, optimizer = with_optimizer()
    return tw.resume(out, loaders(generator), model=model, optimizer=optimizer)


def fit_shuffled(root: Path, out: Path) -> Run:
    return fit_loader(root, out, torch.Generator().manual_seed(8))


def resume_shuffled(root: Path, out: Path) -> Run:
    return resume_loader(root, out, torch.Generator().manual_seed(8))


LIVE = tw.Recipe(
    optimizer="sgd:momentum=0.9",
    lr=60.0,
    batch_size=15,
    epochs=16,
    techniques=("warmup:fraction=0.5", "ema:decay=0.8"),
)


def plain_network() -> nn.Module:
    """Return a network without norms, which a high rate throws far."""
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Linear(13, 10), nn.ReLU(), OwnDropout(0.1), nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 3)
    )


def fit_live(_root: Path, out: Path) -> Run:
    run = tw.fit(tensors(), model=plain_network(), recipe=LIVE, treat=3, out=out)
    assert run.treatments or run.interrupted, "nothing was treated: the case tests nothing"
    return run


def resume_live(_root: Path, out: Path) -> Run:
    return tw.resume(out, tensors(), model=plain_network())


def given() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = plain_network()
    return model, torch.optim.SGD(model.parameters(), lr=60.0, momentum=0.9)


def fit_given(_root: Path, out: Path) -> Run:
    model, optimizer = given()
    recipe = tw.Recipe(epochs=16, techniques=("warmup:fraction=0.5",))
    run = tw.fit(loaders(None), model=model, optimizer=optimizer, recipe=recipe, treat=3, out=out)
    assert run.treatments or run.interrupted, "nothing was treated: the case tests nothing"
    return run


def resume_given(_root: Path, out: Path) -> Run:
    model, optimizer = given()
    return tw.resume(out, loaders(None), model=model, optimizer=optimizer)


CASES: dict[str, tuple[Work, Work]] = {
    "table": (fit_table, resume_table),
    "module": (fit_module, resume_module),
    "loader": (fit_loader, resume_loader),
    "shuffled": (fit_shuffled, resume_shuffled),
    "live": (fit_live, resume_live),
    "given": (fit_given, resume_given),
}


@contextlib.contextmanager
def sigint_after(step: int) -> Iterator[None]:
    """Send this process SIGINT at the end of a step, as long as the context lasts."""
    whole = Step.__call__

    def call(self: Step, x: tuple[Tensor, ...], y: Tensor, lr: Any) -> Tensor:
        loss = whole(self, x, y, lr)
        if self.count == step:
            signal.raise_signal(signal.SIGINT)
        return loss

    Step.__call__ = call  # type: ignore[method-assign]
    try:
        yield
    finally:
        Step.__call__ = whole  # type: ignore[method-assign]


def digests(folder: Path) -> dict[str, str]:
    """Return a digest of everything of a finished run that an interruption must not change, by its name."""
    run, found = RunFolder(folder), dict[str, str]()
    for part in ("best", "last"):
        saved = load_checkpoint(folder / part)
        for stem, named in saved.tensors.items():
            for name, tensor in named.items():
                bits = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
                found[f"{part} {stem} {name}"] = hashlib.sha256(bits).hexdigest()
        state = {k: v for k, v in saved.state.items() if k not in ("seconds", "history")}
        found |= {f"{part} {k}": repr(v) for k, v in state.items()}
        found[f"{part} history"] = repr([untimed(r) for r in saved.state.get("history", ())])
    found["journal"] = repr([untimed(r) for r in epochs(run.read_journal()[0])])
    for name in run.trace_names():
        found[f"trace {name}"] = hashlib.sha256(run.load_trace(name).tobytes()).hexdigest()
    results = run.read_json("results")
    return found | {
        f"results {k}": repr(results[k]) for k in ("scores", "best_epoch", "epochs", "stop_reason")
    }


def untimed(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if not k.endswith("_s") and k not in ("time", "event")}


def differences(whole: dict[str, str], cut: dict[str, str]) -> list[str]:
    """Return the names of what differs."""
    return [k for k in {**whole, **cut} if whole.get(k) != cut.get(k)]


def cut(case: str, root: Path, step: int) -> Path:
    """Train until SIGINT comes after a step; return the folder of the run."""
    folder = root / f"{case}-{step}"
    with sigint_after(step):
        run = CASES[case][0](root, folder)
    assert run.interrupted == signal.SIGINT, f"{case} was not cut at step {step}: {run.stop_reason}"
    return folder


def resume(case: str, root: Path, folder: Path, *, fresh: bool) -> None:
    if not fresh:
        CASES[case][1](root, folder)
        return
    words = [sys.executable, __file__, "--resume", case, str(root), str(folder)]
    subprocess.run(words, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def measure(case: str, root: Path, every: int, *, fresh: bool) -> dict[str, Any]:
    """Cut a training after every so many steps and compare each with the undisturbed one."""
    start = time.perf_counter()
    run = CASES[case][0](root, root / case)
    last, whole = run.history[-1]["step"], digests(root / case)
    wrong: dict[int, list[str]] = {}
    steps = range(every, last, every)
    for step in steps:
        folder = cut(case, root, step)
        resume(case, root, folder, fresh=fresh)
        differs = differences(whole, digests(folder))
        if differs:
            wrong[step] = differs
    return {
        "case": case, "steps": last, "epochs": len(run.history), "stop": run.stop_reason, "cuts": len(steps),
        "equal": len(steps) - len(wrong), "compared": len(whole), "wrong": wrong,
        "seconds": round(time.perf_counter() - start, 1),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=10, help="steps between two cuts")
    parser.add_argument("--in-process", action="store_true", help="resume in this process; faster")
    parser.add_argument("--case", choices=CASES, action="append", help="only this training")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--resume", nargs=3, metavar=("CASE", "ROOT", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.resume:
        case, root, folder = options.resume
        CASES[case][1](Path(root), Path(folder))
        return 0
    found = []
    for case in options.case or CASES:
        with tempfile.TemporaryDirectory() as root:
            found.append(measure(case, Path(root), options.every, fresh=not options.in_process))
        if not options.json:
            print("{case:9s} {steps} steps, {epochs} epochs ({stop}): {equal} of {cuts} equal in all {compared} "
                  "parts, {seconds} s".format(**found[-1]), *found[-1]["wrong"].items(), sep="\n  ")  # fmt: skip
    equal, cuts = (sum(f[k] for f in found) for k in ("equal", "cuts"))
    where = f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}"
    print(
        json.dumps({"cases": found, "machine": where})
        if options.json
        else f"{equal} of {cuts} equal ({where})"
    )
    return 0 if equal == cuts else 1


if __name__ == "__main__":
    sys.exit(main())
