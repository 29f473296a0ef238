"""What LoRA learned, in the form of the library peft; read by peft itself where it is installed."""

from __future__ import annotations

import copy
import importlib.util
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import trainwell as tw
from trainwell.app.export import export_run
from trainwell.values.errors import UsageError


def base() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))


def trained(net: nn.Module, *techniques: str) -> tw.Run:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(120, 6, generator=generator)
    data = ((x[:90], x[:90, :3].argmax(1)), (x[90:], x[90:, :3].argmax(1)))
    recipe = tw.Recipe(lr=1e-2, epochs=3, techniques=techniques)
    return tw.fit(data, model=net, recipe=recipe, out=False, watch=False)


def test_adapter_holds_names_and_shapes_of_peft_and_gives_the_same_outputs(tmp_path: Path) -> None:
    net = base()
    run = trained(copy.deepcopy(net), "lora:rank=4,alpha=6")
    export_run(run, tmp_path / "out", formats=("peft",))
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    held = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 4, 6.0)
    assert config["target_modules"] == ["0", "2"] and config["modules_to_save"] == ["4"]
    assert held["base_model.model.0.lora_A.weight"].shape == (4, 6)
    assert (
        held["base_model.model.2.lora_B.weight"].shape == (16, 4)
        and held["base_model.model.2.lora_B.weight"].any()
    )
    with torch.no_grad():  # W + alpha / r * B A, section 4.1 of arXiv:2106.09685
        for name in config["target_modules"]:
            a, b = (held[f"base_model.model.{name}.lora_{k}.weight"] for k in "AB")
            net.get_submodule(name).weight.add_(config["lora_alpha"] / config["r"] * b @ a)  # type: ignore[operator]
        for part in ("weight", "bias"):
            net.get_parameter(f"4.{part}").copy_(held[f"base_model.model.4.{part}"])
        x = torch.randn(5, 6)
        assert torch.allclose(net(x), run.model.cpu()(x), atol=1e-6)


@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="peft is not installed")
def test_peft_reads_the_adapter(tmp_path: Path) -> None:
    from peft import PeftModel  # type: ignore[import-not-found, unused-ignore]

    net = base()
    run = trained(copy.deepcopy(net), "lora:rank=4,alpha=6")
    export_run(run, tmp_path / "out", formats=("peft",))
    read = PeftModel.from_pretrained(net, str(tmp_path / "out")).eval()
    x = torch.randn(5, 6)
    with torch.no_grad():
        assert torch.allclose(read(x), run.model.cpu()(x), atol=1e-6)


def test_a_run_without_lora_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="with_='lora'"):
        export_run(trained(base()), tmp_path / "out", formats=("peft",))
    assert not (tmp_path / "out").exists()
