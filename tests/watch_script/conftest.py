"""Runs a script in this process: as Python would, and under `trainwell watch`."""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.modules import module

from trainwell.app.cli import run_command

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.fixture(autouse=True)
def own_process(tmp_path: Path) -> Iterator[None]:
    """Put back what a script's own process would take along."""
    kept = sys.argv, list(sys.path), sys.modules["__main__"], os.getcwd()
    handler = signal.getsignal(signal.SIGTERM)
    os.chdir(tmp_path)
    with warnings.catch_warnings():
        yield
    sys.argv, sys.path[:], sys.modules["__main__"] = kept[:3]
    os.chdir(kept[3])
    signal.signal(signal.SIGTERM, handler)


def run_plain(script: Path, *arguments: object) -> None:
    """Run a script as `python script arguments...` does."""
    sys.argv = [str(script), *map(str, arguments)]
    runpy.run_path(str(script), run_name="__main__")


Watched = Callable[..., tuple[int, str, Path]]


@pytest.fixture
def watched(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Watched:
    """Run a script under the watcher; return exit code, what was said, and the run folder."""

    def run(script: Path, *arguments: object, options: tuple[str, ...] = ()) -> tuple[int, str, Path]:
        capfd.readouterr()
        folder = tmp_path / "run"
        code = run_command(["watch", "--out", str(folder), *options, str(script), *map(str, arguments)])
        assert not module._has_any_global_hook()
        return code, capfd.readouterr().err, folder

    return run


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
    return loaded


def assert_same_bits(a: Path, b: Path) -> None:
    one, other = weights_of(a), weights_of(b)
    assert one.keys() == other.keys()
    assert not [k for k in one if not torch.equal(one[k], other[k])]


def findings_of(folder: Path) -> list[dict[str, Any]]:
    """Return the trainings of `findings.json`."""
    return list(json.loads((folder / "findings.json").read_text())["trainings"])
