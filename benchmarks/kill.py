"""`trainwell fit` under kill -9 at random moments, then `trainwell resume`, against the undisturbed run.

    python benchmarks/kill.py [--kills 100] [--fresh 10] [--every 0.05s] [--json]

The run is the table of benchmarks/resume.py for 25 epochs, with a checkpoint every --every. A process that has
trained once is forked, so that the kills fall into the work and not into the imports; --fresh of the kills hit
processes of their own instead. Every second run is killed in its resume as well. After each kill the folder must
hold a whole checkpoint that is not older than the last that the journal tells of; in the end all tensors,
history, traces and scores must equal the undisturbed run, bit for bit. A forked process cannot use a GPU: where there is
one, set CUDA_VISIBLE_DEVICES= before.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from resume import differences, digests, table, table_recipe

from trainwell.app.cli import run_command
from trainwell.engine.checkpoint import newest_valid
from trainwell.values.journal import read_journal


class Command:
    """A `trainwell` command in a process that can be killed: forked, or fresh."""

    def __init__(self, words: list[str], log: Path, *, fresh: bool) -> None:
        self.log = log
        if fresh:
            command = [sys.executable, "-m", "trainwell", *words]
            self.pid = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=open(log, "ab")).pid  # noqa: SIM115
            return
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
                code = run_command(words)
            finally:
                os._exit(code)

    def kill_after(self, seconds: float) -> int:
        """Kill it after a time; return its exit code, -9 if the kill came in time."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break
            time.sleep(min(0.002, max(0.0, end - time.perf_counter())))
        else:
            os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def lost(folder: Path) -> str:
    """Return what the kill cost: the checkpoint that the journal tells of last; empty if it is there."""
    events, _ = read_journal(folder / "journal.jsonl")
    told = max((e["step"] for e in events if e["event"] == "checkpoint"), default=-1)
    found, notes = newest_valid(folder / "last")
    step = -1 if found is None else found.state["step"]
    return (
        f"a checkpoint of step {told} was told, the newest whole one is {step}: {notes}"
        if step < told
        else ""
    )


def moment(folder: Path) -> str:
    """Say in what the kill fell, by what lies in the folder."""
    if not (folder / "recipe.json").exists():
        return "before the run"
    if list(folder.glob(".*.tmp-*")) or (folder / "last.prev").exists():
        return "while a checkpoint was written"
    if (folder / "best").exists():
        return "after the training"
    return "between checkpoints" if (folder / "last").exists() else "before the first checkpoint"


def trial(
    root: Path, number: int, span: tuple[float, float], whole: dict[str, str], every: str, *, fresh: bool
) -> dict[str, Any]:
    """Kill a run, its resume too if the number is odd, let it end and compare.

    Args:
        span: how long the imports and the undisturbed run take, in seconds.
    """
    rng, folder, log = random.Random(number), root / str(number), root / f"{number}.log"
    words = fit_words(root, folder, every)
    where: list[str] = []
    for _ in range(1 + number % 2):
        code = Command(words, log, fresh=fresh).kill_after(span[0] + rng.uniform(0, span[1]))
        where.append(moment(folder) if code == -signal.SIGKILL else "not: it had ended")
        if where[-1] == "before the run":
            words = fit_words(root, folder := root / f"{number}-again", every)
            continue
        cost = lost(folder)
        if cost:
            return {"where": where, "wrong": cost}
        words = resume_words(folder, every)
    code = Command(words, log, fresh=fresh).wait()
    if code != 0:
        return {"where": where, "wrong": f"exit code {code}: {log.read_text()[-500:]}"}
    return {"where": where, "wrong": ", ".join(differences(whole, digests(folder)))}


def fit_words(root: Path, folder: Path, every: str) -> list[str]:
    words = [
        "fit",
        str(table(root)),
        "--target",
        "y",
        "--recipe",
        str(root / "recipe.json"),
        "--out",
        str(folder),
    ]
    return [*words, "--no-baseline", "--checkpoint-every", every]


def resume_words(folder: Path, every: str) -> list[str]:
    return ["resume", str(folder), "--no-baseline", "--checkpoint-every", every]


def undisturbed(root: Path, name: str, every: str, *, fresh: bool) -> float:
    """Run without a kill; return how long it took, in seconds."""
    start = time.perf_counter()
    code = Command(fit_words(root, root / name, every), root / "log", fresh=fresh).wait()
    assert code == 0, (root / "log").read_text()
    return time.perf_counter() - start


def measure(root: Path, kills: int, fresh: int, every: str) -> dict[str, Any]:
    """Run all trials; the first `fresh` of them in fresh processes."""
    (root / "recipe.json").write_text(json.dumps(table_recipe(25, 25).to_dict()))
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        assert (
            run_command(fit_words(root, root / "warm", every)) == 0
        )  # here, so that the forks import nothing
    span = undisturbed(root, "whole", every, fresh=False)
    imports = max(0.0, undisturbed(root, "fresh", every, fresh=True) - span) if fresh else 0.0
    whole, tally, wrong, count = digests(root / "whole"), collections.Counter[str](), dict[int, str](), 0
    begun = time.perf_counter()
    number = 0
    while count < kills:
        is_fresh = number < fresh
        found = trial(root, number, (imports * is_fresh, span), whole, every, fresh=is_fresh)
        # other work on the machine makes the runs longer or shorter in the course of the hour
        span *= 0.8 if any(w.startswith("not") for w in found["where"]) else 1.02
        hits = [w for w in found["where"] if not w.startswith("not")]
        tally.update(hits)
        count += len(hits)
        if found["wrong"]:
            wrong[number] = found["wrong"]
        number += 1
    return {
        "kills": count, "runs": number, "fresh": min(fresh, number), "equal": number - len(wrong), "wrong": wrong,
        "where": dict(tally), "undisturbed_s": round(span, 2), "compared": len(whole),
        "seconds": round(time.perf_counter() - begun, 1),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument(
        "--fresh", type=int, default=10, help="runs of which every command is a fresh process"
    )
    parser.add_argument("--every", default="0.05s", help="time between two checkpoints")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as root:
        found = measure(Path(root), options.kills, options.fresh, options.every)
    found["machine"] = f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}"
    if options.json:
        print(json.dumps(found))
    else:
        print(*(f"{k:14s} {v}" for k, v in found.items()), sep="\n")
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
