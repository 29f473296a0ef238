"""Full disks, damage, impatience, longer budgets: what is lost is said, and what is kept ends bit for bit the same."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trainwell as tw
from benchmarks import resume
from trainwell.app.console import Console
from trainwell.app.run import Run
from trainwell.engine.step import Step
from trainwell.engine.training import Row, Training
from trainwell.values.runfolder import RunFolder

LIMIT = resource.getrlimit(resource.RLIMIT_FSIZE)


def limit_files(size: int) -> None:
    """Refuse to let any file grow beyond a size in bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, LIMIT[1]))


class Listener(Console):
    """Keeps every line, and limits the size of files, as a full disk would, while epochs first to last pass."""

    def __init__(self, first: int = 0, last: int = 0) -> None:
        self.text = io.StringIO()
        super().__init__(self.text)
        self.first, self.last = first, last

    def epoch(self, training: Training, row: Row) -> None:
        if row["epoch"] in (self.first, self.last):
            limit_files(1 if row["epoch"] == self.first else LIMIT[0])
        super().epoch(training, row)

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.text.getvalue().splitlines() if "warning" in line]


@pytest.fixture(autouse=True)
def no_limit_afterwards() -> Iterator[None]:
    yield
    limit_files(LIMIT[0])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an undisturbed run of the own module, 96 steps in 12 epochs; not to be changed."""
    root = tmp_path_factory.mktemp("whole")
    resume.fit_module(root, root / "run")
    return root / "run"


def equal(folder: Path, whole: Path) -> bool:
    return resume.differences(resume.digests(folder), resume.digests(whole)) == []


def go_on(folder: Path, console: Console | None = None, **options: Any) -> Run:
    return tw.resume(folder, resume.tensors(), model=resume.network(), console=console, **options)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


class Killed(BaseException):
    """Ends a training as a kill does: nothing is saved."""


@contextlib.contextmanager
def killed_after(step: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        call = Step.__call__

        def die(self: Step, *batch: Any) -> Any:
            loss = call(self, *batch)
            if self.count == step:
                raise Killed
            return loss

        patch.setattr(Step, "__call__", die)
        with pytest.raises(Killed):
            yield


def fit(out: Path, **options: Any) -> Run:
    """Train the own module as `resume.fit_module` does, with further options."""
    recipe = tw.Recipe.from_dict(resume.RECIPE.to_dict())
    return tw.fit(resume.tensors(), model=resume.network(), recipe=recipe, out=out, **options)


def test_a_disk_that_is_full_to_the_end_costs_one_warning(tmp_path: Path, whole: Path) -> None:
    console = Listener(first=3)
    run = fit(tmp_path / "run", console=console, checkpoint_every=0)
    limit_files(LIMIT[0])
    folder = tmp_path / "run"
    assert console.warnings == [
        f"warning: {folder} cannot be written (File too large); the training goes on."
    ]
    assert len(run.history) == 12
    assert run.unsaved == "File too large"
    assert "not saved" in repr(run)
    again = Listener()
    go_on(folder, again)  # the disk has space again
    assert again.warnings == []
    # the last checkpoint before the limit; looks make further pauses, at which one is written
    assert re.search(r"resumed   after step 1[6-9]|resumed   after step 2[0-4]", again.text.getvalue())
    assert equal(folder, whole)


def test_a_disk_that_is_full_for_a_while_costs_one_warning_and_no_history(
    tmp_path: Path, whole: Path
) -> None:
    console = Listener(first=3, last=6)
    run = fit(tmp_path / "run", console=console, checkpoint_every=0)
    assert len(console.warnings) == 1
    assert run.unsaved == ""
    told = [e["epoch"] for e in RunFolder(run.path).read_journal()[0] if e["event"] == "epoch"]
    assert len(told) < 12
    found = tw.load(run.path, model=resume.network())
    assert [row["epoch"] for row in found.history] == list(range(1, 13))
    differs = resume.differences(resume.digests(tmp_path / "run"), resume.digests(whole))
    assert differs == ["journal"]


def test_a_disk_that_is_full_at_the_start_leaves_nothing(tmp_path: Path) -> None:
    limit_files(1)
    with pytest.raises(tw.UsageError, match=r"the folder .*run cannot be written: File too large"):
        fit(tmp_path / "run")
    limit_files(LIMIT[0])  # before pytest reports, maybe into a file
    assert not list(tmp_path.rglob("*.*"))


FULL = """
import contextlib, io, json, os, subprocess, sys
from trainwell.app import console
from trainwell.app.cli import run_command

disk, data = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=True)
epoch = console.Console.epoch

def fill_at_epoch_3(self, training, row):
    if row["epoch"] == 3:
        with contextlib.suppress(OSError), open(disk + "/filler", "wb", buffering=0) as file:
            while True:
                file.write(b"0" * 512)
    epoch(self, training, row)

