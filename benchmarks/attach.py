"""Check every adapter in its real framework, and time it: the digits, watched and not, in turn.

    python benchmarks/attach.py [-r ROUNDS] [FRAMEWORK ...]

Prints, for each framework that is installed, whether weights are equal bit for bit, what is found of a healthy and of
three sick trainings, and the CPU time of a watched training over that of an unwatched one.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import importlib.util
import io
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
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


def row(name: str, rounds: int) -> str:
    long = dataclasses.replace(HEALTHY, epochs=60)
    ratios = []
    plain = seen = None
    for _ in range(rounds):
        plain, alone, _ = train(name, long, False)
        seen, with_watch, watch = train(name, long, True)
        ratios.append(with_watch / alone)
    equal = all(torch.equal(a, b) for a, b in zip(plain or [], seen or [], strict=True))
    healthy = [f.ailment for f in watch.findings if f.is_alarm]
    named = []
    for ailment, case in SICK.items():
        found = [f.ailment for f in train(name, case, True)[2].findings if f.is_alarm]
        named.append(f"{ailment}: {'named' if found[:1] == [ailment] else ', '.join(found) or 'nothing'}")
    overhead = 100 * (statistics.median(ratios) - 1)
    spread = ", ".join(f"{100 * (r - 1):.1f}" for r in sorted(ratios))
    return (
        f"| {name} | {'equal' if equal else 'DIFFER'} | {', '.join(healthy) or 'quiet'} | {'; '.join(named)} "
        f"| {overhead:.1f} % ({spread}) |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("frameworks", nargs="*", metavar="FRAMEWORK")
    parser.add_argument("-r", "--rounds", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(
        "| framework | weights | healthy | sick | added CPU time, 60 epochs (2,700 steps) |\n|---|---|---|---|---|"
    )
    for name in arguments.frameworks or TRAININGS:
        if importlib.util.find_spec(PACKAGES.get(name, name)) is not None:
            print(row(name, arguments.rounds), flush=True)


if __name__ == "__main__":
    main()
