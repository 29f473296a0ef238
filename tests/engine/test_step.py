"""The step against a plain PyTorch loop, and against itself in other shapes."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import trainwell.techniques  # noqa: F401
from trainwell.engine.assemble import Source, assemble
from trainwell.engine.streams import Streams
from trainwell.engine.training import Training
from trainwell.values.errors import NonFiniteError, RecipeError, UsageError
from trainwell.values.recipe import Recipe
from trainwell.values.task import Task

TASK = Task("multiclass", (0, 1, 2), metric="accuracy")


def data(rows: int = 90, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(rows, 8, generator=generator, dtype=dtype)
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)).to(dtype)


def training(recipe: Recipe, model: nn.Module | None = None, rows: int = 90, **options: Any) -> Training:
    model = model if model is not None else network()
    x, y = data(rows, next(model.parameters()).dtype)
    options.setdefault("task", TASK)
    return assemble(model, recipe, Source(((x,), y), ((x,), y)), **options)


def plain_loop(
    model: nn.Module,
    make: Callable[..., torch.optim.Optimizer],
    edit: Callable[..., None],
    epochs: int,
    batch: int,
) -> nn.Module:
    """The loop that anyone would write, in the order of trainwell's stream."""
    x, y = data(dtype=next(model.parameters()).dtype)
    optimizer, streams = make(model.parameters()), Streams(0)
    for epoch in range(epochs):
        for rows in streams.order(len(x), epoch).split(batch):
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            edit(model)
            optimizer.step()
    return model


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_step_equals_plain_loop() -> None:
    reference = plain_loop(
        network(torch.float64), lambda p: torch.optim.Adam(p, lr=0.01), lambda m: None, epochs=7, batch=32
    )
    run = training(Recipe(lr=0.01, epochs=7, batch_size=32), network(torch.float64))
    run.run()
    run.best.restore()
    assert run.state.best_epoch == 7
    torch.testing.assert_close(weights(run.model), weights(reference), rtol=1e-9, atol=1e-12)


def test_clipping_penalty_and_decay_equal_plain_loop() -> None:
    def edit(model: nn.Module) -> None:
        for p in model.parameters():
            if p.ndim > 1:
                p.grad.add_(p.detach(), alpha=0.03)  # loss + 0.03 / 2 |w|^2
        nn.utils.clip_grad_norm_(model.parameters(), 0.2)

    def sgd(params: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(params, lr=0.1, momentum=0.9)

    reference = plain_loop(network(torch.float64), sgd, edit, epochs=4, batch=32)
    recipe = Recipe(
        optimizer="sgd:momentum=0.9",
        lr=0.1,
        epochs=4,
        batch_size=32,
        techniques=("l2:rate=0.03", "clip_grad:max_norm=0.2"),
    )
    run = training(recipe, network(torch.float64))
    run.run()
    torch.testing.assert_close(
        run.step.params.named()["0.weight"], reference[0].weight, rtol=1e-8, atol=1e-10
    )


def test_own_optimizer_equals_plain_loop() -> None:
    reference = plain_loop(
        network(torch.float64), lambda p: torch.optim.RMSprop(p, lr=0.01), lambda m: None, epochs=3, batch=32
    )
    model = network(torch.float64)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01)
    run = training(Recipe(optimizer="given", epochs=3, batch_size=32), model, optimizer=optimizer)
    run.run()
    torch.testing.assert_close(weights(model), weights(reference), rtol=1e-9, atol=1e-12)


def test_optimizer_of_another_model_is_refused() -> None:
    optimizer = torch.optim.SGD(network().parameters(), lr=0.1)
    with pytest.raises(UsageError, match=r"not of this model"):
        training(Recipe(optimizer="given"), network(), optimizer=optimizer)


