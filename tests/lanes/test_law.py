"""Lane k equals the lone run k over a whole training, for every technique."""

from __future__ import annotations

from typing import Any

import pytest

import trainwell.techniques  # noqa: F401
from tests.lanes.common import check
from trainwell.engine.lanes import LaneSpec
from trainwell.testing.lanes import samples
from trainwell.testing.runs import recipe_with
from trainwell.values.technique import REGISTRY, Technique

SHAPING = ("freeze", "lora")
"""Their doses, as those of the sites `hardware` and `groups`, decide what a stack consists of: one for all lanes."""

ALONE = {"given": "the optimizer is the user's own", "compile": "it is compiled"}


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
    check(specs, bound=1e-6 if name == "bf16" else 1e-9)  # its losses are float32


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
