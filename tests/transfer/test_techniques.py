"""What transfer techniques leave as it is, and what they move."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

import trainwell.techniques  # noqa: F401
from trainwell.engine.assemble import Source, assemble
from trainwell.engine.flat import parameter_groups
from trainwell.engine.training import Training
from trainwell.models import build_model
from trainwell.techniques._modules.frozen import adapt_norm_statistics, freeze_layers
from trainwell.testing.lanes import flats
from trainwell.values.errors import RecipeError
from trainwell.values.recipe import ModelSpec, Recipe
from trainwell.values.task import InputSpec, Task
from trainwell.values.technique import REGISTRY

TASK = Task("multiclass", (0, 1, 2), (20, 20, 24))


def image_net() -> nn.Module:
    spec = InputSpec(kind="image", shape=(3, 16, 16))
    return build_model(ModelSpec.of("cnn", width=4), spec, 3, torch.Generator().manual_seed(0))


def training(
    *techniques: str, epochs: float = 2, model: nn.Module | None = None, **fields: object
) -> Training:
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(0, 256, (64, 3, 16, 16), generator=generator, dtype=torch.uint8)
    y = torch.randint(0, 3, (64,), generator=generator)
    recipe = Recipe(lr=1e-2, batch_size=16, epochs=epochs, techniques=techniques, **fields)  # type: ignore[arg-type]
    part = ((x,), y)
    return assemble(model or image_net(), recipe, Source(part, part), task=TASK)


def weights(run: Training) -> dict[str, torch.Tensor]:
    return {k: v.detach().clone() for k, v in run.model.state_dict().items()}


def moved(run: Training) -> set[str]:
    before = weights(run)
    run.run()
    return {k for k, v in weights(run).items() if not torch.equal(v, before[k])}


def test_a_frozen_part_keeps_every_bit_its_norms_and_its_mode() -> None:
    run = training("freeze:share=1", "dropout:rate=0.3", "weight_decay:rate=0.1")
    assert moved(run) == {"head.weight", "head.bias"}
    run.model.train()
    modes = {
        m.training
        for name, m in run.model.named_modules()
        if name.startswith("body.") and name.count(".") > 1
    }
    assert modes == {False}


def test_half_a_network_can_be_frozen() -> None:
    run = training("freeze:share=0.5")
    changed = {k.split(".")[1] for k in moved(run) if k.startswith("body.")}
    blocks = {k.split(".")[1] for k in run.model.state_dict() if k.startswith("body.")}
    assert changed and changed < blocks and "0" not in changed


def test_frozen_norms_keep_their_statistics_and_learn_their_scales() -> None:
    changed = moved(training("freeze_norms"))
    assert not any("running" in k or "num_batches" in k for k in changed)
    assert any(k.endswith("norm.weight") for k in changed)


def test_bitfit_moves_biases_and_the_last_layer_only() -> None:
    changed = {k for k in moved(training("bitfit")) if "running" not in k and "num_batches" not in k}
    assert changed and all(k.endswith("bias") or k.startswith("head.") for k in changed)


def test_rates_fall_from_the_output_to_the_input() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 2))
    groups = parameter_groups(model)
    REGISTRY["layer_decay"](factor=0.5).groups(groups)  # type: ignore[attr-defined]
    assert [g.lr_factor for g in groups] == [0.25, 0.25, 0.5, 0.5, 1, 1]
    groups = parameter_groups(model)
    REGISTRY["discriminative_rates"]().groups(groups)  # type: ignore[attr-defined]
    assert [g.lr_factor for g in groups] == [0.1] * 4 + [1, 1]


def test_l2_sp_adds_the_gradient_of_the_distance_to_the_start() -> None:
    params, grads = flats()
    technique = REGISTRY["l2_sp"](rate=0.3)
    state = technique.init_state(params)  # type: ignore[attr-defined]
    start, before = params.flat.clone(), grads.flat.clone()
    params.flat.mul_(1.5)
    technique.grads(grads, params, state)  # type: ignore[attr-defined]
    assert torch.allclose(grads.flat, before + 0.3 * (params.flat - start))


@pytest.mark.parametrize("name", ["gradual_unfreezing", "lp_ft"])
def test_unfreezing_begins_with_the_last_layer(name: str) -> None:
    run = training(f"{name}:steps=4", optimizer="sgd")
    before = weights(run)
    for (x,), y in run.feed.blocks(0, 0).__next__()[:3]:
        run.step((x,), y, 0.01)
    learnt = {k for k, _ in run.model.named_parameters()}
    changed = {k for k, v in weights(run).items() if k in learnt and not torch.equal(v, before[k])}
    assert changed == {"head.weight", "head.bias"}
    run.run()
    assert not torch.equal(weights(run)["body.2.convolution.weight"], before["body.2.convolution.weight"])


def test_lora_refuses_a_network_without_layers_to_add_to() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(RecipeError, match="no linear layer before its last one"):
        REGISTRY["lora"]().model(net, SimpleNamespace(generator=torch.Generator()))  # type: ignore[attr-defined]


def test_lora_starts_as_the_network_it_changes_and_moves_only_thin_matrices() -> None:
    def net() -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(768, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)
        )

    class Floats(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x.float() / 255)

    x = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
    expected = Floats()(x)
    run = training("lora:rank=2", model=Floats())
    assert torch.equal(run.model(x), expected)
    assert moved(run) == {
        "inner.1.lora_A", "inner.1.lora_B", "inner.3.lora_A", "inner.3.lora_B", "inner.5.weight", "inner.5.bias",
    }  # fmt: skip


def test_stochastic_depth_drops_later_branches_more_often() -> None:
    spec = InputSpec(kind="image", shape=(3, 16, 16))
    model = build_model(ModelSpec.of("resnet"), spec, 3, torch.Generator().manual_seed(0))
    run = training("stochastic_depth:rate=0.4", model=model, epochs=0.1)
    rates = [getattr(parent, name).rate for parent, name in run.model.branch_slots]  # type: ignore[union-attr]
    assert rates == sorted(rates) and rates[-1] == 0.4
    layer = run.model.branch_slots[-1][0].branch.train()  # type: ignore[index,union-attr]
    out = layer(torch.ones(4000, 2, 1, 1))
    assert out.mean().item() == pytest.approx(1, abs=0.05)
    assert out.unique().tolist() == pytest.approx([0.0, 1 / 0.6])


@pytest.mark.parametrize("frozen", [False, True])
def test_norms_are_adapted_as_torch_does_it(frozen: bool) -> None:
    net = image_net()
    x = torch.randint(0, 256, (202, 3, 16, 16), dtype=torch.uint8)
    reference = copy.deepcopy(net)
    update_bn([(x[i : i + 64],) for i in range(0, 192, 64)], reference)
    if frozen:
        freeze_layers(net, 1.0)
    assert adapt_norm_statistics(net, (x,)) > 0
    for name, buffer in net.named_buffers():
        assert torch.allclose(buffer, dict(reference.named_buffers())[name], atol=1e-6), name
    assert all(m.training is not frozen for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_adapted_norms_stay() -> None:
    changed = moved(training("adapt_norms", "freeze:share=1"))
    assert changed == {"head.weight", "head.bias"}


def test_adapted_norms_are_measured_on_all_rows_up_to_a_limit() -> None:
    from trainwell.engine.parts import Build

    asked: list[int] = []

    def more(count: int) -> tuple[torch.Tensor, ...]:
        asked.append(count)
        return (torch.full((min(count, 2000), 2, 4, 4), 3.0),)

    for side in (4, 1024):
        net = torch.nn.Sequential(torch.nn.BatchNorm2d(2))
        sample = (torch.zeros(8, 2, side, side),)
        REGISTRY["adapt_norms"]().model(net, Build(torch.Generator(), sample, torch.Generator(), more))
        assert net[0].running_mean.tolist() == pytest.approx([3, 3])
    assert asked == [16384, 128]
