"""Initializations: their variances, their gains, what they leave alone, and that they draw from their stream only."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainwell.engine.parts import Build
from trainwell.techniques.he import He
from trainwell.techniques.lecun import LeCun
from trainwell.techniques.lsuv import LSUV
from trainwell.techniques.orthogonal import Orthogonal
from trainwell.techniques.xavier import Xavier
from trainwell.values.errors import RecipeError

INITS = [Xavier(), Xavier(distribution="normal"), He(), He(mode="fan_out"), LeCun(), Orthogonal(), LSUV()]
IDS = [str(i) for i in INITS]


def build(sample: Tensor, seed: int = 0) -> Build:
    return Build(torch.Generator().manual_seed(seed), (sample,), torch.Generator().manual_seed(1))


def rows(features: int, count: int = 400) -> Tensor:
    return torch.randn(count, features, generator=torch.Generator().manual_seed(2))


def deep(activation: type[nn.Module], depth: int = 12, width: int = 64) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 3))


def std(layer: Any) -> float:
    return float(layer.weight.detach().std())


@pytest.mark.parametrize("technique", INITS, ids=IDS)
def test_init_draws_from_its_stream_only(technique: Any) -> None:
    state, models = torch.get_rng_state(), []
    for seed in (0, 0, 1):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            models.append(deep(nn.ReLU, 2))
    assert torch.equal(state, torch.get_rng_state())
    first, same, other = (
        torch.cat([p.flatten() for p in technique.model(m, build(rows(64), s)).parameters()])
        for m, s in zip(models, (0, 0, 5), strict=True)
    )
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("technique", INITS, ids=IDS)
def test_init_zeroes_biases_and_spares_marked_modules(technique: Any) -> None:
    model = nn.Sequential(
        nn.Linear(8, 8), nn.ReLU(), nn.Sequential(nn.Linear(8, 8)), nn.LayerNorm(8), nn.Linear(8, 2)
    )
    model[2].own_init = True
    own, norm = model[2][0].weight.clone(), model[3].weight.clone()
    technique.model(model, build(rows(8)))
    assert (model[0].bias == 0).all()
    assert (model[4].bias == 0).all()
    assert torch.equal(model[2][0].weight, own)
    assert torch.equal(model[3].weight, norm)


def test_variances_follow_the_formulas() -> None:
    def wide() -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(400, 300), nn.ReLU(), nn.Linear(300, 200), nn.Tanh(), nn.Linear(200, 100)
        )

    expected = {
        Xavier(): [(2 * 2 / 700) ** 0.5, 5 / 3 * (2 / 500) ** 0.5, (2 / 300) ** 0.5],
        He(): [(2 / 400) ** 0.5, 5 / 3 * (1 / 300) ** 0.5, (1 / 200) ** 0.5],
        He(mode="fan_out"): [(2 / 300) ** 0.5, 5 / 3 * (1 / 200) ** 0.5, (1 / 100) ** 0.5],
        LeCun(gain=2.0): [2 * (1 / 400) ** 0.5, 2 * (1 / 300) ** 0.5, 2 * (1 / 200) ** 0.5],
    }
    for technique, deviations in expected.items():
        model = technique.model(wide(), build(rows(400)))
        assert [std(m) for m in model[::2]] == pytest.approx(deviations, rel=0.03), technique


def test_convolutions_count_the_receptive_field() -> None:
    model = nn.Sequential(
        nn.Conv2d(16, 64, 3), nn.ReLU(), nn.ConvTranspose2d(64, 32, 3), nn.ReLU(), nn.Flatten()
    )
    sample = torch.randn(2, 16, 8, 8)
    He().model(model, build(sample))
    assert std(model[0]) == pytest.approx((2 / (16 * 9)) ** 0.5, rel=0.03)
    assert std(model[2]) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.03)


def test_gain_of_unknown_activations_is_that_of_relu_in_he() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(300, 300), nn.Linear(300, 300)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x).relu())  # type: ignore[no-any-return]

    model: Any = He().model(Functional(), build(rows(300)))
    assert std(model.a) == pytest.approx((2 / 300) ** 0.5, rel=0.03)
    assert std(model.b) == pytest.approx((1 / 300) ** 0.5, rel=0.03)


@pytest.mark.parametrize(
    ("technique", "activation"), [(He(), nn.ReLU), (Orthogonal(), nn.ReLU), (Xavier(), nn.Tanh)]
)
def test_signal_keeps_its_size_through_depth(technique: Any, activation: type[nn.Module]) -> None:
    model = technique.model(deep(activation), build(rows(64)))
    assert 0.2 < float(model(rows(64)).detach().std(0).mean()) < 5
    plain = deep(activation)
    assert float(plain(rows(64)).detach().std(0).mean()) < 0.02


def test_orthogonal_is_orthogonal() -> None:
    model = Orthogonal().model(
        nn.Sequential(nn.Linear(20, 10), nn.Tanh(), nn.Linear(10, 30)), build(rows(20))
    )
    torch.testing.assert_close(
        model[0].weight @ model[0].weight.T, (5 / 3) ** 2 * torch.eye(10), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(model[2].weight.T @ model[2].weight, torch.eye(10), atol=1e-5, rtol=0)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU])
def test_lsuv_gives_every_layer_unit_variance(activation: type[nn.Module]) -> None:
    sample = rows(64) * 7 + 3
    model = LSUV().model(deep(activation), build(sample))
    assert model.training
    x = sample
    for layer in model:
        x = layer(x)
        if isinstance(layer, nn.Linear):
            assert float(x.detach().std()) == pytest.approx(1, abs=1e-3)
    assert not any(m._forward_hooks for m in model)


def test_lsuv_leaves_running_statistics_alone() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
    LSUV().model(model, build(rows(8)))
    assert model[1].num_batches_tracked == 0


@pytest.mark.parametrize("technique", INITS, ids=IDS)
def test_init_without_a_layer_is_a_recipe_error(technique: Any) -> None:
    with pytest.raises(RecipeError, match=rf"{technique.name}.*leave {technique.name} out"):
        technique.model(nn.Sequential(nn.Embedding(3, 2)), build(torch.zeros(2, dtype=torch.long)))
