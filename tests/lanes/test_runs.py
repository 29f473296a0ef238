"""Whole trainings of many lanes: everything varied, ends at different times, refilled slots, folds, NaN."""

from __future__ import annotations

import copy
import gc
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.lanes.common import (
    CLASSES,
    NUMBER,
    ROWS,
    alone,
    assert_equal,
    check,
    part,
    perceptron,
    source,
    together,
)
from trainwell.engine.assemble import Source
from trainwell.engine.lanes import LaneResult, LaneSpec, train_lanes
from trainwell.models.layers import Dropout
from trainwell.values.errors import UsageError
from trainwell.values.recipe import Recipe
from trainwell.values.task import Task

TECHNIQUES = (
    "l1:rate=0.001", "l2:rate=0.01", "weight_decay:rate=0.1", "dropout:rate=0.3", "label_smoothing:amount=0.1",
    "mixup:alpha=0.4", "clip_grad:max_norm=0.5", "ema:decay=0.9", "he",
    "early_stopping:patience=2", "warmup:fraction=0.2", "class_weights:power=0.5",
)  # fmt: skip


def recipe(*techniques: str, **fields: Any) -> Recipe:
    return Recipe(**{"batch_size": 16, "epochs": 5, "lr": 0.01, "techniques": techniques, **fields})


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sets(st.sampled_from(TECHNIQUES)),
            st.sampled_from([0.5, 2, 3.3, 6]),
            st.sampled_from([1e-3, 1e-2, 0.1]),
            st.sampled_from(["constant", "cosine", "one_cycle"]),
            st.integers(0, 5),
        ),
        min_size=2,
        max_size=6,
    )
)
def test_lanes_with_any_techniques_equal_their_lone_runs(drawn: list[tuple[Any, ...]]) -> None:
    """Lanes may differ in techniques, budgets, rates, schedules and seeds at once."""
    specs = [
        LaneSpec(recipe(*sorted(ts), epochs=e, lr=lr, schedule=s), seed=seed) for ts, e, lr, s, seed in drawn
    ]
    check(specs)


def test_arms_with_and_without_a_technique_share_a_stack() -> None:
    told: list[str] = []
    specs = [
        LaneSpec(recipe(*t), seed=s) for s in range(3) for t in ((), ("dropout:rate=0.5",), ("l1:rate=0.01",))
    ]
    check(specs, say=told.append)
    assert told == ["9 networks in one stack"]


def test_early_stopping_ends_lanes_at_their_own_epochs() -> None:
    specs = [
        LaneSpec(recipe("early_stopping:patience=1", epochs=12, lr=0.02 * (1 + s % 4)), seed=s)
        for s in range(10)
    ]
    results = check(specs)
    assert len({len(r.history) for r in results}) > 2
    assert any(r.stop_reason.startswith("early_stopping") for r in results)


def test_refilled_slots_change_nothing() -> None:
    """With three slots for eleven runs of different length every run still equals its lone run."""
    specs = [LaneSpec(recipe("mixup", "dropout:rate=0.2", epochs=1 + s % 4), seed=s) for s in range(11)]
    check(specs, max_lanes=3)


def test_order_of_lanes_does_not_matter() -> None:
    specs = [LaneSpec(recipe("dropout:rate=0.2", lr=0.01 * (1 + s)), seed=s) for s in range(5)]
    data, build = source(), perceptron()
    first, second = (together(order, data, CLASSES, build) for order in (specs, specs[::-1]))
    for one, other in zip(first, second[::-1], strict=True):
        assert [r["val_loss"] for r in one.history] == pytest.approx(
            [r["val_loss"] for r in other.history], rel=1e-12
        )


def test_folds_of_unequal_size_validate_on_their_own_rows() -> None:
    folds = torch.arange(ROWS) % 4
    specs = [
        LaneSpec(recipe("mixup", "ema:decay=0.9", "dropout:rate=0.2", epochs=4), 7, (folds != f).nonzero()[:, 0],
                 (folds == f).nonzero()[:, 0])
        for f in range(4)
    ]  # fmt: skip
    assert len({len(s.train_rows) for s in specs if s.train_rows is not None}) == 2
    check(specs)


def test_splits_of_other_length_stand_in_other_stacks() -> None:
    specs = [LaneSpec(recipe(), s, torch.arange(20 + 20 * (s % 2))) for s in range(4)]
    told: list[str] = []
    check(specs, say=told.append)
    assert told == ["2 networks in one stack"] * 2