console.Console.epoch = fill_at_epoch_3
said = io.StringIO()
words = ["--target", "y", "--preset", "quick", "--budget", "6ep", "--set", "model.width=8", "--set", "model.depth=1"]
with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
    codes = [run_command(["fit", data, *words, "--out", disk + "/run", "--checkpoint-every", "0s", "--no-baseline"])]
    console.Console.epoch = epoch
    os.unlink(disk + "/filler")
    codes.append(run_command(["resume", disk + "/run", "--no-baseline"]))
    codes.append(run_command(["predict", disk + "/run", data, "--out", disk + "/p.csv"]))
print(json.dumps([codes, said.getvalue().splitlines()]))
"""


def test_a_full_file_system_costs_the_command_one_warning(tmp_path: Path) -> None:
    if (
        shutil.which("unshare") is None
        or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode
    ):
        pytest.skip("a file system of its own can be mounted by root only")
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", FULL, disk, resume.table(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    codes, said = json.loads(done.stdout)
    assert codes == [4, 0, 0], said
    full = "No space left on device"
    assert [s for s in said if "warning:" in s] == [
        f"warning: {disk}/run cannot be written ({full}); the training goes on."
    ]
    assert f"error: the end of the run could not be written to {disk}/run: {full}." in said


def test_second_sigint_leaves_at_once(tmp_path: Path) -> None:
    script = (
        "import signal, sys\n"
        "from trainwell.app.cli import run_command\n"
        "from trainwell.engine.step import Step\n"
        "call = Step.__call__\n"
        "def twice(self, *batch):\n"
        "    if self.count == 40:\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "        print('first', flush=True)\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "        print('second', flush=True)\n"
        "    return call(self, *batch)\n"
        "Step.__call__ = twice\n"
        "sys.exit(run_command(sys.argv[1:]))\n"
    )
    out, path = tmp_path / "run", tmp_path / "recipe.json"
    path.write_text(json.dumps(resume.table_recipe(14, 3).to_dict()))
    words = ["fit", resume.table(tmp_path), "--target", "y", "--recipe", path, "--out", out, "--no-baseline"]
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, words), "--checkpoint-every", "0"],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (130, "first\n"), done.stderr
    assert not (out / "best").exists()
    tw.resume(out, baseline=False)
    resume.fit_table(tmp_path, tmp_path / "whole")
    assert equal(out, tmp_path / "whole")


def test_a_finished_run_is_extended(tmp_path: Path, whole: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    first = go_on(folder)  # nothing is left to do
    assert equal(folder, whole)
    run = go_on(folder, budget="15ep")
    assert 12 < len(run.history) <= 15  # it may stop early, as the device rounds
    assert run.history[-1]["step"] == 8 * len(run.history)
    assert run.history[:12] == first.history
    assert run.recipe.epochs == 15
    found = tw.load(folder, model=resume.network())
    assert found.recipe.epochs == 15
    assert found.history == run.history
    assert found.stop_reason == run.stop_reason


def test_an_extended_run_that_is_killed_goes_on_to_its_new_end(tmp_path: Path, whole: Path) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    for folder in (straight, killed):
        shutil.copytree(whole, folder)
    go_on(straight, budget="15ep")
    with killed_after(98):
        go_on(killed, budget="15ep")
    assert tw.load(killed, model=resume.network()).stop_reason == "unfinished"
    go_on(killed)
    assert equal(killed, straight)


@pytest.mark.parametrize("budget", ["5ep", "12ep", "1m"])
def test_a_budget_that_is_spent_is_refused(tmp_path: Path, whole: Path, budget: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    if budget == "12ep":
        assert len(go_on(folder, budget=budget).history) == 12  # the same budget: nothing is left to do
    else:
        with pytest.raises(tw.UsageError, match=r"has trained 96 already; give a longer one"):
            go_on(folder, budget=budget)
    assert equal(folder, whole)
    assert json.loads((folder / "recipe.json").read_text())["epochs"] == 12


def test_a_damaged_only_checkpoint_starts_the_run_again_and_says_so(tmp_path: Path, whole: Path) -> None:
    folder = resume.cut("module", tmp_path, 50)
    flip(folder / "last" / "states.safetensors")
    console = Listener()
    go_on(folder, console)
    assert len(console.warnings) == 2
    assert "passed over" in console.warnings[0]
    assert "last/states.safetensors: tensor '" in console.warnings[0]
    assert console.warnings[1] == "warning: no checkpoint is whole: the run starts again from its first step."
    assert equal(folder, whole)


def test_a_damaged_checkpoint_gives_way_to_its_predecessor(tmp_path: Path, whole: Path) -> None:
    folder = resume.cut("module", tmp_path, 30)
    shutil.copytree(folder / "last", tmp_path / "kept")
    with resume.sigint_after(55):
        go_on(folder)
    (tmp_path / "kept").rename(folder / "last.prev")
    flip(folder / "last" / "weights.safetensors")
    assert [row["epoch"] for row in tw.load(folder, model=resume.network()).history] == list(range(1, 7))
    console = Listener()
    go_on(folder, console)
    assert [("weights.safetensors" in w, "last.prev (step 30)" in w) for w in console.warnings] == [
        (True, False), (False, True)
    ]  # fmt: skip
    assert equal(folder, whole)


def test_a_last_checkpoint_that_a_kill_left_without_its_name_gets_it(tmp_path: Path, whole: Path) -> None:
    """The kill came after the last step's checkpoint was written and before it was renamed."""
    folder, older = tmp_path / "run", resume.cut("module", tmp_path, 50)
    shutil.copytree(whole, folder)
    (folder / "last").rename(folder / ".last.tmp-999999999-0")
    (older / "last").rename(folder / "last")
    go_on(folder, Listener())
    assert equal(folder, whole)
    assert not list(folder.glob(".last*"))


