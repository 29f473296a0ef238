"""Compiled layers against lone runs and against the links of torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from tests.lanes.common import CLASSES, NUMBER, Build, check, perceptron, source, together
from trainwell.engine.lanes import LaneSpec, native, train_lanes
from trainwell.engine.lanes.block import Block, compiled
from trainwell.engine.lanes.chain import ChainNetwork, chain_of
from trainwell.engine.streams import seeded
from trainwell.models.layers import Dropout
from trainwell.values.recipe import Recipe
from trainwell.values.task import Task

COMPILER = not isinstance(native.load(torch.float64), str)
needs_compiler = pytest.mark.skipif(not COMPILER, reason="there is no C compiler here")


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CC", "no-such-compiler")
    native.load.cache_clear()
    yield
    native.load.cache_clear()


def widths(*sizes: int, bias: bool = True, rate: float = 0.0) -> Build:
    """Return what makes linear layers of these widths with ReLU and dropout between them."""

    def build(recipe: Recipe, generator: torch.Generator) -> nn.Module:
        with seeded(int(torch.randint(2**31, (1,), generator=generator))):
            layers = list[nn.Module]()
            for a, b in itertools.pairwise(sizes):
                layers += [nn.Linear(a, b, bias=bias), nn.ReLU(), *([Dropout(rate)] if rate else [])]
            return nn.Sequential(*layers, nn.Linear(sizes[-1], 3)).double()

    return build


def blocks(build: Build) -> list[type]:
    """Return the kinds of the links of the chain that is made of such a network."""
    model = build(Recipe(), torch.Generator())
    chain = chain_of(model)
    assert chain is not None
    own = {n: p.detach().unsqueeze(0) for n, p in model.named_parameters()}
    return [type(link) for link in ChainNetwork(model, chain).bind(own, {}, {})._links]


@needs_compiler
@pytest.mark.parametrize("sizes", [(6, 1), (6, 5, 33, 18), (6, 130, 3)])
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_compiled_layers_equal_lone_runs(sizes: tuple[int, ...], rate: float) -> None:
    build = widths(*sizes, bias=sizes[-1] != 3, rate=rate)
    assert blocks(build) == [Block]
    micro = ("grad_accumulation:micro_batches=3",) if rate else ()
    recipe = Recipe(batch_size=19, epochs=2, lr=0.01, techniques=micro)
    check([LaneSpec(recipe, seed=s) for s in range(3)], source(), CLASSES, build)


@needs_compiler
def test_other_activations_stand_between_compiled_layers() -> None:
    names = [kind.__name__ for kind in blocks(perceptron(nn.Linear(12, 12)))]
    assert names == ["Block", "Elementwise", "Block"]
    norm = nn.LayerNorm(12, dtype=torch.float64)
    assert Block not in blocks(perceptron(norm))  # it would round otherwise than a lone run
    assert Block not in blocks(widths(6, 2**15))


@needs_compiler
@pytest.mark.parametrize("task", [CLASSES, NUMBER], ids=["classes", "number"])
def test_with_and_without_a_compiler_the_same_comes_out(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(batch_size=16, epochs=3, lr=0.01, techniques=("dropout:rate=0.2",))
    build = perceptron(outputs=3 if task is CLASSES else 1)
    specs = [LaneSpec(recipe, seed=s) for s in range(3)]
    mine = together(specs, source(task), task, build)
    monkeypatch.setenv("TRAINWELL_NATIVE", "0")
    theirs = together(specs, source(task), task, build)
    for a, b in zip(mine, theirs, strict=True):
        assert a.history[-1]["val_loss"] == pytest.approx(b.history[-1]["val_loss"], rel=1e-9)


def test_without_a_compiler_torch_does_it_and_says_so(no_compiler: None) -> None:
    said = list[str]()
    recipe = Recipe(batch_size=16, epochs=1, lr=0.01)
    specs = [LaneSpec(recipe, seed=s) for s in range(2)]
    train_lanes(specs, source(), CLASSES, model=perceptron(), say=said.append)
    assert any("there is no C compiler ('no-such-compiler')" in text for text in said)
    check(specs, source(), CLASSES, perceptron())


def test_a_compiler_that_fails_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("CC", "false")
    monkeypatch.setenv("TRAINWELL_CACHE", str(tmp_path))
    native.load.cache_clear()
    try:
        told = native.load(torch.float32)
        assert told == "the C compiler failed: exit code 1"
    finally:
        native.load.cache_clear()
    assert compiled([]) == []
