"""Compiled convolutions of small images against lone runs and against the links of torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.lanes.common import CLASSES, Build, check, with_head
from tests.lanes.compilers import COMMANDS, needs_compiler, skip_unless_here
from trainwell.engine.assemble import Source
from trainwell.engine.lanes import LaneSpec, native
from trainwell.engine.lanes.chain import ChainNetwork, chain_of
from trainwell.engine.lanes.planes import Planes, shapes_of
from trainwell.models import layers
from trainwell.models.cnn import CNN
from trainwell.values.recipe import Recipe
from trainwell.values.task import InputSpec


def conv(inputs: int, outputs: int, padding: int = 1, bias: bool = True) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 3, padding=padding, bias=bias)


IMAGES = {
    "plain": (conv(2, 9), nn.ReLU(), conv(9, 5), nn.ReLU(), nn.MaxPool2d(2)),
    "odd": (conv(2, 4, 0), nn.MaxPool2d(2), nn.ReLU(), conv(4, 17, 2), nn.MaxPool2d(2), nn.Tanh(), conv(17, 3, 1)),
    "norms": (
        conv(2, 4, bias=False), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.ReLU(), layers.Dropout(0.2),
        conv(4, 6, 1, False), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
    ),
}  # fmt: skip


def pixels(rows: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return images with places where all are alike: of equal outputs the first is the largest."""
    return (
        torch.randn(rows, 2, 7, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        .relu()
        .to(dtype)
    )


def network(name: str) -> Build:
    return with_head(IMAGES[name], pixels(2))


def of_family(recipe: Recipe, generator: torch.Generator) -> nn.Module:
    return CNN(width=5).build(InputSpec(shape=(2, 7, 9)), 3, generator).double()


def data() -> Source:
    x, y = pixels(60), torch.randint(0, 3, (60,), generator=torch.Generator().manual_seed(1))
    return Source(((x[:41],), y[:41]), ((x[41:],), y[41:]))


def bound(
    model: nn.Module, lanes: int, grads: bool
) -> tuple[ChainNetwork, dict[str, Tensor], dict[str, Tensor]]:
    chain = chain_of(model)
    assert chain is not None
    weights = {
        n: torch.stack([p.detach() * (1 + 0.1 * k) for k in range(lanes)])
        for n, p in model.named_parameters()
    }
    made = {n: torch.zeros_like(w) for n, w in weights.items()} if grads else {}
    return ChainNetwork(model, chain, shape=(2, 7, 9)), weights, made


@needs_compiler
@pytest.mark.parametrize("name", [*IMAGES, "family"])
def test_compiled_convolutions_equal_lone_runs(name: str) -> None:
    build = of_family if name == "family" else network(name)
    model = build(Recipe(), torch.Generator())
    found, weights, _ = bound(model, 1, grads=False)
    buffers = {n: b.unsqueeze(0) for n, b in model.named_buffers()}
    assert any(isinstance(link, Planes) for link in found.bind(weights, buffers, {})._links)
    techniques = ("grad_accumulation:micro_batches=2",) if name == "plain" else ("clip_grad",)
    recipe = Recipe(batch_size=16, epochs=2, lr=0.01, techniques=techniques)
    check([LaneSpec(recipe, seed=s) for s in range(3)], data(), CLASSES, build)


def passes(name: str, dtype: torch.dtype, rows: int) -> list[Tensor]:
    """Return outputs and gradients of three lanes of a network."""
    model = network(name)(Recipe(), torch.Generator().manual_seed(3)).to(dtype)
    found, weights, grads = bound(model, 3, grads=True)
    chain = found.bind(weights, {}, grads)
    x = pixels(rows, dtype).expand(3, rows, 2, 7, 9)
    y = chain.forward((x,), None, training=True).clone()
    chain.backward(y.clone())
    return [
        y,
        *(g.clone() for g in grads.values()),
        found.bind(weights, {}, {}).forward((x,), None, training=False),
    ]


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("command", COMMANDS)
def test_convolutions_equal_those_of_torch(
    command: str,
    dtype: torch.dtype,
    use: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    skip_unless_here(command)
    use(command)
    library = native.load(dtype)
    assert not isinstance(library, str), library
    near = 2e-5 if dtype is torch.float32 else 1e-13
    for name, rows in [("plain", 1), ("plain", 32), ("odd", 19)]:
        monkeypatch.delenv("TRAINWELL_NATIVE", raising=False)
        mine = passes(name, dtype, rows)
        monkeypatch.setenv("TRAINWELL_NATIVE", "0")
        for a, b in zip(mine, passes(name, dtype, rows), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=near * float(b.abs().max()))


@needs_compiler
def test_a_lane_with_nan_stays_alone() -> None:
    model = network("plain")(Recipe(), torch.Generator())
    found, weights, grads = bound(model, 3, grads=True)
    chain = found.bind(weights, {}, grads)
    x = pixels(5).expand(3, 5, 2, 7, 9)
    weights["0.0.weight"][1, 0, 0, 1, 1] = torch.nan
    y = chain.forward((x,), None, training=True).clone()
    chain.backward(y.clone())
    assert y.isfinite().flatten(1).all(1).tolist() == [True, False, True]
    for grad in grads.values():
        assert grad[::2].isfinite().all()


def test_other_convolutions_are_left_to_torch() -> None:
    def shapes(*modules: nn.Module) -> object:
        return shapes_of([*modules, nn.Flatten(), nn.Linear(1, 1)], (2, 7, 9), (nn.ReLU,))

    assert shapes(conv(2, 4), nn.MaxPool2d(2), conv(4, 3, 0)) == [(2, 7, 9), (4, 7, 9), (4, 3, 4), (3, 1, 2)]
    assert shapes(nn.Conv2d(2, 4, 5)) is None
    assert shapes(nn.Conv2d(2, 4, 3, stride=2)) is None
    assert shapes(nn.Conv2d(2, 4, 3, groups=2)) is None
    assert shapes(conv(2, 4), nn.MaxPool2d(3)) is None
    assert shapes(conv(2, 4), nn.BatchNorm2d(4)) is None  # the gradient of the bias is rounding
    assert shapes(conv(2, 4), nn.GroupNorm(2, 4)) is None
    assert shapes(conv(2, 4, 0), conv(4, 4, 0), conv(4, 4, 0), conv(4, 4, 0)) is None