def test_a_torn_journal_is_told_and_mended(tmp_path: Path, whole: Path) -> None:
    folder = resume.cut("module", tmp_path, 50)
    with open(folder / "journal.jsonl", "ab") as file:
        file.write(b'{"event": "epo')
    console = Listener()
    go_on(folder, console)
    journal = folder / "journal.jsonl"
    assert console.warnings == [f"warning: {journal}: the last line was torn (14 bytes); cut off."]
    assert equal(folder, whole)


@pytest.mark.parametrize("damage", ["missing", "damaged", "short"])
def test_a_damaged_trace_costs_no_run(tmp_path: Path, whole: Path, damage: str) -> None:
    folder = resume.cut("module", tmp_path, 50)
    path = folder / "traces" / "train_loss.npy"
    if damage == "missing":
        path.unlink()
    elif damage == "damaged":
        path.write_bytes(path.read_bytes()[:-3])
    else:
        RunFolder(folder).save_trace("train_loss", np.zeros(0, np.float32))
    console = Listener()
    go_on(folder, console)
    assert len(console.warnings) == (damage != "short")
    assert resume.differences(resume.digests(folder), resume.digests(whole)) == ["trace train_loss"]
    trace, undamaged = (RunFolder(f).load_trace("train_loss") for f in (folder, whole))
    assert np.isnan(trace[:48]).all()
    assert (trace[48:] == undamaged[48:]).all()


def test_rows_after_the_checkpoint_that_was_resumed_do_not_count(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with killed_after(79):
        fit(folder)
    told = [e["epoch"] for e in RunFolder(folder).read_journal()[0] if e["event"] == "epoch"]
    assert told == list(range(1, 10))
    with resume.sigint_after(20):
        go_on(folder)
    assert len(tw.load(folder, model=resume.network()).history) == 2


def test_a_run_in_training_is_not_touched_by_a_second_process(tmp_path: Path) -> None:
    folder = resume.cut("module", tmp_path, 20)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "lock"}
    with RunFolder(folder).lock(), pytest.raises(tw.RunError, match="is being trained by process"):
        go_on(folder, budget="30ep")
    assert {p: p.read_bytes() for p in before} == before


@pytest.mark.parametrize("text", ["-1", "soon", "10ep", "1s,2s"])
def test_a_wrong_time_between_checkpoints_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(tw.UsageError, match=r"^checkpoint_every=.*: expected e\.g\. 10s"):
        fit(tmp_path / "run", checkpoint_every=text)
    assert not (tmp_path / "run").exists()


def test_checkpoints_come_as_often_as_asked(tmp_path: Path) -> None:
    def count(folder: Path, **options: Any) -> int:
        fit(folder, **options)
        return sum(e["event"] == "checkpoint" for e in RunFolder(folder).read_journal()[0])

    assert count(tmp_path / "default") == 1
    assert count(tmp_path / "rarely", checkpoint_every="1h") == 1
    # after every epoch, and at the end; looks would make further pauses
    assert count(tmp_path / "always", checkpoint_every=0, watch=False) == 13


class Slow(torch.nn.Linear):
    """A network of which a block of 64 steps takes 1.3 seconds."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.02)
        return super().forward(x)


def test_slow_steps_keep_to_the_budget_and_to_the_time_between_checkpoints(tmp_path: Path) -> None:
    (x, y), recipe = resume.rows(128, 1), tw.Recipe(batch_size=2, epochs=50)
    folder, part = tmp_path / "run", (x[:9], y[:9])
    run = tw.fit(
        ((x, y), part), model=Slow(13, 3), recipe=recipe, budget="1s", checkpoint_every=0.2, out=folder
    )
    assert run.stop_reason == "budget of time"
    assert run.history[-1]["step"] < 64
    steps = [e["step"] for e in RunFolder(folder).read_journal()[0] if e["event"] == "checkpoint"]
    assert len(steps) > 2
