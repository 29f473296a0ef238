"""One small table, one finished run on it, and a way to run a verb and look at all it leaves."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainwell.app.cli import run_command

QUICK = ("--preset", "quick", "--budget", "2ep", "--no-baseline")


@dataclasses.dataclass(frozen=True)
class Done:
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Done]


@pytest.fixture
def trainwell(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run one command in this process."""

    def run(*arguments: object) -> Done:
        capsys.readouterr()
        code = run_command([str(a) for a in arguments])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert "\x1b" not in said.out + said.err
        return Done(code, said.out, said.err)

    return run


def make_frame(rows: int = 240) -> pd.DataFrame:
    """Return two numbers, a category and a target that they decide but for noise."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"a": rng.normal(size=rows), "b": rng.normal(size=rows), "c": rng.choice(list("xyz"), rows)}
    )
    frame["y"] = np.where(frame.a + (frame.c == "x") + rng.normal(size=rows) > 0.3, "yes", "no")
    return frame


@pytest.fixture
def frame() -> pd.DataFrame:
    return make_frame()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a finished run and its data; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    data, run = folder / "t.csv", folder / "run"
    make_frame().to_csv(data, index=False)
    arguments = ["fit", str(data), "--target", "y", "--out", str(run), "--quiet", *QUICK]
    assert run_command(arguments) == 0
    return run, data
