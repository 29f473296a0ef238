"""Paused runs go on as if nothing had happened, in a stack and alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.lanes.common import CLASSES, alone, assert_equal, perceptron, source
from trainwell.engine.lanes import PAUSE, LaneSpec, train_lanes
from trainwell.values.errors import UsageError
from trainwell.values.recipe import Recipe

RECIPE = Recipe(
    batch_size=16,
    epochs=6,
    lr=0.01,
    techniques=("dropout:rate=0.3", "mixup:alpha=0.4", "ema:decay=0.9", "clip_grad:max_norm=0.5"),
)


def pause_after(epoch: int, *seeds: int) -> Any:
    return lambda spec, row: PAUSE if row["epoch"] == epoch and spec.seed in seeds else None


@pytest.mark.parametrize("count", [1, 3])
def test_paused_runs_go_on_exactly(count: int) -> None:
    def build(recipe: Recipe, generator: torch.Generator) -> nn.Module:
        return perceptron(nn.BatchNorm1d(12))(recipe, generator)

    specs = [LaneSpec(RECIPE, seed=s) for s in range(count)]
    first = train_lanes(specs, source(), CLASSES, model=build, on_epoch=pause_after(2, *range(count)))
    assert [r.stop_reason for r in first] == [PAUSE] * count
    assert [len(r.history) for r in first] == [2] * count
    again = [LaneSpec(RECIPE, seed=r.spec.seed, resume=r.paused) for r in first]
    fresh = LaneSpec(RECIPE.replace(epochs=4), seed=7)
    mixed = train_lanes([fresh, *again], source(), CLASSES, model=build)
    for result in mixed:
        assert result.paused is None
        assert_equal(result, alone(result.spec, source(), CLASSES, build))
    assert [len(r.history) for r in first] == [2] * count


def test_one_lane_is_paused_and_the_others_go_on() -> None:
    specs = [LaneSpec(RECIPE, seed=s) for s in range(3)]
    results = train_lanes(specs, source(), CLASSES, model=perceptron(), on_epoch=pause_after(3, 1))
    assert [r.paused is not None for r in results] == [False, True, False]
    for k in (0, 2):
        assert_equal(results[k], alone(specs[k], source(), CLASSES, perceptron()))
    spec = LaneSpec(RECIPE, seed=1, resume=results[1].paused)
    (result,) = train_lanes([spec], source(), CLASSES, model=perceptron())
    assert result.engine == "lanes"
    assert_equal(result, alone(spec, source(), CLASSES, perceptron()))


def test_a_paused_run_refuses_another_seed() -> None:
    spec = LaneSpec(RECIPE, seed=1)
    (result,) = train_lanes([spec], source(), CLASSES, model=perceptron(), on_epoch=pause_after(1, 1))
    with pytest.raises(UsageError, match="seed 1"):
        train_lanes([LaneSpec(RECIPE, seed=2, resume=result.paused)], source(), CLASSES, model=perceptron())
