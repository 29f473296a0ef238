"""What each family promises of its own."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from trainwell.engine.flat import parameter_groups
from trainwell.models import build_model
from trainwell.values.recipe import ModelSpec
from trainwell.values.task import InputSpec


def make(family: str, inputs: InputSpec, outputs: int, **params: object) -> nn.Module:
    return build_model(ModelSpec.of(family, **params), inputs, outputs, torch.Generator().manual_seed(0))


def test_mlp_computes_its_modules_in_turn() -> None:
    model = make("mlp", InputSpec(4, 1, (6, 3)), 2, width=16, depth=3)
    floats, codes = torch.randn(9, 5), torch.stack([torch.arange(9) % 6, torch.arange(9) % 3], 1)
    x = model.front(floats, codes)
    for block in model.blocks:
        x = block(x)
    torch.testing.assert_close(model(floats, codes), model.output(x), rtol=0, atol=0)


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_mlp_forward_costs_three_python_calls(depth: int) -> None:
    model, x = make("mlp", InputSpec(64), 10, width=64, depth=depth), torch.randn(32, 64)
    calls = []
    sys.setprofile(lambda frame, event, _: calls.append(frame.f_code.co_name) if event == "call" else None)
    try:
        model(x)
    finally:
        sys.setprofile(None)
    assert len(calls) <= 3, calls


def test_mlp_calls_hooks_and_replaced_layers() -> None:
    model, x = make("mlp", InputSpec(4), 2, width=8, depth=2), torch.randn(5, 4)
    seen: list[str] = []
    for name, module in model.named_modules():
        if name and not name.startswith("front") and not isinstance(module, nn.Identity | nn.ModuleList):
            module.register_forward_hook(lambda *_, name=name: seen.append(name))
    plain = model(x)
    assert set(seen) >= {"blocks.0", "blocks.0.linear", "blocks.1.activation", "output"}
    torch.nn.utils.parametrizations.weight_norm(model.output)
    torch.testing.assert_close(model(x), plain)
    model.blocks[0] = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    assert not torch.allclose(model(x), plain)


def test_tabm_members_are_networks_with_shared_hidden_layers() -> None:
    model = make("tabm", InputSpec(3, 2), 2, members=4, width=8, depth=2, bins=5).train()
    model.initialize((torch.randn(50, 5),), torch.Generator())
    x = torch.randn(7, 5)
    outputs = model(x)
    assert outputs.shape == (4, 7, 2)
    for k in range(4):
        h = model.front(x) * model.scale.weight[k]
        for block in model.blocks:
            h = torch.relu(block.linear(h))
        torch.testing.assert_close(outputs[k], h @ model.heads.weight[k] + model.heads.bias[k])


def test_tabm_averages_probabilities_or_numbers() -> None:
    x = torch.randn(7, 3)
    model = make("tabm", InputSpec(3), 3, members=5)
    each = model.train()(x)
    torch.testing.assert_close(model.eval()(x).exp(), each.softmax(-1).mean(0))
    model = make("tabm", InputSpec(3), 1, members=5)
    each = model.train()(x)
    torch.testing.assert_close(model.eval()(x), each.mean(0))


def test_real_mlp_units_vary_by_one_over_the_sample() -> None:
    model = make("real_mlp", InputSpec(4, 2, (5,)), 3, width=32, depth=3)
    sample = (torch.randn(500, 6) * 5, torch.randint(0, 5, (500, 1)))
    model.initialize(sample, torch.Generator().manual_seed(1))
    x = model.scale(model.front(*sample))
    for layer in [*(block.linear for block in model.blocks), model.output]:
        units = layer(x)
        torch.testing.assert_close(units.std(0, correction=0), torch.ones(units.shape[1]))
        # the kink of every unit lies inside the range of the sample
        assert (units.amin(0) <= 1e-4).all()
        assert (units.amax(0) >= -1e-4).all()
        x = model.blocks[0].activation(units)


def test_real_mlp_learning_rates() -> None:
    factors = {g.name: g.lr_factor for g in parameter_groups(make("real_mlp", InputSpec(4), 2, depth=1))}
    assert factors["scale.weight"] == 6
    assert factors["blocks.0.linear.weight"] == 1
    assert factors["blocks.0.linear.bias"] == factors["blocks.0.share"] == 0.1
    assert factors["front.numbers.frequency"] == factors["front.numbers.weight"] == 0.1
