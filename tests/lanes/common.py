"""Trains the same runs one by one and as lanes, and compares them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import trainwell.techniques  # noqa: F401
from trainwell.engine.assemble import Source, assemble
from trainwell.engine.lanes import LaneResult, LaneSpec, train_lanes
from trainwell.engine.streams import Streams
from trainwell.engine.training import Training
from trainwell.values.errors import TrainingError
from trainwell.values.recipe import Recipe
from trainwell.values.task import Task

CLASSES = Task("multiclass", (0, 1, 2), (30, 20, 13))
NUMBER = Task("regression", metric="rmse", metric_sign=-1)
ROWS = 63
"""Not a multiple of the batch size: the last batch is smaller."""

Build = Callable[[Recipe, torch.Generator], nn.Module]


def with_head(layers: Sequence[nn.Module], x: Tensor) -> Build:
    """Return what makes these layers with fresh weights, for inputs like x, and a head of three outputs."""

    def build(recipe: Recipe, generator: torch.Generator) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
            body = nn.Sequential(*map(copy.deepcopy, layers), nn.Flatten()).double()
            for m in body.modules():
                if hasattr(m, "reset_parameters"):
                    m.reset_parameters()
            return nn.Sequential(body, nn.Linear(body(x).shape[1], 8), nn.ReLU(), nn.Linear(8, 3)).double()

    return build


def part(rows: int, seed: int, task: Task = CLASSES, dtype: torch.dtype = torch.float64) -> Any:
    """Return rows of 6 features and a target."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 6, generator=generator, dtype=dtype)
    if task.is_classification:
        return (x,), (x[:, 0] > 0.2).long() + (x[:, 1] > 0.5).long()
    return (x,), x[:, :1].sin() + 0.1 * torch.randn(rows, 1, generator=generator, dtype=dtype)


def source(task: Task = CLASSES, dtype: torch.dtype = torch.float64, rows: int = ROWS) -> Source:
    return Source(part(rows, 1, task, dtype), part(40, 2, task, dtype))


def perceptron(*extra: nn.Module, outputs: int = 3, dtype: torch.dtype = torch.float64) -> Build:
    """Return what makes two hidden layers, drawn from the generator, with modules after the first activation."""

    def build(recipe: Recipe, generator: torch.Generator) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator, device=generator.device)))
            return nn.Sequential(
                nn.Linear(6, 12), nn.ReLU(), *extra, nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, outputs)
            ).to(dtype)

    return build


def alone(spec: LaneSpec, data: Source, task: Task | None, build: Build, **options: Any) -> Training:
    """Train a run by itself."""
    train: Any = data.train
    val: Any = data.val
    if spec.val_rows is not None:
        val = (tuple(t[spec.val_rows] for t in train[0]), train[1][spec.val_rows])
    if spec.train_rows is not None:
        train = (tuple(t[spec.train_rows] for t in train[0]), train[1][spec.train_rows])
    model = build(spec.recipe, Streams(spec.seed).generator("init"))
    run = assemble(model, spec.recipe, Source(train, val), task=task, seed=spec.seed, **options)
    try:
        run.run()
    except TrainingError:
        run.model.eval()
    return run


def together(
    specs: Sequence[LaneSpec],
    data: Source,
    task: Task | None,
    build: Build,
    engine: str = "lanes",
    **options: Any,
) -> list[LaneResult]:
    """Train the runs as lanes and make sure that they were."""
    results = train_lanes(specs, data, task, model=build, **options)
    assert [r.spec for r in results] == list(specs)
    for result in results:
        assert result.engine.startswith(engine), result.engine
    return results


def weights(model: nn.Module) -> Tensor:
    return torch.cat([t.detach().flatten().double().cpu() for t in model.state_dict().values()])


def assert_equal(result: LaneResult, run: Training, bound: float = 1e-9) -> None:
    """Compare a lane with its lone run: history, best epoch, reason and best weights."""
    state = run.state
    assert result.stop_reason == state.stop_reason
    assert result.best_epoch == state.best_epoch
    assert len(result.history) == len(state.history)
    for row, other in zip(result.history, state.history, strict=True):
        assert row.keys() == other.keys()
        for key in ("epoch", "step", "best"):
            assert row[key] == other[key], key
        for key in ("train_loss", "val_loss", "val_metric"):
            if other[key] is None:
                assert row[key] is None
            elif other[key] == other[key]:
                scale = max(1.0, abs(other[key]))
                assert abs(row[key] - other[key]) <= bound * scale, (key, row["epoch"], row[key], other[key])
    if result.stop_reason != "non-finite":
        assert result.steps == state.step
    mine, theirs = weights(result.model), weights(run.model)
    assert mine.shape == theirs.shape
    if result.best_epoch:
        worst = float((mine - theirs).abs().max())
        assert worst <= bound * max(1.0, float(theirs.abs().max())), f"weights differ by {worst:.3g}"


def check(
    specs: Sequence[LaneSpec],
    data: Source | None = None,
    task: Task | None = CLASSES,
    build: Build | None = None,
    *,
    bound: float = 1e-9,
    **options: Any,
) -> list[LaneResult]:
    """Train the runs as lanes and alone, and compare every one."""
    data, build = data or source(task or NUMBER), build or perceptron()
    results = together(specs, data, task, build, **options)
    alone_options = {k: v for k, v in options.items() if k in ("loss", "device")}
    for spec, result in zip(specs, results, strict=True):
        assert_equal(result, alone(spec, data, task, build, **alone_options), bound)
    return results
