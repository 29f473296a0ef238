"""A script computes the same with the watcher as without it, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.watch_script.conftest import SCRIPTS, Watched, assert_same_bits, findings_of, run_plain
from trainwell.values.signal import Traces

LOOKED = (
    "plain",
    "workers",
    "accumulate",
    "keep_whole",
    "closure",
    "parts",
    "encoder_decoder",
    "two_optimizers",
    "compiled",
)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", LOOKED)
def test_weights_and_streams_are_equal(name: str, tmp_path: Path, watched: Watched) -> None:
    script = SCRIPTS / f"{name}.py"
    run_plain(script, tmp_path / "a.pt")
    code, said, folder = watched(script, tmp_path / "b.pt")
    assert code == 0, said
    assert_same_bits(tmp_path / "a.pt", tmp_path / "b.pt")
    traces = Traces.load(folder / "watch")
    assert traces.facts["steps"] >= 30
    assert len(traces.get("train_loss")) == traces.facts["steps"]
    assert len(traces.get("q")) > 3, "the steps were not looked at"
    for problem in ("watch_error", "no_looks", "unmeasured", "no_replica"):
        assert traces.fact(problem) is None


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ["functional", "in_backward", "script_module"])
def test_rare_ways_to_train_are_left_as_they_are(name: str, tmp_path: Path, watched: Watched) -> None:
    script = SCRIPTS / f"{name}.py"
    run_plain(script, tmp_path / "a.pt")
    code, said, folder = watched(script, tmp_path / "b.pt")
    assert code == 0, said
    assert_same_bits(tmp_path / "a.pt", tmp_path / "b.pt")
    traces = Traces.load(folder / "watch")
    assert traces.fact("watch_error") is None, said
    assert traces.facts["steps"] >= 30
    contracts = {"missing_zero_grad", "loss_mismatch"}
    assert not contracts & {f["ailment"] for t in findings_of(folder) for f in t["findings"]}


def test_a_new_process_writes_an_equal_file(tmp_path: Path) -> None:
    script = SCRIPTS / "plain.py"
    run_plain(script, tmp_path / "0.pt")
    done = subprocess.run(
        [sys.executable, "-m", "trainwell", "watch", str(script), "1.pt"], cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "written 1.pt\n"), done.stderr
    assert_same_bits(tmp_path / "0.pt", tmp_path / "1.pt")
    assert (tmp_path / "runs" / "latest" / "findings.json").exists()


@pytest.mark.parametrize("place", ["Watch._on_step", "Watch._measure", "Finder._after_step", "Finder._close"])
def test_error_in_the_watcher_costs_one_line_and_nothing_else(
    place: str, tmp_path: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = SCRIPTS / "plain.py"
    run_plain(script, tmp_path / "a.pt")
    owner = place.partition(".")[0]
    monkeypatch.setattr(f"trainwell.watch.{'watcher' if owner == 'Watch' else 'finder'}.{place}", _broken)
    code, said, _ = watched(script, tmp_path / "b.pt")
    assert code == 0
    assert_same_bits(tmp_path / "a.pt", tmp_path / "b.pt")
    lines = [line for line in said.splitlines() if "the watcher stopped" in line]
    assert len(lines) <= 1 + ("note" in said), said
    assert "Traceback" not in said


def _broken(*_: object) -> None:
    raise ZeroDivisionError("a bug of ours")


def test_what_was_patched_is_put_back(tmp_path: Path, watched: Watched) -> None:
    from torch.nn.modules import module

    names = [(torch.optim.Optimizer, "__init__"), (torch.Tensor, "backward")]
    names += [(torch.nn.functional, n) for n in ("cross_entropy", "mse_loss")]
    before = [getattr(owner, name) for owner, name in names]
    watched(SCRIPTS / "own_loss.py", tmp_path / "b.pt")
    assert [getattr(owner, name) for owner, name in names] == before
    assert not module._has_any_global_hook()


def test_own_loss_in_parts_is_seen(tmp_path: Path, watched: Watched) -> None:
    script = SCRIPTS / "own_loss.py"
    run_plain(script, tmp_path / "a.pt")
    code, _, folder = watched(script, tmp_path / "b.pt")
    assert code == 0
    assert_same_bits(tmp_path / "a.pt", tmp_path / "b.pt")
    losses = Traces.load(folder / "watch").get("train_loss")
    assert len(losses) == 30
    assert losses.values[-1] < losses.values[0]


def test_networks_trained_in_turn_are_left_alone(tmp_path: Path, watched: Watched) -> None:
    script = SCRIPTS / "adversaries.py"
    run_plain(script, tmp_path / "a.pt")
    code, said, folder = watched(script, tmp_path / "b.pt")
    assert code == 0
    assert_same_bits(tmp_path / "a.pt", tmp_path / "b.pt")
    assert "trained in turn" in said
    assert [t["findings"] for t in findings_of(folder)] == [[]]


def test_trainings_one_after_the_other_are_told_apart(tmp_path: Path, watched: Watched) -> None:
    script = SCRIPTS / "folds.py"
    run_plain(script, tmp_path / "a.pt")
    code, said, folder = watched(script, tmp_path / "b.pt", options=("--fail-on", "missing_zero_grad"))
    assert code == 5
    assert_same_bits(tmp_path / "a.pt", tmp_path / "b.pt")
    found = [
        [f["ailment"] for f in t["findings"] if f["severity"] != "information"] for t in findings_of(folder)
    ]
    assert "missing_zero_grad" in found[1]
    assert "missing_zero_grad" not in found[0] + found[2]
    assert "training  2 of 3 (Sequential), 100 steps" in said
    assert {p.name for p in folder.iterdir()} == {
        "watch",
        "watch-2",
        "watch-3",
        "findings.json",
        "script.json",
    }
