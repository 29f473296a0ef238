"""Check every adapter in its real framework, and measure what it costs: the digits, watched and not, strictly in turn.

    python benchmarks/attach.py [--rounds 6] [--epochs 60] [--core CORE] [--cost] [FRAMEWORK ...]

Prints, for each framework that is installed, whether weights are equal bit for bit in every round, what is found of a
healthy and (without `--cost`) of three sick trainings, and the CPU time of a watched training over that of unwatched
ones: the median over the rounds, its 95 % interval, and as a control the same of one unwatched training against the
other. A round is a fresh process that imports the framework, trains for an epoch and forks three trainings, of which one
runs at a time (`in_turn.py`). A training is one call of the framework, its own start included.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import io
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from in_turn import in_turn, median, rounds_of

from tests.attach.trainings import HEALTHY, PACKAGES, SICK, TRAININGS, Case, Weights


def train(name: str, case: Case, watched: bool) -> tuple[Weights, float, Any]:
    """Return the weights, the CPU seconds and the callback."""
    made: list[Any] = []

    def make(*objects: Any) -> Any:
        kind = importlib.import_module(f"trainwell.watch.attach.{name}").WatchCallback
        made.append(kind(*objects, say=lambda line: None))
        return made[-1]

    watch = None if not watched else make if name == "accelerate" else make()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        start = time.process_time()
        weights = TRAININGS[name](case, watch)
        seconds = time.process_time() - start
    return weights, seconds, made[-1] if made else None


def round_in_turn(name: str, epochs: int) -> None:
    """Train twice unwatched and once watched, in turn; print the CPU-seconds, the weights' digests and the findings."""
    train(name, dataclasses.replace(HEALTHY, epochs=1), False)  # imports the framework
    jobs = [functools.partial(prepare, name, epochs, watched) for watched in (False, False, True)]
    print(json.dumps([said for _, said in in_turn(jobs)]))


def prepare(name: str, epochs: int, watched: bool) -> Callable[[], Any]:
    """Import what a watch needs, if it is to be watched."""
    if watched:
        train(name, dataclasses.replace(HEALTHY, epochs=1), True)

    def job() -> Any:
        weights, seconds, watch = train(name, dataclasses.replace(HEALTHY, epochs=epochs), watched)
        digest = hashlib.sha256(b"".join(w.detach().numpy().tobytes() for w in weights)).hexdigest()
        found = [f.ailment for f in watch.findings if f.is_alarm] if watch else []
        return {"cpu_s": seconds, "weights": digest, "found": found}

    return job


def cost(name: str, rounds: int, epochs: int, cores: list[int]) -> str:
    """Return the columns of the table that tell of a healthy training."""
    found = rounds_of([__file__, "--round", name, str(epochs)], rounds, cores)
    used = np.array([[r["cpu_s"] for r in three] for three in found])
    plain = used[:, :2].mean(1)
    equal = all(len({r["weights"] for r in three}) == 1 for three in found)
    alarms = sorted({ailment for three in found for ailment in three[2]["found"]})
    return (
        f"{'equal' if equal else 'DIFFER'} | {', '.join(alarms) or 'quiet'} | {np.median(plain):.2f} s "
        f"| {np.median(used[:, 2] - plain):.3f} s | {median(used[:, 2] / plain)} | {median(used[:, 1] / used[:, 0])}"
    )


def faults(name: str) -> str:
    """Return what is said of the sick trainings."""
    named = []
    for ailment, case in SICK.items():
        found = [f.ailment for f in train(name, case, True)[2].findings if f.is_alarm]
        named.append(f"{ailment}: {'named' if found[:1] == [ailment] else ', '.join(found) or 'nothing'}")
    return "; ".join(named)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("frameworks", nargs="*", metavar="FRAMEWORK")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=60, help="of 45 steps each")
    parser.add_argument("--core", type=int, action="append", help="a core that takes rounds; all without it")
    parser.add_argument("--cost", action="store_true", help="leave the sick trainings out")
    parser.add_argument("--round", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if arguments.round:
        round_in_turn(arguments.round[0], int(arguments.round[1]))
        return
    print("| framework | weights | healthy | unwatched | added | ratio | control | sick |\n|" + "---|" * 8)
    cores = arguments.core or sorted(os.sched_getaffinity(0))
    for name in arguments.frameworks or TRAININGS:
        if importlib.util.find_spec(PACKAGES.get(name, name)) is not None:
            columns = cost(name, arguments.rounds, arguments.epochs, cores)
            print(f"| {name} | {columns} | {'' if arguments.cost else faults(name)} |", flush=True)


if __name__ == "__main__":
    main()