@pytest.mark.parametrize("rows", [90, 91, 97])
def test_accumulation_equals_large_batch(rows: int) -> None:
    base = Recipe(lr=0.01, epochs=3, batch_size=32)
    whole = training(base, network(torch.float64), rows)
    parts = training(base.with_("grad_accumulation:micro_batches=5"), network(torch.float64), rows)
    whole.run()
    parts.run()
    torch.testing.assert_close(parts.step.params.flat, whole.step.params.flat, rtol=1e-9, atol=1e-12)
    assert parts.state.history[-1]["train_loss"] == pytest.approx(
        whole.state.history[-1]["train_loss"], rel=1e-6
    )


def count_calls(run: Training, steps: int = 8) -> tuple[float, float]:
    """Return (calls made by code of trainwell, all Python calls) per step; a call is the entry of a function."""
    x, y = data(32)
    for _ in range(3):
        run.step((x,), y, 1e-3)
    ours = everything = 0

    def profile(frame: FrameType, event: str, _arg: object) -> None:
        nonlocal ours, everything
        if event == "call":
            everything += 1
            caller = frame.f_back
            own = "trainwell" in frame.f_code.co_filename
            ours += own or (caller is not None and "trainwell/" in caller.f_code.co_filename)

    sys.setprofile(profile)
    try:
        for _ in range(steps):
            run.step((x,), y, 1e-3)
    finally:
        sys.setprofile(None)
    return ours / steps, everything / steps


def test_bare_step_stays_within_its_budget_of_calls() -> None:
    ours, _ = count_calls(training(Recipe(lr=1e-3, batch_size=32)))
    assert ours <= 12


def test_step_with_clipping_l2_and_ema_stays_within_its_budget_of_calls() -> None:
    recipe = Recipe(lr=1e-3, batch_size=32, techniques=("clip_grad", "l2:rate=0.001", "ema"))
    ours, _ = count_calls(training(recipe))
    assert ours <= 40


def test_nonfinite_input_is_named_with_step_and_column() -> None:
    x, y = data()
    x[17, 5] = float("nan")
    run = assemble(
        network(),
        Recipe(lr=1e-3, epochs=2, batch_size=10),
        Source(((x,), y), None, tuple("abcdefgh")),
        task=TASK,
    )
    bad = int((Streams(0).order(90, 0) == 17).nonzero()) // 10 + 1
    with pytest.raises(NonFiniteError, match=rf"column 'f' is not finite in the inputs at step {bad}\b"):
        run.run()
    assert torch.isfinite(run.step.params.flat).all()


def test_divergence_keeps_finite_weights_and_names_the_module() -> None:
    class Explode(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x * 200).exp()

    model = nn.Sequential(nn.Linear(8, 4), Explode(), nn.Linear(4, 3))
    run = training(Recipe(lr=1.0, epochs=3, batch_size=30), model)
    with pytest.raises(NonFiniteError, match=r"module '1' is not finite|gradient of|weight"):
        run.run()
    assert torch.isfinite(run.step.params.flat).all()


def test_label_smoothing_needs_loss_per_row() -> None:
    with pytest.raises(RecipeError, match="needs the loss of each row"):
        training(
            Recipe(techniques=("label_smoothing:amount=0.1",)),
            loss=lambda o, t: nn.functional.cross_entropy(o, t),
        )


def test_loss_that_sums_is_refused() -> None:
    with pytest.raises(RecipeError, match="reduction='mean'"):
        training(Recipe(), loss=nn.CrossEntropyLoss(reduction="sum"))


def test_frozen_parameters_keep_their_bits() -> None:
    model = network()
    model[0].requires_grad_(False)
    before = copy.deepcopy(model[0].state_dict())
    training(Recipe(lr=0.01, epochs=2), model).run()
    assert all(torch.equal(before[k], v) for k, v in model[0].state_dict().items())


def test_nothing_to_train_is_an_error() -> None:
    model = network().requires_grad_(False)
    with pytest.raises(UsageError, match="no trainable parameter"):
        training(Recipe(), model)


def test_tied_parameters_stay_tied() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Linear(8, 3))
    model[2].weight = model[0].weight
    run = training(Recipe(lr=0.01, epochs=2), model)
    run.run()
    assert model[2].weight is model[0].weight
    assert len([n for n in run.step.params.named() if n.endswith("weight")]) == 2
