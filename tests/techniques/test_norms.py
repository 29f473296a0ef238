"""Normalization: where it goes, what it replaces, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainwell.engine.parts import Build
from trainwell.techniques.batch_norm import BatchNorm
from trainwell.techniques.dropout import Dropout
from trainwell.techniques.group_norm import GroupNorm
from trainwell.techniques.layer_norm import LayerNorm
from trainwell.techniques.no_norm import NoNorm
from trainwell.values.errors import NoPlaceError, RecipeError


def build(*shape: int) -> Build:
    sample = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    return Build(torch.Generator(), (sample,), torch.Generator())


def kinds(model: nn.Module) -> list[str]:
    return [type(m).__name__ for m in model.modules() if not isinstance(m, nn.Sequential)]


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 3))


@pytest.mark.parametrize(
    ("technique", "name"),
    [(BatchNorm(), "BatchNorm1d"), (LayerNorm(), "LayerNorm"), (GroupNorm(), "GroupNorm")],
)
def test_norm_stands_before_every_activation(technique: Any, name: str) -> None:
    model = mlp()
    names = set(model.state_dict())
    technique.model(model, build(16, 8))
    assert kinds(model) == ["Linear", name, "ReLU", "Linear", name, "Tanh", "Linear"]
    assert names <= set(model.state_dict())
    assert model(torch.randn(4, 8)).shape == (4, 3)


def test_convolutions_get_norms_over_channels() -> None:
    def convolutions() -> nn.Sequential:
        block = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU())
        return nn.Sequential(block, nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(512, 2))

    assert kinds(BatchNorm().model(convolutions(), build(4, 3, 8, 8))).count("BatchNorm2d") == 2
    layer = [
        m
        for m in LayerNorm().model(convolutions(), build(4, 3, 8, 8)).modules()
        if isinstance(m, nn.GroupNorm)
    ]
    assert [(m.num_groups, m.num_channels) for m in layer] == [(1, 16), (1, 32)]
    group = [
        m
        for m in GroupNorm().model(convolutions(), build(4, 3, 8, 8)).modules()
        if isinstance(m, nn.GroupNorm)
    ]
    assert [(m.num_groups, m.num_channels) for m in group] == [(1, 16), (2, 32)]


@pytest.mark.parametrize(
    ("features", "channels", "groups"), [(64, 16, 4), (30, 16, 1), (17, 4, 1), (8, 16, 1)]
)
def test_group_norm_divides_the_features(features: int, channels: int, groups: int) -> None:
    model = nn.Sequential(nn.Linear(4, features), nn.ReLU())
    GroupNorm(channels=channels).model(model, build(4, 4))
    assert model[1][0].num_groups == groups


def test_norms_that_are_there_are_replaced() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 8), nn.LayerNorm(8)
    )
    BatchNorm(momentum=0.3).model(model, build(4, 3, 8, 8))
    assert kinds(model) == ["Conv2d", "BatchNorm2d", "ReLU", "Flatten", "Linear", "BatchNorm1d"]
    assert model[1].momentum == 0.3


def test_a_norm_of_the_same_kind_keeps_its_weights() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU())
    model[1].weight.data.fill_(3.0)
    model[1].running_mean.fill_(2.0)
    BatchNorm(momentum=0.01).model(model, build(4, 4))
    assert (model[1].weight == 3).all()
    assert (model[1].running_mean == 2).all()
    assert model[1].momentum == 0.01


class Family(nn.Module):
    """A model with slots, as those of trainwell."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Module()
        self.block.linear, self.block.norm = nn.Linear(4, 16), nn.Identity()
        self.output = nn.Linear(16, 2)
        self.norm_slots = [(self.block, "norm", 16)]

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.block.norm(self.block.linear(x)).relu())  # type: ignore[no-any-return, operator]


def test_slots_of_a_family_are_filled_and_emptied() -> None:
    model: Any = Family()
    BatchNorm().model(model, build(4, 4))
    assert isinstance(model.block.norm, nn.BatchNorm1d)
    LayerNorm().model(model, build(4, 4))
    assert isinstance(model.block.norm, nn.LayerNorm)
    NoNorm().model(model, build(4, 4))
    assert isinstance(model.block.norm, nn.Identity)


def test_no_norm_removes_them_and_says_where_there_are_none() -> None:
    model = NoNorm().model(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU()), build(4, 4))
    assert kinds(model) == ["Linear", "Identity", "ReLU"]
    with pytest.raises(NoPlaceError, match="no_norm found no norm"):
        NoNorm().model(mlp(), build(4, 8))


def test_norm_before_or_after_dropout_lands_in_the_same_place() -> None:
    models = []
    for techniques in ((BatchNorm(), Dropout()), (Dropout(), BatchNorm())):
        model: nn.Module = mlp()
        for technique in techniques:
            model = technique.model(model, build(4, 8))
        models.append(kinds(model))
    assert models[0] == models[1]
    assert models[0][:4] == ["Linear", "BatchNorm1d", "ReLU", "Dropout"]


def test_norm_without_a_place_is_a_recipe_error() -> None:
    with pytest.raises(RecipeError, match=r"batch_norm found no place in Sequential"):
        BatchNorm().model(nn.Sequential(nn.Linear(4, 2)), build(4, 4))


def test_norm_that_does_not_fit_is_a_recipe_error() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.ReLU())
    with pytest.raises(RecipeError, match=r"batch_norm does not fit the activations of Sequential"):
        BatchNorm().model(model, build(2, 5, 4))


def test_norm_takes_the_dtype_of_the_model() -> None:
    model = mlp().double()
    sample = torch.randn(4, 8, dtype=torch.float64)
    BatchNorm().model(model, Build(torch.Generator(), (sample,), torch.Generator()))
    assert model[1][0].weight.dtype == torch.float64
