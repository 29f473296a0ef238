"""Every example runs in seconds, warns of nothing, writes nothing, and reaches what it says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _nothing_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.iterdir())


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    run = load("table").main()
    assert run.score > 0.8
    assert "new rows right" in capsys.readouterr().out


def test_own_module(capsys: pytest.CaptureFixture[str]) -> None:
    run = load("own_module").main()
    assert run.score > 0.9
    assert "validation images right" in capsys.readouterr().out


def test_sklearn_pipeline(capsys: pytest.CaptureFixture[str]) -> None:
    search = load("sklearn_pipeline").main()
    assert len(search.cv_results_["params"]) == 4
    assert "accuracy 0.9" in capsys.readouterr().out
