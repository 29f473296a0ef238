"""Each adapter in the real framework, where that is installed."""

from __future__ import annotations

import importlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.attach import trainings
from tests.attach.trainings import HEALTHY, SICK, TRAININGS, Case
from trainwell.app.findings import read_diagnoses, read_findings
from trainwell.watch import losses
from trainwell.watch.attach.attached import Attached

pytestmark = pytest.mark.filterwarnings("ignore")  # the frameworks warn of themselves

SHORT = Case(epochs=3, dropout=0.3)
Streams = tuple[float, float, float]


@pytest.fixture(params=sorted(TRAININGS))
def name(request: pytest.FixtureRequest) -> str:
    found = str(request.param)
    pytest.importorskip(trainings.PACKAGES.get(found, found))
    return found


def train(name: str, case: Case, **options: Any) -> tuple[trainings.Weights, Streams]:
    """Train unwatched; return the weights and where the random streams stand."""
    torch.set_num_threads(1)
    weights = TRAININGS[name](case, options.get("watch"))
    return weights, (random.random(), float(np.random.random()), float(torch.rand(())))


def train_watched(
    name: str, case: Case, lines: list[str], folder: Path | None = None
) -> tuple[trainings.Weights, Streams, Attached]:
    made: list[Attached] = []
    kind = importlib.import_module(f"trainwell.watch.attach.{name}").WatchCallback

    def make(*objects: Any) -> Attached:
        made.append(kind(*objects, folder=folder, say=lines.append))
        return made[-1]

    weights, streams = train(name, case, watch=make if name == "accelerate" else make())
    return weights, streams, made[-1]


def assert_same_bits(one: trainings.Weights, other: trainings.Weights) -> None:
    assert len(one) == len(other) > 0
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_healthy_training_is_quiet_and_bit_equal(name: str, tmp_path: Path) -> None:
    plain, streams = train(name, HEALTHY)
    lines: list[str] = []
    weights, streams_watched, watch = train_watched(name, HEALTHY, lines, tmp_path)
    assert_same_bits(plain, weights)
    assert streams == streams_watched
    assert not [f.ailment for f in watch.findings if f.is_alarm]
    assert lines[0].startswith("trainwell: no finding that asks for a change")
    traces = watch.traces
    assert traces.fact("steps") == len(traces.get("train_loss")) == HEALTHY.epochs * 45
    assert len(traces.get("val_loss")) == HEALTHY.epochs
    assert np.isfinite(traces.get("q").values).sum() > 10, "the steps were not looked at"
    for problem in ("watch_error", "no_looks", "unmeasured", "no_replica"):
        assert traces.fact(problem) is None, traces.fact(problem)


def test_loss_written_by_hand_is_recognised(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "keras":
        pytest.skip("Keras tells of its losses itself")
    monkeypatch.setattr(losses, "_wrap", lambda _, function: function)  # no function of torch is heard
    _, _, watch = train_watched(name, HEALTHY, [])
    traces = watch.traces
    assert traces.fact("loss_by_hand") and traces.fact("loss_kind") == "classification"
    assert len(traces.get("train_loss")) == HEALTHY.epochs * 45 and traces.fact("watch_error") is None
    assert np.isfinite(traces.get("q").values).sum() > 10
    assert not [f.ailment for f in watch.findings if f.is_alarm]


@pytest.mark.parametrize("ailment", SICK)
def test_fault_is_named_and_read_from_the_folder(name: str, ailment: str, tmp_path: Path) -> None:
    if (name, ailment) == ("keras", "lr_too_high"):
        pytest.skip("of Keras the units are not seen, whose death shows this rate")
    lines: list[str] = []
    _, _, watch = train_watched(name, SICK[ailment], lines, tmp_path)
    assert [f.ailment for f in watch.findings if f.is_alarm] == [ailment]
    assert any(line.startswith("  change") for line in lines)
    _, diagnoses = read_diagnoses(tmp_path)
    assert [f.ailment for d in diagnoses for f in d.findings] == [f.ailment for f in watch.findings]
    assert read_findings(tmp_path)[0].ailment == ailment


def test_error_of_the_watcher_costs_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("a bug of ours")

    plain, streams = train(name, SHORT)
    monkeypatch.setattr("trainwell.signals.geometry.Geometry.look", broken)
    lines: list[str] = []
    weights, streams_watched, watch = train_watched(name, SHORT, lines)
    assert_same_bits(plain, weights)
    assert streams == streams_watched
    assert len([line for line in lines if "the watcher stopped" in line]) == 1
    assert "a bug of ours" in str(watch.traces.fact("watch_error"))


def test_error_of_the_adapter_costs_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("a bug of ours")

    plain, _ = train(name, SHORT)
    place = "keras_steps.Loss" if name == "keras" else "attached.Attached._begin"
    monkeypatch.setattr(f"trainwell.watch.attach.{place}", broken)
    lines: list[str] = []
    weights, _, watch = train_watched(name, SHORT, lines)
    assert_same_bits(plain, weights)
    assert lines == [
        "trainwell: the watcher stopped, the training goes on (ZeroDivisionError: a bug of ours)"
    ]
    assert watch.findings == []
