"""Lanes are taken where they pay, in what number they pay, and measuring that changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.lanes.common import CLASSES, alone, assert_equal, check, perceptron, source
from trainwell.engine.lanes import LaneSpec, choose, memory, train, train_lanes
from trainwell.engine.lanes.lane import Lane
from trainwell.values.recipe import Recipe

RECIPE = Recipe(batch_size=16, epochs=3, lr=0.01, techniques=("dropout:rate=0.3", "mixup:alpha=0.4"))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[Any, float]:
    """Have everything measured, and nothing known before."""
    known: dict[Any, float] = {}
    monkeypatch.setattr(choose, "MEASURED_OPERATIONS", 0)
    monkeypatch.setattr(choose, "MEASURED", known)
    return known


def test_measuring_changes_nothing(monkeypatch: pytest.MonkeyPatch, measured: dict[Any, float]) -> None:
    monkeypatch.setattr(choose, "TOLERANCE", float("inf"))
    told: list[str] = []
    check([LaneSpec(RECIPE, seed=s) for s in range(3)], say=told.append)
    assert any("ms alone" in line for line in told)
    assert {key[2] for key in measured} == {0, 3}
    monkeypatch.setattr(choose, "step_times", lambda *_: pytest.fail("measured again"))
    check([LaneSpec(RECIPE, seed=s) for s in range(3)])


def test_a_stack_that_does_not_pay_is_given_up_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, measured: dict[Any, float]
) -> None:
    monkeypatch.setattr(choose, "step_times", lambda *_: (0.004, 0.002))
    specs = [LaneSpec(RECIPE, seed=s) for s in range(2)]
    results = train_lanes(specs, source(), CLASSES, model=perceptron())
    for spec, result in zip(specs, results, strict=True):
        assert "4 ms a step and network in a stack of 2, 2 ms alone" in result.engine
        assert_equal(result, alone(spec, source(), CLASSES, perceptron()))


class Residual(nn.Module):
    """What vmap batches and no chain holds."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + self.hidden(x).relu())


def residual(recipe: Recipe, generator: torch.Generator) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        return Residual().double()


def test_networks_whose_steps_are_large_are_never_stacked(monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[int]()

    def build(recipe: Recipe, generator: torch.Generator) -> nn.Module:
        made.append(len(made))
        return residual(recipe, generator)

    recipe = Recipe(batch_size=16, epochs=1, lr=0.01)
    specs = [LaneSpec(recipe, seed=s) for s in range(3)]
    assert {r.engine for r in train_lanes(specs, source(), CLASSES, model=residual)} == {"lanes"}
    monkeypatch.setattr(choose, "LARGEST_STEP", 1e3)
    monkeypatch.setattr(train, "Stack", lambda *_: pytest.fail("a stack was made"))
    results = train_lanes(specs, source(), CLASSES, model=build)
    assert all("multiplications, which no stack makes faster" in r.engine for r in results)
    assert len(made) == 4  # one to see the size
    assert_equal(results[2], alone(specs[2], source(), CLASSES, residual))


def test_a_chain_is_measured_whatever_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "LARGEST_STEP", 1e3)
    specs = [LaneSpec(RECIPE, seed=s) for s in range(2)]
    assert {r.engine for r in train_lanes(specs, source(), CLASSES, model=perceptron())} == {"lanes"}


def test_fewer_lanes_are_taken_where_they_are_faster(
    monkeypatch: pytest.MonkeyPatch, measured: dict[Any, float]
) -> None:
    monkeypatch.setattr(choose, "SHARE_OF_WORK", 100.0)
    monkeypatch.setattr(
        choose, "step_times", lambda lanes, *_: (0.004 if len(lanes) > 4 else 1e-4 * (6 - len(lanes)), 0.002)
    )
    told: list[str] = []
    check([LaneSpec(RECIPE.replace(epochs=1 + s % 2), seed=s) for s in range(9)], say=told.append)
    assert "4 networks in one stack" in told


@pytest.mark.parametrize(
    ("lone", "seconds", "lanes"),
    [
        (1.8e-3, {64: 4.91e-4, 16: 4.72e-4, 4: 4.92e-4}, 64),  # calls cost: of equals the largest
        (11e-3, {16: 10.1e-3, 4: 10.3e-3, 1: 9.91e-3}, 1),  # memory costs: of equals the smallest
        (1.5e-3, {16: 1.29e-3, 4: 1.05e-3, 1: 1.17e-3}, 4),  # none is as fast
        (5e-3, {16: 3.0e-3, 4: 3.7e-3, 1: 4.8e-3}, 16),
    ],
)
def test_of_stacks_as_fast_it_is_the_length_of_a_step_that_decides(
    lone: float, seconds: dict[int, float], lanes: int
) -> None:
    """Seconds of docs/log-lanes.md, where the choice was right."""
    assert choose._best(seconds, lone) == lanes


def test_memory_bounds_the_lanes_before_they_start(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = Lane(LaneSpec(RECIPE), perceptron(), source().train, torch.device("cpu"))
    need = memory.lane_bytes(lane)
    weights = sum(p.numel() for p in lane.model.parameters()) * 8
    assert 8 * weights < need < 1e6
    monkeypatch.setattr(memory, "free_bytes", lambda device: int(3.5 * need / memory.SHARE))
    told: list[str] = []
    check([LaneSpec(RECIPE.replace(epochs=1 + s % 3), seed=s) for s in range(7)], say=told.append)
    assert "at most 3 networks in one stack" in told[0]
    assert told[1] == "3 networks in one stack"
    monkeypatch.setattr(memory, "free_bytes", lambda device: need)
    results = train_lanes([LaneSpec(RECIPE, seed=s) for s in range(2)], source(), CLASSES, model=perceptron())
    assert [r.engine for r in results] == ["plain: there is memory for one at a time"] * 2


def test_free_memory_is_told() -> None:
    free = memory.free_bytes(torch.device("cpu"))
    assert free is None or 0 < free < 2**50
    assert train.MAX_LANES >= 16
