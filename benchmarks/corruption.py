"""Damage to checkpoints: bits flipped, processes killed; and what the protection costs.

    python benchmarks/corruption.py [--flips 2000] [--kills 100] [--stride 1] [--mb 64] [--rounds 7] [--json]

flips:  one bit of one file is flipped (half of them anywhere by size, half in each file alike); the load must
        fail and name the file and the tensor. As many random flips in files of safetensors and torch.save.
kills:  a process that saves in a loop gets SIGKILL at a random moment; the folder must hold a whole one
        that is not older than the last save that had returned, with tensors and state of one step.
calls:  the process dies before the k-th call of a C function inside the save, for every stride-th k.
cost:   CPU-ms a MB of a save (write, checksums, sync, read back), medians, in turn with the bare save of the
        two libraries; memory that a save adds to the peak; ms of one save of a small model.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from trainwell.engine.checkpoint import load_checkpoint, newest_valid, save_checkpoint, verify_checkpoint
from trainwell.values.errors import RunError

PLACES = ("trainwell", "shutil", "pathlib")
"""The files whose calls count as a part of the save."""


def example(step: int) -> dict[str, dict[str, Tensor]]:
    """Return small tensors of many kinds whose content tells the step."""
    weights = {f"layer{i}.weight": torch.full((32, 16 + i), float(step)) for i in range(3)}
    weights |= {
        "half": torch.full((5, 7), step % 256, dtype=torch.bfloat16),
        "scale": torch.tensor(float(step)),
    }
    moments = {"moment": torch.full((1601,), step, dtype=torch.float64), "step": torch.tensor(step)}
    streams = {"dropout": torch.Generator().manual_seed(step).get_state(), "none": torch.zeros(0, 3)}
    return {"weights": weights, "optimizer": moments, "streams": streams}


def flip(path: Path, bit: int) -> None:
    with open(path, "r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def tensor_at(path: Path, byte: int) -> str:
    """Return the words that must name what lies at this byte."""
    if path.suffix != ".safetensors":
        return path.name
    data = path.read_bytes()
    head = 8 + int.from_bytes(data[:8], "little")
    for name, spec in json.loads(data[8:head]).items():
        if head + spec["data_offsets"][0] <= byte < head + spec["data_offsets"][1]:
            return f"tensor '{name}'"
    return "header"


def detected(load: Callable[[], Any]) -> bool:
    try:
        load()
    except Exception:
        return True
    return False


def flips(root: Path, count: int) -> dict[str, Any]:
    """Flip single bits and count the loads that fail and name the place."""
    rng, folder = random.Random(1), root / "last"
    save_checkpoint(folder, example(7), {"step": 7, "loss": float("nan")})
    plain = {name: tensor for named in example(7).values() for name, tensor in named.items()}
    safetensors.torch.save_file(plain, root / "plain.safetensors")
    torch.save(plain, root / "plain.pt")
    peers = {
        "safetensors": (root / "plain.safetensors", safetensors.torch.load_file),
        "torch.save": (root / "plain.pt", torch.load),
    }
    files = sorted(folder.iterdir())
    sizes = [f.stat().st_size for f in files]
    found = dict.fromkeys(("trainwell", *peers), 0)
    missed: list[str] = []
    for i in range(count):
        file = rng.choice(files) if i % 2 else rng.choices(files, sizes)[0]
        bit = rng.randrange(8 * file.stat().st_size)
        expected = tensor_at(file, bit // 8)
        flip(file, bit)
        try:
            load_checkpoint(folder)
            missed.append(f"{file.name}, bit {bit}: not detected")
        except RunError as error:
            named = str(file) in str(error) and expected in str(error)
            found["trainwell"] += named
            missed += [] if named else [f"{file.name}, bit {bit}: '{error}' does not name {expected}"]
        flip(file, bit)
        for name, (path, load) in peers.items():
            other = rng.randrange(8 * path.stat().st_size)
            flip(path, other)
            found[name] += detected(lambda load=load, path=path: load(path))
            flip(path, other)
    load_checkpoint(folder)
    return {"flips": count, "detected": found, "missed": missed}


def check(folder: Path, at_least: int) -> str:
    """Return what is wrong with the checkpoints of a killed process, or the empty string."""
    found, notes = newest_valid(folder)
    if found is None:
        return f"no whole checkpoint: {notes}"
    step = found.state["step"]
    if step < at_least:
        return f"step {step}, but the save of step {at_least} had returned: {notes}"
    for stem, named in example(step).items():
        for name, tensor in named.items():
            if not torch.equal(found.tensors[stem][name], tensor):
                return f"{stem} {name} is not of step {step}"
    return ""


def forked(work: Callable[[], None]) -> int:
    """Run in a forked child, return its number; it never comes back here."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def kills(root: Path, count: int) -> dict[str, Any]:
    """Kill a saving process at random moments, each time going on from what is there."""
    rng, folder, wrong, step = random.Random(2), root / "last", list[str](), 0
    save_checkpoint(folder, example(0), {"step": 0})
    for _ in range(count):
        reader, writer = os.pipe()

        def save_for_ever(first: int = step + 1, pipe: int = writer) -> None:
            for i in range(first, first + 10**6):
                save_checkpoint(folder, example(i), {"step": i})
                os.write(pipe, i.to_bytes(8, "little"))

        child = forked(save_for_ever)
        os.close(writer)
        time.sleep(rng.uniform(0.001, 0.04))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        told = b""
        while data := os.read(reader, 1 << 16):
            told += data
        os.close(reader)
        step = max(step, int.from_bytes(told[-8:], "little"))
        problem = check(folder, step)
        wrong += [problem] if problem else []
        found, _ = newest_valid(folder)
        step = found.state["step"] if found else step
    return {"kills": count, "saves": step, "wrong": wrong}


