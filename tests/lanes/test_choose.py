"""Lanes are taken where they pay, and measuring that changes nothing."""

from __future__ import annotations

import pytest

from tests.lanes.common import CLASSES, alone, assert_equal, check, perceptron, source
from trainwell.engine.lanes import LaneSpec, choose, train, train_lanes
from trainwell.values.recipe import Recipe

RECIPE = Recipe(batch_size=16, epochs=3, lr=0.01, techniques=("dropout:rate=0.3", "mixup:alpha=0.4"))


def test_measuring_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "MEASURED_OPERATIONS", 0)
    monkeypatch.setattr(train, "TOLERANCE", float("inf"))
    told: list[str] = []
    check([LaneSpec(RECIPE, seed=s) for s in range(3)], say=told.append)
    assert any("ms alone" in line for line in told)


def test_a_stack_that_does_not_pay_is_given_up_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "MEASURED_OPERATIONS", 0)
    monkeypatch.setattr(train, "step_times", lambda *_: (0.004, 0.002))
    specs = [LaneSpec(RECIPE, seed=s) for s in range(2)]
    results = train_lanes(specs, source(), CLASSES, model=perceptron())
    for spec, result in zip(specs, results, strict=True):
        assert "4 ms a step and network in a stack of 2, 2 ms alone" in result.engine
        assert_equal(result, alone(spec, source(), CLASSES, perceptron()))
