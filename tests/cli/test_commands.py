"""The command line as a user meets it: results, messages, exit codes, and what is left on the disk."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trainwell.app.cli import run_command

FIT = ("--preset", "quick", "--budget", "3ep", "--no-baseline")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"a": rng.normal(size=240), "b": rng.normal(size=240), "c": rng.choice(list("xyz"), 240)}
    )
    frame["y"] = np.where(frame.a + (frame.c == "x") > 0.3, "yes", "no")
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    return path


def edit(table: Path, **columns: object) -> Path:
    frame = pd.read_csv(table).astype(object).assign(**columns)
    frame.to_csv(table, index=False)
    return table


def test_fit_evaluate_predict_resume_export(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = table.parent / "run"
    assert run_command(["fit", str(table), "--target", "y", "--out", str(out), "--json", *FIT]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["epochs"] == 3
    assert "\x1b" not in captured.err

    assert run_command(["evaluate", str(out), str(table), "--json"]) == 0
    assert 0.3 < json.loads(capsys.readouterr().out)["scores"]["accuracy"] <= 1

    assert (
        run_command(["predict", str(out), str(table), "--proba", "--out", str(table.parent / "p.csv")]) == 0
    )
    predicted = pd.read_csv(table.parent / "p.csv")
    assert len(predicted) == 240
    np.testing.assert_allclose(predicted.probability_no + predicted.probability_yes, 1)
    capsys.readouterr()

    assert run_command(["resume", str(out), "--budget", "5ep", "--no-baseline", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == 5

    assert run_command(["export", str(out), "--out", str(table.parent / "export")]) == 0
    assert sorted(p.name for p in (table.parent / "export").iterdir()) == [
        "model.json",
        "weights.safetensors",
    ]


def test_two_fits_of_one_seed_are_equal(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = []
    for name in ("one", "two"):
        out = table.parent / name
        assert run_command(["fit", str(table), "--target", "y", "--out", str(out), "--quiet", *FIT]) == 0
        weights.append((out / "best" / "weights.safetensors").read_bytes())
    assert weights[0] == weights[1]


BAD = {
    "missing target": ({"y": [None, *["yes", "no"] * 119, "no"]}, (), 3, r"y.*missing|missing.*y"),
    "text in numbers": ({"a": ["abc", *np.arange(239) / 7]}, (), 3, r"'a'.*abc|abc.*'a'"),
    "one class": ({"y": "yes"}, (), 3, r"one class|one value"),
    "infinity": ({"a": ["inf", *np.arange(239) / 7]}, (), 3, r"'a'"),
    "no such column": ({}, ("--target", "yy"), 2, r"Did you mean 'y'"),
    "no such technique": ({}, ("--with", "dropuot"), 2, r"Did you mean 'dropout'"),
    "no such dose": ({}, ("--with", "dropout:rte=0.1"), 2, r"Did you mean 'rate'"),
    "dose out of range": ({}, ("--with", "dropout:rate=1.5"), 2, r"must lie in \[0.01, 0.9\]"),
    "not in the recipe": ({}, ("--without", "ema"), 2, r"the recipe has no 'ema'"),
    "no such field": ({}, ("--set", "lrr=1"), 2, r"Did you mean 'lr'"),
    "bad budget": ({}, ("--budget", "5parsecs"), 2, r"expected e.g. 20ep"),
    "bad preset": ({}, ("--preset", "fast"), 2, r"expected one of quick"),
    "bad task": ({}, ("--task", "binry"), 2, r"binary"),
    "bad device": ({}, ("--device", "cudda"), 2, r"not available here"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named_and_leaves_nothing(
    name: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns, options, code, message = BAD[name]
    edit(table, **columns)
    out = table.parent / "run"
    arguments = ["fit", str(table), "--target", "y", "--out", str(out), *FIT, *options]
    assert run_command(arguments) == code
    captured = capsys.readouterr()
    assert re.search(message, captured.err), captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert not out.exists()


def test_missing_file_and_missing_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["fit", str(tmp_path / "no.csv"), "--target", "y"]) in (2, 3)
    assert run_command(["resume", str(tmp_path / "no-run")]) == 2
    assert "no run" in capsys.readouterr().err


def test_resume_refuses_other_data(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = table.parent / "run"
    assert run_command(["fit", str(table), "--target", "y", "--out", str(out), "--quiet", *FIT]) == 0
    edit(table, a=1.5 * np.arange(240) % 7)
    assert run_command(["resume", str(out)]) == 3
    assert "not the data" in capsys.readouterr().err


def test_divergence_exits_4_and_keeps_finite_weights(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = table.parent / "run"
    rate = ("--set", "lr=1e30", "--set", "optimizer=sgd")
    assert run_command(["fit", str(table), "--target", "y", "--out", str(out), *FIT, *rate]) == 4
    assert "not finite" in capsys.readouterr().err


def test_interrupt_saves_and_resume_equals_the_undisturbed_run(table: Path) -> None:
    options = ["--target", "y", "--budget", "400ep", "--no-baseline", "--preset", "quick"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = [sys.executable, "-c", "from trainwell.app.cli import main; main()"]
    cut, whole = table.parent / "cut", table.parent / "whole"
    process = subprocess.Popen(
        [*start, "fit", str(table), *options, "--out", str(cut)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch    5"):
            process.send_signal(signal.SIGINT)
            break
    process.stderr.read()
    assert process.wait(30) == 130
    assert (
        subprocess.run([*start, "resume", str(cut), "--no-baseline", "--quiet"], env=environment).returncode
        == 0
    )
    assert (
        subprocess.run(
            [*start, "fit", str(table), *options, "--out", str(whole), "--quiet"], env=environment
        ).returncode
        == 0
    )
    assert (cut / "best/weights.safetensors").read_bytes() == (
        whole / "best/weights.safetensors"
    ).read_bytes()


def test_help_imports_no_torch() -> None:
    code = "import sys; from trainwell.app.cli import run_command as run; run(['-h']); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_techniques_lists_every_registered_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["techniques", "--json"]) == 0
    found = {e["name"]: e for e in json.loads(capsys.readouterr().out)}
    assert found["clip_grad"]["sites"] == ["grads"]
    assert all(e["source"] for e in found.values())
