"""The dropout layer and where the technique puts it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from trainwell.engine.parts import Build
from trainwell.models.layers import Dropout as Layer
from trainwell.techniques.dropout import Dropout
from trainwell.values.errors import RecipeError


def build(seed: int = 0) -> Build:
    return Build(torch.Generator(), (torch.zeros(2, 8),), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_layer_drops_the_share_and_keeps_the_mean(rate: float) -> None:
    layer = Layer(rate, torch.Generator().manual_seed(0))
    out = layer(torch.ones(1000, 401))
    assert float((out == 0).float().mean()) == pytest.approx(rate, abs=3e-3)
    assert float(out.mean()) == pytest.approx(1, abs=6e-3)
    kept = out[out != 0]
    assert float(kept.min()) == float(kept.max()) == pytest.approx(1 / (1 - rate), rel=1e-4)


def test_masks_are_independent_between_places_and_calls() -> None:
    layer = Layer(0.5, torch.Generator().manual_seed(0))
    kept = torch.stack([layer(torch.ones(4096)) for _ in range(64)]).bool().float()
    correlation = torch.corrcoef(kept)
    assert float((correlation - torch.eye(64)).abs().max()) < 0.09  # 5.7 standard errors
    neighbours = torch.corrcoef(kept.reshape(-1, 4).T) - torch.eye(4)
    assert float(neighbours.abs().max()) < 0.02


def test_layer_is_the_identity_in_evaluation_and_at_rate_zero() -> None:
    x = torch.randn(5, 7)
    assert Layer(0.5).eval()(x) is x
    assert Layer(0.0)(x) is x
    rates = torch.tensor([0.0, 0.5]).view(2, 1, 1)
    out = Layer(rates, torch.Generator().manual_seed(0))(x.expand(2, 5, 7))
    assert torch.equal(out[0], x)
    assert not torch.equal(out[1], x)


def test_lanes_with_equal_rates_equal_a_number() -> None:
    x = torch.randn(3, 20, 8)
    one = Layer(0.3, torch.Generator().manual_seed(4))(x)
    lanes = Layer(torch.full((3, 1, 1), 0.3), torch.Generator().manual_seed(4))(x)
    torch.testing.assert_close(one, lanes)


def test_layer_draws_from_its_stream_only() -> None:
    state = torch.get_rng_state()
    Layer(0.5, torch.Generator().manual_seed(0))(torch.ones(10))
    assert torch.equal(state, torch.get_rng_state())


def test_gradient_is_the_mask() -> None:
    x = torch.ones(50, requires_grad=True)
    out = Layer(0.5, torch.Generator().manual_seed(0))(x)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_layer_keeps_the_dtype_and_bears_any_layout(dtype: torch.dtype) -> None:
    x = torch.ones(6, 5, 4, dtype=dtype).transpose(0, 2)
    assert Layer(0.5, torch.Generator())(x).dtype == dtype


def test_layer_can_be_copied() -> None:
    layer = copy.deepcopy(Layer(0.5, torch.Generator().manual_seed(0)))
    assert float((layer(torch.ones(1000)) == 0).float().mean()) == pytest.approx(0.5, abs=0.1)


def test_technique_stands_after_hidden_activations() -> None:
    model = nn.Sequential(
        nn.Linear(8, 8), nn.ReLU(), nn.Sequential(nn.Linear(8, 4), nn.Tanh()), nn.Linear(4, 1)
    )
    model.append(nn.Sigmoid())
    names, drawn = list(model.state_dict()), build()
    Dropout(rate=0.4).model(model, drawn)
    layers = [m for m in model.modules() if isinstance(m, Layer)]
    assert [m.rate for m in layers] == [0.4, 0.4]
    assert all(m.generator is drawn.dropout for m in layers)
    assert list(model.state_dict()) == names
    assert isinstance(model[4], nn.Sigmoid)


def test_technique_replaces_the_rates_that_are_there() -> None:
    model: Any = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.9), nn.ReLU(), nn.Dropout1d(0.9), Layer(0.9))
    drawn = build()
    Dropout(rate=0.25).model(model, drawn)
    assert [model[1].rate, model[3].p, model[4].rate] == [0.25] * 3
    assert model[1].generator is model[4].generator is drawn.dropout


def test_technique_fills_the_slots_of_a_family() -> None:
    model: Any = nn.Sequential(nn.Linear(8, 8), nn.Identity())
    model.dropout_slots = [(model, "1", 8)]
    Dropout(rate=0.25).model(model, build())
    assert isinstance(model[1], Layer)


def test_technique_without_a_place_is_a_recipe_error() -> None:
    with pytest.raises(RecipeError, match="dropout found no place in Linear"):
        Dropout().model(nn.Linear(3, 2), build())
