"""The forward and backward passes of the links of a chain, against lone runs, which go through autograd."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from tests.lanes.common import CLASSES, NUMBER, Build, check, perceptron, source, with_head
from trainwell.engine.assemble import Source
from trainwell.engine.lanes import LaneSpec
from trainwell.engine.lanes.chain import chain_of
from trainwell.models.layers import Dropout
from trainwell.values.recipe import Recipe
from trainwell.values.task import Task

LINKS = {
    "tanh": (nn.Sigmoid(), nn.Linear(12, 12), nn.Tanh()),
    "gelu": (nn.GELU(), nn.Linear(12, 12, bias=False), nn.GELU("tanh")),
    "silu": (nn.SiLU(), nn.Linear(12, 12), nn.ReLU(inplace=True)),
    "other": (nn.LeakyReLU(0.1), nn.Linear(12, 12), nn.ELU(inplace=True), nn.Softplus(), nn.Hardtanh()),
    "norms": (nn.LayerNorm(12), nn.ReLU(), nn.GroupNorm(3, 12), nn.BatchNorm1d(12, affine=False), nn.ReLU()),
    "batch norm": (
        nn.BatchNorm1d(12),
        nn.ReLU(),
        Dropout(0.2),
        nn.LayerNorm(12, elementwise_affine=False),
    ),
}


def with_own(*extra: nn.Module, **options: Any) -> Build:
    """Return what makes a perceptron with copies of these modules."""
    return lambda recipe, generator: perceptron(*map(copy.deepcopy, extra), **options)(recipe, generator)


@pytest.mark.parametrize("extra", LINKS)
@pytest.mark.parametrize("task", [CLASSES, NUMBER], ids=["classes", "number"])
def test_links_equal_lone_runs(extra: str, task: Task) -> None:
    build = with_own(*LINKS[extra], outputs=3 if task is CLASSES else 1)
    techniques = (
        ("grad_accumulation:micro_batches=3", "clip_grad") if extra in ("norms", "tanh") else ("mixup",)
    )
    recipe = Recipe(batch_size=16, epochs=2, lr=0.01, techniques=techniques)
    assert chain_of(build(recipe, torch.Generator())) is not None
    check([LaneSpec(recipe, seed=s) for s in range(3)], source(task), task, build)


IMAGES = {
    "plain": (nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, (3, 1), 2, bias=False), nn.Tanh()),
    "pooled": (nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 1, groups=2), Dropout(0.2)),
    "norms": (
        nn.Conv2d(1, 4, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.GroupNorm(2, 4), nn.GELU(), nn.AdaptiveAvgPool2d(1),
    ),
    "apart": (nn.Conv2d(1, 4, (3, 2), (2, 1), (2, 1), (1, 2), bias=False), nn.ReLU(), nn.Conv2d(4, 6, 2), nn.ReLU()),
    "no affine": (
        nn.Conv2d(1, 4, 2), nn.GroupNorm(2, 4, affine=False), nn.BatchNorm2d(4, affine=False), nn.MaxPool2d(2, 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", IMAGES)
def test_chains_of_images_equal_lone_runs(name: str) -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(
        60, 1, 4, 6, generator=g, dtype=torch.float64
    ).relu()  # of equal pixels the first is the largest
    y = torch.randint(0, 3, (60,), generator=g)

    build = with_head(IMAGES[name], x[:2])
    techniques = ("grad_accumulation:micro_batches=2",) if name == "plain" else ("clip_grad",)
    recipe = Recipe(batch_size=16, epochs=2, lr=0.01, techniques=techniques)
    assert chain_of(build(recipe, torch.Generator())) is not None
    data = Source(((x[:41],), y[:41]), ((x[41:],), y[41:]))
    check([LaneSpec(recipe, seed=s) for s in range(3)], data, CLASSES, build)


def test_bf16_agrees_within_its_rounding() -> None:
    recipe = Recipe(batch_size=16, epochs=2, lr=0.001, techniques=("bf16",))
    build, data = (
        with_own(nn.LayerNorm(12), nn.BatchNorm1d(12), outputs=1, dtype=torch.float32),
        source(NUMBER, torch.float32),
    )
    check([LaneSpec(recipe, seed=s) for s in range(3)], data, NUMBER, build, bound=0.02)


def test_shared_weights_are_no_chain() -> None:
    shared = nn.Linear(6, 6)
    assert chain_of(nn.Sequential(shared, nn.ReLU(), shared)) is None