def calls(root: Path, stride: int) -> dict[str, Any]:
    """Die before calls of C functions within one save over an old checkpoint and a leftover of each kind."""
    wrong: list[str] = []
    k = 0
    while True:
        folder = root / f"{k}" / "last"
        folder.parent.mkdir()
        save_checkpoint(folder, example(1), {"step": 1})
        save_checkpoint(folder.with_name("last.prev"), example(0), {"step": 0})
        (folder.parent / ".last.tmp-999999999-0").mkdir()

        def save_and_die(at: int = k, folder: Path = folder) -> None:
            left = at

            def count_down(frame: FrameType, event: str, _: Any) -> None:
                nonlocal left
                if event == "c_call" and any(p in frame.f_code.co_filename for p in PLACES):
                    left -= 1
                    if left < 0:
                        os._exit(9)

            sys.setprofile(count_down)
            save_checkpoint(folder, example(2), {"step": 2})
            sys.setprofile(None)

        _, status = os.waitpid(forked(save_and_die), 0)
        finished = os.waitstatus_to_exitcode(status) == 0
        problem = check(folder, 2 if finished else 1)
        wrong += [f"call {k}: {problem}"] if problem else []
        save_checkpoint(folder, example(3), {"step": 3})
        left = sorted(p.name for p in folder.parent.iterdir())
        wrong += [f"call {k}: left {left}"] if left != ["last"] else []
        if finished:
            return {"calls": k, "wrong": wrong}
        k += stride


def cost(root: Path, mb: float, rounds: int) -> dict[str, float]:
    """Return medians of CPU-ms a MB, and wall-ms of one save of a small model."""
    rows = max(1, int(mb * 2**20 / 4 / 1024 / 8))
    tensors = {f"layer{i}": torch.randn(rows, 1024) for i in range(8)}
    total = sum(t.nbytes for t in tensors.values()) / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    save_checkpoint(root / "last", {"weights": tensors}, {"step": 0})
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024
    folder, spent = root / "last", dict[str, list[float]]()

    def timed(name: str, work: Callable[[], object], scale: float, clock: Callable[[], float]) -> None:
        start = clock()
        work()
        spent.setdefault(name, []).append((clock() - start) * 1e3 / scale)

    for _ in range(rounds):
        cpu = time.process_time
        os.sync()  # else our sync pays for what the libraries left unwritten in the last round
        timed("save", lambda: save_checkpoint(folder, {"weights": tensors}, {"step": 1}), total, cpu)
        timed("verify", lambda: verify_checkpoint(folder), total, cpu)
        timed("load", lambda: load_checkpoint(folder), total, cpu)
        timed("safetensors", lambda: safetensors.torch.save_file(tensors, root / "a.safetensors"), total, cpu)
        timed("torch.save", lambda: torch.save(tensors, root / "a.pt"), total, cpu)
    os.sync()
    for _ in range(30):
        timed("small_save_wall_ms", lambda: save_checkpoint(root / "s", example(1), {}), 1, time.perf_counter)
        timed("small_save_cpu_ms", lambda: save_checkpoint(root / "s", example(1), {}), 1, time.process_time)
    medians = {name: round(statistics.median(values), 3) for name, values in spent.items()}
    return {**medians, "save_extra_peak_mb": round(extra, 1), "mb": round(total, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--flips", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument(
        "--mb", type=float, default=64.0, help="size of the checkpoint that is timed; 0: no timing"
    )
    parser.add_argument(
        "--rounds", type=int, default=7, help="timings of each; before each the machine is synced"
    )
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, 1 thread",
        "versions": {"torch": torch.__version__, "safetensors": safetensors.__version__},
    }
    for name, work in {
        "flips": lambda root: flips(root, args.flips),
        "kills": lambda root: kills(root, args.kills),
        "calls": lambda root: calls(root, args.stride),
        "cost": lambda root: cost(root, args.mb, args.rounds) if args.mb else {},
    }.items():
        with tempfile.TemporaryDirectory() as root:
            result[name] = work(Path(root))
    print(json.dumps(result, indent=None if args.json else 1))
    if any(result[k].get("wrong") or result[k].get("missed") for k in ("flips", "kills", "calls")):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
