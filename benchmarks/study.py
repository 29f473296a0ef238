"""What a kill costs a study, and what its journal costs.

    python benchmarks/study.py kill|journal [--kills 50]

kill:    a process that asks and tells (0.2 ms a trial) is killed by SIGKILL at random moments and started again until
         the study is full; then its trials are compared with those of an undisturbed study, and with what the process
         had printed as finished.
journal: time to write a trial; time to open a study of 100,000.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from trainwell.search.parameter import Parameter
from trainwell.search.space import Config, Space
from trainwell.search.study import COMPLETE, RUNNING, Study, read_study

SPACE = Space((
    Parameter("lr", 1e-4, 1.0, log=True, default=0.01),
    Parameter("optimizer", options=("adam", "sgd"), default="adam"),
    Parameter("momentum", 0.0, 0.99, default=0.9, when=("optimizer", ("sgd",))),
    Parameter("width", 8, 512, log=True, integer=True, default=64),
    Parameter("l1", 1e-6, 1e-1, log=True, off=0.0, default=0.0),
))  # fmt: skip


def loss(config: Config) -> float:
    time.sleep(2e-4)
    return (
        abs(config["lr"] - 0.03) + 0.1 * (config["optimizer"] == "adam") + config["l1"] + 1 / config["width"]
    )


def drive(study: Study, trials: int) -> None:
    while len([t for t in study.trials if t.state == COMPLETE]) < trials:
        for t in study.ask(8):
            study.tell(t.number, loss(t.config))
            print(t.number, flush=True)


def kill(kills: int, trials: int, searcher: str) -> None:
    folder = Path(tempfile.mkdtemp())
    path, done, killed = folder / "study.jsonl", set[int](), 0
    rng = random.Random(0)
    while killed < kills:
        worker = [
            sys.executable,
            __file__,
            "worker",
            "--path",
            str(path),
            "--trials",
            str(trials),
            "--searcher",
            searcher,
        ]
        process = subprocess.Popen(worker, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        wait = rng.random() * trials / kills * 1.2
        for count, line in enumerate(process.stdout, 1):
            if line.endswith("\n"):
                done.add(int(line))
            if count > wait:
                time.sleep(rng.random() * 2e-3)
                process.send_signal(signal.SIGKILL)
                killed += 1
                break
        process.stdout.close()
        if process.wait() == 0:
            break
    with read_study(path) as study:
        drive(study, trials)
        found = list(study.trials)
    sys.stdout.flush()
    calm = Study(SPACE, searcher, seed=1, batch=8, first=[SPACE.default()])
    drive(calm, trials)
    lost = sum(found[n].state != COMPLETE for n in done)
    stuck = sum(t.state == RUNNING for t in found)
    same = sum(a.config == b.config for a, b in zip(found, calm.trials, strict=False))
    print(
        f"{searcher}: {killed} kills; {lost} of {len(done)} finished trials lost, {stuck} stuck, {same} of "
        f"{len(found)} proposals as undisturbed",
        file=sys.stderr,
    )


def journal() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.jsonl"
        with Study(SPACE, "random", batch=1000, path=path) as study:
            write = 0.0
            for _ in range(100):
                asked = study.ask(1000)
                start = time.process_time()
                for t in asked:
                    study.tell(t.number, 0.123456789)
                write += time.process_time() - start
        start = time.process_time()
        with read_study(path) as study:
            count = len(study.trials)
        opened = time.process_time() - start
        size = path.stat().st_size / 2**20
        print(
            f"write {1e3 * write / 1e5:.3f} ms a trial; {count:,} trials ({size:.1f} MiB) open in {opened:.2f} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["kill", "journal", "worker"])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--searcher", default="gp")
    parser.add_argument("--path", type=Path)
    options = parser.parse_args()
    if options.what == "worker":
        with Study(
            SPACE, options.searcher, seed=1, batch=8, first=[SPACE.default()], path=options.path
        ) as study:
            drive(study, options.trials)
    elif options.what == "kill":
        kill(options.kills, options.trials, options.searcher)
    else:
        journal()


if __name__ == "__main__":
    main()