def test_a_lane_that_diverges_leaves_the_others_bit_equal() -> None:
    data, build = source(NUMBER), perceptron(outputs=1)
    sane = [LaneSpec(recipe("dropout:rate=0.1", optimizer="sgd", lr=0.01), seed=s) for s in range(4)]
    wild = [*sane[:2], LaneSpec(recipe("dropout:rate=0.1", optimizer="sgd", lr=1e200), seed=9), *sane[2:]]
    calm = [*sane[:2], LaneSpec(recipe("dropout:rate=0.1", optimizer="sgd", lr=1e-3), seed=9), *sane[2:]]
    with_nan, without = (together(specs, data, NUMBER, build) for specs in (wild, calm))
    assert with_nan[2].stop_reason == "non-finite"
    assert with_nan[2].history == []
    for one, other in zip([*with_nan[:2], *with_nan[3:]], [*without[:2], *without[3:]], strict=True):
        assert [r["train_loss"] for r in one.history] == [r["train_loss"] for r in other.history]
        assert all(
            torch.equal(a, b) for a, b in zip(one.state_dict.values(), other.state_dict.values(), strict=True)
        )
    lone = alone(wild[2], data, NUMBER, build)
    assert lone.state.stop_reason == "non-finite"
    assert lone.state.step == pytest.approx(with_nan[2].steps, abs=1)


def test_a_lane_that_diverges_late_returns_its_best_weights() -> None:
    data, build = source(NUMBER), perceptron(outputs=1)
    specs = [
        LaneSpec(recipe(optimizer="sgd", lr=lr, schedule="one_cycle", epochs=8), 1)
        for lr in (0.01, 40.0, 0.02)
    ]
    for spec, result in zip(specs, together(specs, data, NUMBER, build), strict=True):
        run = alone(spec, data, NUMBER, build)
        assert result.stop_reason == run.state.stop_reason
        assert result.best_epoch == run.state.best_epoch


def test_without_validation_the_last_weights_are_the_best() -> None:
    train, _ = source().train, None
    check([LaneSpec(recipe(), seed=s) for s in range(3)], Source(train, None))


def test_metric_chooses_the_best_epoch() -> None:
    check([LaneSpec(recipe(monitor="val_metric", lr=0.03), seed=s) for s in range(4)])
    check(
        [LaneSpec(recipe(monitor="val_metric"), seed=s) for s in range(3)],
        task=NUMBER,
        build=perceptron(outputs=1),
    )


@pytest.mark.parametrize("metric", ["balanced_accuracy", "log_loss"])
def test_metrics_of_lanes_equal_those_of_runs(metric: str) -> None:
    check([LaneSpec(recipe(), seed=s) for s in range(3)], task=Task("multiclass", (0, 1, 2), metric=metric))


def test_own_losses_are_batched() -> None:
    def cubic(outputs: Tensor, target: Tensor) -> Tensor:
        return (outputs - target).abs().pow(3).mean()

    data, build = source(NUMBER), perceptron(outputs=1)
    specs = [LaneSpec(recipe(), seed=s) for s in range(3)]
    check(specs, data, None, build, loss=cubic)
    check(specs, data, None, build, loss=nn.HuberLoss())


def test_dropout_layers_of_the_user_draw_from_the_lanes_streams() -> None:
    build = perceptron(nn.Dropout(0.3), nn.Sequential(nn.Dropout(0.1)))
    results = check([LaneSpec(recipe(), seed=s) for s in range(3)], build=build)
    assert isinstance(results[0].model[2], Dropout)


def test_frozen_layers_and_shared_weights_stay_so() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
            self.second.weight = self.first.weight
            self.frozen = nn.Linear(6, 6).requires_grad_(False)
            self.output = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.output(torch.relu(self.second(self.frozen(self.first(x)).tanh())))

    torch.manual_seed(1)
    model = Tied().double()
    results = check([LaneSpec(recipe(), seed=s) for s in range(3)], build=lambda r, g: copy.deepcopy(model))
    assert torch.equal(results[1].model.frozen.weight, model.frozen.weight)
    assert results[1].model.second.weight is results[1].model.first.weight


def test_other_modules_are_batched() -> None:
    class Odd(nn.Module):
        def __init__(self, generator: torch.Generator) -> None:
            super().__init__()
            self.bag = nn.Embedding(5, 4)
            self.conv = nn.Conv1d(2, 3, 3)
            self.norm = nn.BatchNorm1d(3)
            self.output = nn.Linear(16, 3)
            with torch.no_grad():
                for p in self.parameters():
                    p.normal_(generator=generator)

        def forward(self, x: Tensor) -> Tensor:
            codes = (x[:, 0].abs() * 2).long().clamp(max=4)
            h = self.norm(self.conv(torch.stack([x, x.square()], 1))).relu()
            return self.output(torch.cat([h.flatten(1), self.bag(codes)], 1))

    build = lambda r, g: Odd(g).double()  # noqa: E731
    check([LaneSpec(recipe("l2:rate=0.01"), seed=s) for s in range(3)], build=build)


