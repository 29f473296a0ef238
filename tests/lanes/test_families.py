"""Every model family in lanes: each network equals its lone run, fused or, with the reason told, alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.lanes.common import CLASSES, NUMBER, alone, assert_equal, check
from trainwell.engine.assemble import Source
from trainwell.engine.lanes import LaneSpec, train_lanes
from trainwell.engine.lanes.chain import chain_of
from trainwell.models import FAMILIES, build_model
from trainwell.values.recipe import ModelSpec, Recipe
from trainwell.values.task import InputSpec, Task

INPUTS = {
    "table": InputSpec(3, 2, (5,)),
    "image": InputSpec(kind="image", shape=(1, 8, 8)),
    "text": InputSpec(kind="text", shape=(6,), vocabulary=12),
}
SMALL: dict[str, dict[str, Any]] = {
    "cnn": {"width": 4}, "resnet": {"depth": "20"}, "gru": {"width": 8}, "transformer": {"width": 16, "depth": 1},
    "tabm": {"width": 8, "depth": 2, "members": 3}, "real_mlp": {"width": 8, "depth": 2},
    "mlp": {"width": 8, "depth": 2}, "bag": {"width": 8},
}  # fmt: skip


def rows(inputs: InputSpec, count: int, seed: int) -> tuple[tuple[Tensor, ...], Tensor]:
    g = torch.Generator().manual_seed(seed)
    if inputs.kind == "image":
        x: tuple[Tensor, ...] = (torch.randn(count, *inputs.shape, generator=g, dtype=torch.float64),)
    elif inputs.kind == "text":
        x = (torch.randint(1, inputs.vocabulary, (count, *inputs.shape), generator=g),)
    else:
        floats = torch.randn(count, inputs.num_numeric + inputs.num_onehot, generator=g, dtype=torch.float64)
        x = floats, torch.randint(0, 5, (count, 1), generator=g)
    return x, torch.randint(0, 3, (count,), generator=g)


@pytest.mark.parametrize("family", sorted(SMALL))
def test_every_family_equals_its_lone_run(family: str) -> None:
    inputs = INPUTS[FAMILIES[family].takes[0]]
    spec = ModelSpec.of(family, **SMALL.get(family, {}))
    data = Source(rows(inputs, 21, 1), rows(inputs, 16, 2))

    def build(recipe: Recipe, generator: torch.Generator) -> nn.Module:
        return build_model(spec, inputs, 3, generator).double()

    techniques = ("clip_grad",) if family == "resnet" else ("dropout:rate=0.2", "clip_grad")
    recipe = Recipe(batch_size=8, epochs=2, lr=0.003, techniques=techniques)
    runs = [LaneSpec(recipe, seed=s) for s in range(2)]
    for run, result in zip(runs, train_lanes(runs, data, CLASSES, model=build), strict=True):
        assert_equal(result, alone(run, data, CLASSES, build))
        assert result.engine == "lanes"


@pytest.mark.parametrize(
    "techniques",
    [("batch_norm", "dropout:rate=0.2"), ("layer_norm", "mixup"), ("label_smoothing", "l2"),
     ("grad_accumulation:micro_batches=2",)],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize(("task", "members"), [(CLASSES, 3), (NUMBER, 3), (CLASSES, 1)])
def test_members_equal_their_lone_runs(techniques: tuple[str, ...], task: Task, members: int) -> None:
    if task is NUMBER:
        techniques = tuple(t for t in techniques if t != "label_smoothing")
    inputs, outputs = INPUTS["table"], task.num_outputs
    spec = ModelSpec.of("tabm", **(SMALL["tabm"] | {"members": members}), bins=5, embedding=2)
    x, y = rows(inputs, 37, 1)
    x[0][:, 1] = x[0][:, 1].sign()  # a number of two values has fewer bins than the others
    x_val, y_val = rows(inputs, 16, 2)
    if task is NUMBER:
        y, y_val = (t.double().unsqueeze(1) - x_t[0][:, :1] for t, x_t in ((y, x), (y_val, x_val)))
    data = Source((x, y), (x_val, y_val))

    def build(recipe: Recipe, generator: torch.Generator) -> nn.Module:
        model = build_model(spec, inputs, outputs, generator).double()
        assert chain_of(model) is not None
        return model

    recipe = Recipe(batch_size=8, epochs=2, lr=0.003, techniques=techniques)
    runs = [LaneSpec(recipe, seed=s) for s in range(2)]
    check(runs, data, task, build)


@pytest.mark.parametrize(
    ("task", "options", "techniques"),
    [(CLASSES, {}, ("batch_norm", "dropout:rate=0.2")), (NUMBER, {}, ("layer_norm", "l2")),
     (CLASSES, {"activation": "relu"}, ("grad_accumulation:micro_batches=2", "mixup")),
     (NUMBER, {"activation": "gelu"}, ("dropout:rate=0.2", "grad_accumulation:micro_batches=2"))],
    ids=str,
)  # fmt: skip
def test_real_mlp_has_links_and_equals_its_lone_run(
    task: Task, options: dict[str, Any], techniques: tuple[str, ...]
) -> None:
    inputs, spec = INPUTS["table"], ModelSpec.of("real_mlp", **(SMALL["real_mlp"] | options))
    parts = rows(inputs, 21, 1), rows(inputs, 16, 2)
    if task is NUMBER:
        parts = tuple((x, y.double().unsqueeze(1) - x[0][:, :1]) for x, y in parts)  # type: ignore[assignment]

    def build(recipe: Recipe, generator: torch.Generator) -> nn.Module:
        model = build_model(spec, inputs, task.num_outputs, generator).double()
        assert chain_of(model) is not None
        return model

    recipe = Recipe(batch_size=8, epochs=2, lr=0.003, techniques=techniques)
    check([LaneSpec(recipe, seed=s) for s in range(2)], Source(*parts), task, build)


@pytest.mark.parametrize("family", ["bag", "gru", "transformer"])
@pytest.mark.parametrize(
    "techniques",
    [("clip_grad",), ("dropout:rate=0.2",), ("dropout:rate=0.2", "grad_accumulation:micro_batches=2")],
    ids=str,
)
def test_texts_of_several_lengths_equal_their_lone_runs(family: str, techniques: tuple[str, ...]) -> None:
    """With dropout as well: a lane draws masks for the longest text of its own batch."""
    data = Source(rows(INPUTS["text"], 21, 1), rows(INPUTS["text"], 16, 2))
    tokens = data.train[0][0]  # type: ignore[index]
    for i, row in enumerate(tokens):
        row[1 + i % 6 if i in (4, 11) else 1 + i % 3 :] = 0
    spec = ModelSpec.of(family, **SMALL[family])

    def build(recipe: Recipe, generator: torch.Generator) -> nn.Module:
        return build_model(spec, INPUTS["text"], 3, generator).double()

    recipe = Recipe(batch_size=8, epochs=2, lr=0.003, techniques=techniques)
    runs = [LaneSpec(recipe, seed=s) for s in range(3)]
    check(runs, data, CLASSES, build)


@pytest.mark.parametrize(
    "options",
    [{"num_layers": 2}, {"bidirectional": True, "batch_first": True}, {"bias": False, "batch_first": True}],
    ids=str,
)
def test_a_users_gru_equals_its_lone_run(options: dict[str, Any]) -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = nn.GRU(2, 5, **options)
            self.output = nn.Linear(10 if options.get("bidirectional") else 5, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = x.view(-1, 3, 2)
            h, last = self.recurrent(x if options.get("batch_first") else x.transpose(0, 1))
            mean: Tensor = self.output(h.mean(1 if options.get("batch_first") else 0))
            return mean + last.sum(0)[:, :3]

    def build(recipe: Recipe, generator: torch.Generator) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
            return Reader().double()

    runs = [LaneSpec(Recipe(batch_size=16, epochs=2, lr=0.01), seed=s) for s in range(2)]
    check(runs, build=build)
