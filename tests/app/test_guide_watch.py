"""What docs/guide-watch.md shows runs as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trainwell.app.cli.entry import cli, run_command

GUIDE = (Path(__file__).parents[2] / "docs" / "guide-watch.md").read_text()


def commands() -> list[list[str]]:
    blocks = re.findall(r"^```\n(.*?)^```", GUIDE, re.S | re.M)
    lines = [line for block in blocks for line in block.splitlines()]
    assert lines
    assert all(line.startswith("trainwell ") for line in lines)
    return [shlex.split(line)[1:] for line in lines]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3))
    frame = pd.DataFrame(x, columns=["a", "b", "c"]).assign(income=np.where(x[:, 0] > 0, "high", "low"))
    frame.to_csv("data.csv", index=False)
    return tmp_path


def test_commands_of_the_guide_run(place: Path) -> None:
    short = ["--preset", "quick", "--budget", "3ep", "--no-baseline", "--quiet"]
    for i, words in enumerate(c for c in commands() if c[0] == "fit"):
        out = [] if i else ["--out", "runs/first"]
        assert run_command([*words, *short, *out]) == 0, words
        assert (place / "runs" / "first" / "findings.json").is_file()
    (place / "runs" / "latest").unlink()
    (place / "runs" / "latest").symlink_to("first")
    for words in (c for c in commands() if c[0] == "diagnose"):
        assert run_command(words) in ((0, 5) if "--fail-on" in words else (0,)), words
    for words in (c for c in commands() if c[0] == "watch"):  # they run in tests/watch_script
        known = {name for p in cli.commands["watch"].params for name in p.opts}
        script = next(i for i, w in enumerate(words) if w.endswith(("train", "train.py")))
        assert {w for w in words[1:script] if w.startswith("-")} <= known


def test_python_of_the_guide_runs(place: Path) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```", GUIDE, re.S | re.M)
    exec(compile(block, "guide-watch.md", "exec"), {})  # noqa: S102
    assert run_command(["diagnose", "runs/net"]) == 0