def test_what_cannot_be_batched_is_trained_alone_with_the_reason() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.output = nn.Linear(6, 3).double()

        def forward(self, x: Tensor) -> Tensor:
            return self.output(x if x.mean().item() > 0 else -x)

    class Hidden(nn.Module):
        """Has a number that is no parameter."""

        def __init__(self, factor: float) -> None:
            super().__init__()
            self.output, self.factor = nn.Linear(6, 3).double(), factor

        def forward(self, x: Tensor) -> Tensor:
            return self.output(x) * self.factor

    specs = [LaneSpec(recipe(epochs=2), seed=s) for s in range(2)]
    told: list[str] = []
    results = together(
        specs, source(), CLASSES, lambda r, g: Branching(), "plain: torch.func", say=told.append
    )
    assert told and "cannot batch" in told[0]
    factors = itertools.cycle([1.0, 2.0])
    results = together(specs, source(), CLASSES, lambda r, g: Hidden(next(factors)), "plain: batched")
    assert all(r.history for r in results)


def test_budgets_of_time_and_compiled_recipes_run_alone() -> None:
    specs = [LaneSpec(recipe(seconds=60.0, epochs=1), seed=s) for s in range(2)]
    assert together(specs, source(), CLASSES, perceptron(), "plain: a budget of time")


def test_a_search_is_asked_for_more_when_there_is_room() -> None:
    """A generator that decides by what it was told, and waits (None) while nothing new is known."""
    told: list[LaneResult] = []

    def search() -> Iterator[LaneSpec | None]:
        for s in range(4):
            yield LaneSpec(recipe(epochs=1 + s), seed=s)
        while len(told) < 2:
            yield None
        best = min(told, key=lambda r: r.best_value)
        yield LaneSpec(best.spec.recipe.replace(epochs=3), seed=50, tag="second round")

    results = train_lanes(search(), source(), CLASSES, model=perceptron(), tell=told.append)
    assert len(results) == 5 == len(told)
    assert results[-1].spec.tag == "second round"
    assert_equal(results[-1], alone(results[-1].spec, source(), CLASSES, perceptron()))


def test_a_lane_can_be_ended_from_outside() -> None:
    def prune(spec: LaneSpec, row: dict[str, Any]) -> str | None:
        return "pruned" if spec.seed == 1 and row["epoch"] == 2 else None

    specs = [LaneSpec(recipe(), seed=s) for s in range(3)]
    results = together(specs, source(), CLASSES, perceptron(), on_epoch=prune)
    assert [r.stop_reason for r in results] == ["budget of epochs", "pruned", "budget of epochs"]
    assert len(results[1].history) == 2
    assert_equal(results[2], alone(specs[2], source(), CLASSES, perceptron()))


def test_float32_agrees_within_rounding() -> None:
    specs = [LaneSpec(recipe("dropout:rate=0.2", "clip_grad", lr=1e-3), seed=s) for s in range(4)]
    check(specs, source(dtype=torch.float32), build=perceptron(dtype=torch.float32), bound=1e-4)


def test_one_row_left_over_goes_with_the_batch_before_it() -> None:
    check([LaneSpec(recipe(), seed=s) for s in range(2)], source(rows=49))


def test_loaders_are_refused() -> None:
    x, y = part(20, 1)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*x, y))
    with pytest.raises(UsageError, match="in memory"):
        train_lanes([LaneSpec(recipe())], Source(loader, None), CLASSES, model=perceptron())


def test_what_was_there_is_out_of_collections_while_lanes_train() -> None:
    frozen = list[int]()

    def look(spec: LaneSpec, row: dict[str, Any]) -> None:
        frozen.append(gc.get_freeze_count())
        if spec.seed == 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train_lanes(
            [LaneSpec(recipe(), seed=s) for s in (0, 1)], source(), CLASSES, model=perceptron(), on_epoch=look
        )
    assert min(frozen) > 1000  # torch and pytest alone are many more
    assert gc.get_freeze_count() == 0


def test_what_the_caller_has_frozen_stays_frozen() -> None:
    gc.freeze()
    try:
        train_lanes([LaneSpec(recipe(epochs=1))], source(), CLASSES, model=perceptron())
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
