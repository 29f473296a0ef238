"""Lane k equals the lone run k over a whole training, for every technique."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

import trainwell.techniques  # noqa: F401
from tests.lanes.common import ROWS, check
from trainwell.engine.assemble import Source
from trainwell.engine.lanes import LaneSpec
from trainwell.testing.lanes import samples
from trainwell.testing.runs import Furnished, classes, kind_for, network_for, recipe_with
from trainwell.values.recipe import Recipe
from trainwell.values.technique import REGISTRY, Technique

SHAPING = ("freeze", "lora")
"""Their doses, as those of the sites `hardware` and `groups`, decide what a stack consists of: one for all lanes."""

ALONE = {
    "given": "the optimizer is the user's own", "compile": "it is compiled",
    "stochastic_depth": "other rates are another structure",
}  # fmt: skip

SINGLE = ("bf16", "resized_crop", "spectral_tilt")
"""Those that compute in single precision, whatever the data are."""


@pytest.mark.parametrize("name", sorted(set(REGISTRY) - set(ALONE)))
def test_lanes_equal_lone_runs_with_every_technique(name: str) -> None:
    kind = REGISTRY[name]
    doses: list[Technique] = samples(kind, 3, off=True)
    if {"hardware", "groups"} & set(kind.sites()) or name in SHAPING:
        doses = doses[-1:] * 3
    fields: dict[str, Any] = {"batch_size": 16, "epochs": 3.5}
    if kind.role != "optimizer":
        fields["optimizer"] = "adam"
    specs = [
        LaneSpec(recipe_with(dose, **{**fields, "lr": 0.003 * (i + 1)}), seed=i)
        for i, dose in enumerate(doses)
    ]
    bound = 1e-4 if {"image", "audio"} & set(kind.kinds) else 1e-6 if name == "bf16" else 1e-9
    check(specs, **place_for(doses[-1]), bound=bound)  # edited images and losses of bf16 are float32


def place_for(technique: Technique) -> dict[str, Any]:
    """Return data and network that have a place for the technique, where rows of numbers and an MLP have none."""
    kind, network = kind_for(technique), cast("Any", network_for(technique))
    if kind == "table" and network is not Furnished:
        return {}

    def build(recipe: Recipe, generator: torch.Generator) -> nn.Module:
        made: nn.Module = network(seed=int(torch.randint(2**31, (1,), generator=generator))).double()
        return made if kind == "table" else nn.Sequential(Doubles(), *made[1:])  # type: ignore[index]

    return {"data": Source(*(in_double(*classes(rows, rows, kind)) for rows in (ROWS, 40))), "build": build}


class Doubles(nn.Module):
    """Reads rows of any form as rows of 8 numbers, in double precision."""

    def forward(self, x: Tensor) -> Tensor:
        numbers = x[..., ::4, ::4] if x.ndim == 4 else x
        return numbers.flatten(1).double()


def in_double(x: tuple[Tensor, ...], y: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
    return tuple(t.double() if t.is_floating_point() else t for t in x), y


@pytest.mark.parametrize(
    "name", sorted(n for n, kind in REGISTRY.items() if kind.role == "optimizer" and n not in ALONE)
)
def test_lanes_with_equal_doses_and_rates_equal_lone_runs(name: str) -> None:
    """Doses and rates that all lanes share are numbers, and take other paths."""
    check(
        [
            LaneSpec(recipe_with(REGISTRY[name](), batch_size=16, epochs=2.5, lr=0.003), seed=i)
            for i in range(3)
        ]
    )
