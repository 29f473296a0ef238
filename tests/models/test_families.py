"""Laws that every model family keeps; a new family is tested by being registered."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import trainwell.techniques  # noqa: F401  (fills the registry)
from trainwell.engine.assemble import Source, assemble
from trainwell.engine.flat import parameter_groups
from trainwell.models import FAMILIES, build_model
from trainwell.values.errors import DoseError, RecipeError
from trainwell.values.recipe import ModelSpec, Recipe
from trainwell.values.task import InputSpec, Task

INPUTS = {
    "numbers": InputSpec(5),
    "onehot": InputSpec(0, 4),
    "codes": InputSpec(0, 0, (7, 12)),
    "all": InputSpec(3, 2, (5,)),
}
FAMILY = pytest.mark.parametrize("family", sorted(n for n, f in FAMILIES.items() if "table" in f.takes))
KIND = pytest.mark.parametrize("kind", INPUTS)


def build(family: str, inputs: InputSpec, outputs: int = 3, seed: int = 0) -> nn.Module:
    spec = ModelSpec.of(family, width=16, depth=2)
    return build_model(spec, inputs, outputs, torch.Generator().manual_seed(seed))


def rows(inputs: InputSpec, count: int = 64, seed: int = 1) -> tuple[Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    numbers = torch.randn(count, inputs.num_numeric, generator=g)
    onehot = torch.randint(0, 2, (count, inputs.num_onehot), generator=g).float()
    floats = torch.cat([numbers, onehot], 1)
    codes = [torch.randint(0, c, (count,), generator=g) for c in inputs.cardinalities]
    return (floats, torch.stack(codes, 1)) if codes else (floats,)


@FAMILY
@KIND
@pytest.mark.parametrize("outputs", [1, 3])
def test_outputs_have_one_row_per_row(family: str, kind: str, outputs: int) -> None:
    model, x = build(family, INPUTS[kind], outputs).eval(), rows(INPUTS[kind])
    assert model(*x).shape == (64, outputs)
    assert model(*(t[:1] for t in x)).shape == (1, outputs)
    assert torch.isfinite(model(*x)).all()


@FAMILY
@KIND
def test_evaluation_treats_rows_alone(family: str, kind: str) -> None:
    model, x = build(family, INPUTS[kind]).eval(), rows(INPUTS[kind])
    order = torch.randperm(64, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(model(*(t[order] for t in x)), model(*x)[order])


@FAMILY
@KIND
def test_same_seed_gives_the_same_bits_and_leaves_the_global_stream_alone(family: str, kind: str) -> None:
    before = torch.get_rng_state()
    states = []
    for seed in (5, 5, 6):
        model = build(family, INPUTS[kind], seed=seed)
        if hasattr(model, "initialize"):
            model.initialize(rows(INPUTS[kind]), torch.Generator().manual_seed(seed))
        states.append(model.state_dict())
        model(*rows(INPUTS[kind]))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert any(not torch.equal(states[0][k], states[2][k]) for k in states[0])


@FAMILY
@KIND
def test_every_parameter_gets_a_gradient(family: str, kind: str) -> None:
    model = build(family, INPUTS[kind]).train()
    model(*rows(INPUTS[kind], 512)).square().sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without


@FAMILY
def test_biases_are_not_decayed(family: str) -> None:
    groups = parameter_groups(build(family, INPUTS["all"]))
    decayed = {g.name for g in groups if g.decay}
    assert decayed
    assert not [n for n in decayed if n.endswith("bias")]


@FAMILY
def test_slots_are_empty_and_can_be_filled(family: str) -> None:
    model = build(family, INPUTS["all"])
    assert len(model.norm_slots) == len(model.dropout_slots) == 2  # type: ignore[arg-type]
    seen: list[int] = []

    class Spy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.shape[-1])
            return x

    for parent, name, width in (*model.norm_slots, *model.dropout_slots):  # type: ignore[operator]
        assert isinstance(getattr(parent, name), nn.Identity)
        assert width == 16
        setattr(parent, name, Spy())
    model(*rows(INPUTS["all"]))
    assert seen == [16] * 4


@FAMILY
def test_a_copy_computes_the_same_with_its_own_weights(family: str) -> None:
    model, x = build(family, INPUTS["all"]).eval(), rows(INPUTS["all"])
    twin = copy.deepcopy(model)
    torch.testing.assert_close(twin(*x), model(*x), rtol=0, atol=0)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    assert twin(*x).abs().sum() > 0
    twin.load_state_dict(model.state_dict())
    torch.testing.assert_close(twin(*x), model(*x), rtol=0, atol=0)


@FAMILY
def test_weights_given_from_outside_are_used(family: str) -> None:
    model, x = build(family, INPUTS["all"]).eval(), rows(INPUTS["all"])
    half = {n: p.detach() * 0.5 for n, p in model.named_parameters()}
    other = torch.func.functional_call(model, half, x)
    assert not torch.allclose(other, model(*x))


@FAMILY
@pytest.mark.parametrize("norm", ["batch_norm", "layer_norm"])
def test_it_trains_with_norms_dropout_and_all_kinds_of_columns(family: str, norm: str) -> None:
    inputs = INPUTS["all"]
    x = rows(inputs, 256)
    y = (x[0][:, 0] + x[0][:, 1] > 0).long()
    recipe = Recipe(
        model=ModelSpec.of(family), optimizer="adam", lr=0.02, batch_size=50, epochs=12,
        techniques=(norm, "dropout:rate=0.05"),
    )  # fmt: skip
    task = Task("binary", ("no", "yes"))
    training = assemble(build(family, inputs, 2), recipe, Source((x, y), (x, y)), task=task)
    training.run()
    history = training.state.history
    assert history[-1]["val_loss"] < 0.8 * history[0]["val_loss"]


def test_unknown_families_and_doses_are_named_with_the_nearest() -> None:
    g = torch.Generator()
    with pytest.raises(RecipeError, match="Did you mean 'real_mlp'"):
        build_model(ModelSpec.of("realmlp"), INPUTS["all"], 2, g)
    with pytest.raises(RecipeError, match="Did you mean 'width'"):
        build_model(ModelSpec.of("mlp", widht=3), INPUTS["all"], 2, g)
    with pytest.raises(DoseError, match=r"model\.width"):
        build_model(ModelSpec.of("mlp", width=0), INPUTS["all"], 2, g)
