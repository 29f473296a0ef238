"""The loop around the step: epochs, budgets, stopping, best weights, loaders, signals."""

from __future__ import annotations

import math
import os
import signal
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import trainwell.techniques  # noqa: F401
from trainwell.engine.assemble import Source, assemble
from trainwell.engine.training import Row, Training, Watcher
from trainwell.values.errors import Interrupted, TrainingError
from trainwell.values.recipe import Recipe
from trainwell.values.task import Task

TASK = Task("multiclass", (0, 1, 2), metric="accuracy")


def data(rows: int, seed: int) -> tuple[tuple[Tensor, ...], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 6, generator=generator)
    return (x,), (x[:, 0] > 0).long() + (x[:, 1] > 0).long()


def network() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def training(recipe: Recipe, model: nn.Module | None = None, **options: Any) -> Training:
    source = Source(data(200, 1), data(60, 2))
    return assemble(model or network(), recipe, source, task=TASK, **options)


@torch.no_grad()
def loss_of(model: nn.Module) -> float:
    (x,), y = data(60, 2)
    return float(nn.functional.cross_entropy(model(x), y))


def test_best_weights_come_back() -> None:
    run = training(Recipe(lr=0.5, optimizer="sgd", epochs=12, batch_size=20))
    state = run.run()
    values = [r["val_loss"] for r in state.history]
    assert state.best_epoch == values.index(min(values)) + 1
    assert loss_of(run.model) == pytest.approx(min(values), rel=1e-5)
    assert not run.model.training


def test_averaged_weights_are_evaluated_and_returned() -> None:
    run = training(Recipe(lr=0.01, epochs=6, batch_size=20, techniques=("ema:decay=0.9",)))
    state = run.run()
    best = min(r["val_loss"] for r in state.history)
    assert loss_of(run.model) == pytest.approx(best, rel=1e-5)


def test_early_stopping_stops_after_its_patience() -> None:
    run = training(Recipe(lr=0.0, epochs=50, batch_size=20, techniques=("early_stopping:patience=3",)))
    state = run.run()
    assert state.epoch == 4
    assert state.stop_reason.startswith("early_stopping")
    assert state.best_epoch == 1


def test_fraction_of_an_epoch_is_trained() -> None:
    state = training(Recipe(epochs=2.5, batch_size=20)).run()
    assert state.step == 25
    assert state.epoch == 3


def test_single_row_that_is_left_over_goes_with_the_batch_before_it() -> None:
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    source = Source(data(3 * 64 + 1, 1), data(60, 2))
    run = assemble(model, Recipe(epochs=2, batch_size=64), source, task=TASK)
    sizes = [len(y) for block in run.feed.blocks(0, 0) for _, y in block]
    assert sizes == [64, 64, 65]
    assert run.run().step == 6


def test_schedule_covers_the_whole_run_and_no_more() -> None:
    rates: list[float] = []
    run = training(Recipe(lr=1.0, schedule="linear", epochs=3, batch_size=20))
    step = run.step
    original = step.__class__.__call__

    class Spy(step.__class__):  # type: ignore[misc, name-defined]
        def __call__(self, x: Any, y: Any, lr: float) -> Tensor:
            rates.append(lr)
            return original(self, x, y, 0.0)

    step.__class__ = Spy
    run.run()
    assert len(rates) == 30
    assert rates[0] == 1.0
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.07


def test_budget_of_time_is_kept() -> None:
    run = training(Recipe(lr=1e-3, schedule="cosine", epochs=1e6, seconds=1.0, batch_size=20))
    state = run.run()
    assert state.stop_reason == "budget of time"
    assert 0.3 < state.seconds < 3
    assert state.total_steps < 10_000_000


def test_loader_equals_memory_when_it_does_not_shuffle() -> None:
    (x,), y = data(200, 1)
    loader = DataLoader(TensorDataset(x, y), batch_size=32)
    first = assemble(network(), Recipe(lr=0.01, epochs=3), Source(loader, data(60, 2)), task=TASK)
    first.run()
    model, optimizer_steps = network(), 0
    reference = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(3):
        for part, target in loader:
            loss = nn.functional.cross_entropy(model(part), target)
            reference.zero_grad()
            loss.backward()
            reference.step()
            optimizer_steps += 1
    assert first.state.step == optimizer_steps
    named = first.step.params.named()
    for name, p in model.named_parameters():
        torch.testing.assert_close(named[name], p.detach(), rtol=1e-4, atol=1e-6)


def test_shuffling_loader_draws_from_its_own_stream() -> None:
    (x,), y = data(200, 1)

    def trained(disturb: bool) -> Tensor:
        loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
        run = assemble(network(), Recipe(lr=0.01, epochs=3), Source(loader, None), task=TASK, seed=4)
        torch.manual_seed(99 if disturb else 1)
        run.run()
        return run.step.params.flat.clone()

    assert torch.equal(trained(False), trained(True))


class Kill(Watcher):
    """Sends a signal after an epoch."""

    def __init__(self, number: int) -> None:
        self.number, self.saved = number, 0

    def on_epoch(self, training: Training, row: Row) -> None:
        if row["epoch"] == 2:
            os.kill(os.getpid(), self.number)

    def on_pause(self, training: Training, forced: bool) -> None:
        self.saved += forced


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_after_the_step_and_gives_the_best_weights(number: int, code: int) -> None:
    watcher = Kill(number)
    run = training(Recipe(lr=0.01, epochs=50, batch_size=20), watcher=watcher)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted) as caught:
        run.run()
    assert caught.value.exit_code == code
    assert watcher.saved == 1
    assert run.state.epoch == 2
    assert run.state.step <= 21
    assert loss_of(run.model) == pytest.approx(run.state.best_value, rel=1e-5)
    assert signal.getsignal(signal.SIGINT) is before


def test_validation_that_is_never_finite_is_an_error() -> None:
    (x,), y = data(60, 2)
    source = Source(data(200, 1), ((x * math.nan,), y))
    run = assemble(network(), Recipe(epochs=2), source, task=TASK)
    with pytest.raises(TrainingError, match="validation"):
        run.run()


def test_two_runs_of_one_seed_are_equal_bit_for_bit_and_of_two_seeds_are_not() -> None:
    recipe = Recipe(lr=0.01, epochs=2, techniques=("dropout:rate=0.2", "mixup"))

    def flat(seed: int) -> Tensor:
        run = training(recipe, seed=seed)
        run.run()
        return run.step.params.flat.clone()

    assert torch.equal(flat(1), flat(1))
    assert not torch.equal(flat(1), flat(2))
