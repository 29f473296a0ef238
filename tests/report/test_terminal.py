"""What a terminal and a pipe get to see of a training."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from trainwell.report.terminal import End, LiveLine, Moment, ending, is_live, live_line

ROW = {"epoch": 3, "train_loss": 0.5, "val_loss": 0.25, "val_metric": 0.9}


def moment(**changes: object) -> Moment:
    held = {
        "step": 300,
        "total_steps": 1000,
        "epoch": 4,
        "epochs": 10,
        "rows": 32,
        "seconds": 3.0,
        "steps_here": 300,
        "last": ROW,
    }
    return Moment(**{**held, "metric": "accuracy", "best_epoch": 3, **changes})  # type: ignore[arg-type]


def test_live_line_tells_all_that_is_known() -> None:
    line = live_line(moment(findings=("learning rate too high", "dead units")))
    for part in (
        "epoch 4/10",
        "30%",
        "3,200 rows/s",
        "loss 0.5000",
        "val 0.2500",
        "accuracy 0.9000",
        "best 3",
        "7.0 s left",
        "found: learning rate too high and 1 more",
    ):
        assert part in line, part


def test_live_line_of_the_first_step_has_no_number_that_is_not_known() -> None:
    line = live_line(moment(step=0, steps_here=0, seconds=0.0, last={}, best_epoch=0, epoch=1))
    assert line == "epoch 1/10 ·   0%"
    assert live_line(moment(step=1000)).startswith("all 1,000 steps are done")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_only_a_terminal_is_live() -> None:
    assert is_live(Terminal(), {})
    assert not is_live(Terminal(), {"TERM": "dumb"})
    assert not is_live(io.StringIO(), {})
    closed = io.StringIO()
    closed.close()
    assert not is_live(closed, {})


def test_rows_stand_above_the_line_and_the_cursor_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    screen = Terminal()
    line = LiveLine(screen, moment)
    line.say("epoch    3  val 0.25  *", best=True)
    line.say("[red]no markup[/red]")
    line.stop()
    line.stop()
    text = screen.getvalue()
    assert "\x1b[1;32mepoch    3" in text
    assert "[red]no markup[/red]" in text
    assert text.count("\x1b[?25h") >= text.count("\x1b[?25l") >= 1


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Terminal()
    line = LiveLine(screen, moment)
    line.say("epoch    3  *", best=True)
    line.stop()
    assert not re.search(r"\x1b\[[\d;]*3\dm", screen.getvalue())


def test_every_run_ends_in_five_lines() -> None:
    rows = [{"epoch_s": 2.0, "validation_s": 0.5}] * 4
    end = End(
        {"test": {"rmse": 0.875}}, "rmse", "budget of epochs", rows, 3, 8.1, (0.8, 0.95), {"test": 800}, 1.0,
        [("learning rate too high", "lower it"), ("dead units", "")], "runs/a", "treat runs/a",
    )  # fmt: skip
    assert list(ending(end)) == [
        "score     test rmse 0.8750 (95 % interval 0.8000 to 0.9500, 800 rows)",
        "stopped   budget of epochs; best epoch 3 of 4, 8.1 s",
        "time      2.0 s an epoch: training 62%, validation 25%, watching 12%",
        "findings  learning rate too high: lower it; and 1 more: dead units",
        "report    trainwell report runs/a; then: trainwell treat runs/a",
    ]
    assert list(ending(End({}, "", "failed", [], 0, 0.1))) == ["stopped   failed; best epoch 0 of 0, 0.1 s"]


def test_training_in_a_pipe_writes_no_control_code(trained: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "trainwell",
        "fit",
        str(trained.parent / "table.parquet"),
        "--target",
        "target",
    ]
    options = ["--budget", "2ep", "--preset", "quick", "--no-baseline", "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [*command, *options], capture_output=True, env={**os.environ, "FORCE_COLOR": ""}, check=True
    )
    said = done.stderr.decode()
    assert "\x1b" not in said + done.stdout.decode() and "\r" not in said
    assert len(re.findall(r"^epoch ", said, re.MULTILINE)) == 2
    ends = [line.partition(" ")[0] for line in said.splitlines()][-5:]
    assert ends == ["score", "stopped", "time", "findings", "report"]
    assert "95 % interval" in said
