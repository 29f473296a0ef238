"""Compiled layers against lone runs and against the links of torch."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.lanes.common import CLASSES, NUMBER, Build, check, perceptron, source, together
from tests.lanes.compilers import COMMANDS, needs_compiler, skip_unless_here
from trainwell.engine.lanes import LaneSpec, native, train_lanes
from trainwell.engine.lanes.bits import DropoutBits, Place
from trainwell.engine.lanes.block import Block, compiled
from trainwell.engine.lanes.chain import ChainNetwork, chain_of
from trainwell.engine.lanes.links import Dropout, Pass
from trainwell.engine.streams import seeded
from trainwell.models import layers
from trainwell.values import native as loader
from trainwell.values.recipe import Recipe
from trainwell.values.task import Task


def widths(*sizes: int, bias: bool = True, rate: float = 0.0) -> Build:
    """Return what makes linear layers of these widths with ReLU and dropout between them."""

    def build(recipe: Recipe, generator: torch.Generator) -> nn.Module:
        with seeded(int(torch.randint(2**31, (1,), generator=generator))):
            made = list[nn.Module]()
            for a, b in itertools.pairwise(sizes):
                made += [nn.Linear(a, b, bias=bias), nn.ReLU(), *([layers.Dropout(rate)] if rate else [])]
            return nn.Sequential(*made, nn.Linear(sizes[-1], 3)).double()

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


def passes(build: Build, dtype: torch.dtype, rows: int, rate: float) -> list[Tensor]:
    """Return outputs and gradients of three lanes of a network, laid out as a stack has them."""
    model, lanes = build(Recipe(), torch.Generator().manual_seed(0)).to(dtype), 3
    total, at = sum(p.numel() for p in model.parameters()), 0
    flat = torch.randn(lanes, total, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(
        dtype
    )
    grad, weights, grads = torch.zeros_like(flat), dict[str, Tensor](), dict[str, Tensor]()
    for name, p in model.named_parameters():
        weights[name], grads[name] = (
            t[:, at : at + p.numel()].view(lanes, *p.shape) for t in (0.3 * flat, grad)
        )
        at += p.numel()
    places = [Place(i, len(m.weight)) for i, m in enumerate(m for m in model if isinstance(m, nn.Linear))][
        :-1
    ]
    bits, x = (
        None,
        torch.randn(lanes, rows, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64),
    )
    if rate:
        rates = [(rate,) * len(places), (0.0,) * len(places), (rate / 2,) * len(places)]
        bits = DropoutBits(places, rates, [torch.Generator() for _ in rates], dtype, x.device)
        bits.draw([rows])
    chain = chain_of(model)
    assert chain is not None
    bound = ChainNetwork(model, chain).bind(weights, {}, grads)
    y = bound.forward((x.to(dtype),), bits, training=True)
    bound.backward(y.clone())
    return [y.clone(), grad]


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("command", COMMANDS)
def test_passes_equal_those_of_torch(
    command: str, dtype: torch.dtype, use: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_unless_here(command)
    use(command)
    library = native.load(dtype)
    assert not isinstance(library, str), library
    near = 2e-5 if dtype is torch.float32 else 1e-13
    for sizes, rows, rate in [
        ((6, 1), 1, 0.0),
        ((6, 70, 33, 18), 19, 0.3),
        ((6, 9, 130), 37, 0.0),
        ((6, 16), 16, 0.2),
        ((6, 20, 11), 300, 0.1),
    ]:
        monkeypatch.delenv("TRAINWELL_NATIVE", raising=False)
        mine = passes(widths(*sizes, rate=rate), dtype, rows, rate)
        monkeypatch.setenv("TRAINWELL_NATIVE", "0")
        for a, b in zip(mine, passes(widths(*sizes, rate=rate), dtype, rows, rate), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=near * float(b.abs().max()))


@needs_compiler
@pytest.mark.parametrize(("rows", "features"), [(1, 3), (8, 8), (19, 21), (64, 40)])
def test_masks_are_those_of_torch(rows: int, features: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found, rates = [], [(0.0, 0.0), (0.3, 0.2), (0.0, 0.4), (0.9, 0.1), (0.0, 0.0)]
    for wanted in ("1", "0"):
        monkeypatch.setenv("TRAINWELL_NATIVE", wanted)
        streams = [torch.Generator().manual_seed(i) for i in range(5)]
        places = [Place(0, features), Place(1, 3)]
        bits = DropoutBits(places, rates, streams, torch.float32, torch.device("cpu"))
        bits.draw([rows], lanes=[1, 3])
        h, link = torch.ones(5, features, rows), Dropout(0, in_place=False)
        found.append(link.forward(h, Pass(bits, rows, training=True)))
    assert torch.equal(*found)
    assert len(found[0][3].unique()) == 1 + (rows > 1)


def test_without_a_compiler_torch_does_it_and_says_so(use: Callable[[str], None]) -> None:
    use("no-such-compiler")
    said = list[str]()
    recipe = Recipe(batch_size=16, epochs=1, lr=0.01, techniques=("dropout:rate=0.2",))
    specs = [LaneSpec(recipe, seed=s) for s in range(2)]
    train_lanes(specs, source(), CLASSES, model=perceptron(), say=said.append)
    assert any("there is no C compiler ('no-such-compiler')" in text for text in said)
    check(specs, source(), CLASSES, perceptron())


def test_a_compiler_that_fails_is_told(use: Callable[[str], None]) -> None:
    use("false")
    assert native.load(torch.float32) == "the C compiler failed: exit code 1"
    assert compiled([]) == []


@needs_compiler
def test_a_damaged_library_is_compiled_again(
    use: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use("cc -O0")  # quickly: nothing is computed
    monkeypatch.setenv("TRAINWELL_CACHE", str(tmp_path))
    native.load(torch.float32)
    (made,) = (tmp_path / "native").iterdir()
    made.unlink()
    made.write_bytes(b"torn")
    loader.load.cache_clear()
    assert isinstance(native.load(torch.float32), ctypes.CDLL)


@needs_compiler
def test_many_may_compile_at_once(tmp_path: Path) -> None:
    sources = [str(path) for path in native.SOURCES if path.suffix == ".c"]
    command = ["cc", "-shared", "-fPIC", "-Dreal=float", "-Dwhole=int", *sources]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: loader.compiled(command, tmp_path / "made.so"), range(4)))
    assert set(made) == set(tmp_path.iterdir())
    assert loader.loaded(made[0], native.FUNCTIONS) is not None
