"""Writes what LoRA learned as an adapter that the library peft reads.

adapter_config.json          rank, alpha, the names of the linear layers
adapter_model.safetensors    lora_A and lora_B of each, and the last layer of a network of the user's
head.safetensors             the last layer of a backbone, whose base has none
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from trainwell.app.run import Run
from trainwell.models.backbones.base import BackboneNet
from trainwell.techniques._depth import layers
from trainwell.techniques._modules.frozen import LoRALinear
from trainwell.values.atomic import atomic_write_bytes, atomic_write_text
from trainwell.values.errors import UsageError
from trainwell.values.journal import dumps

CONFIG, ADAPTER, HEAD = "adapter_config.json", "adapter_model.safetensors", "head.safetensors"
PREFIX = "base_model.model."
"""What peft puts before the name of every module of the base."""


def write_peft(run: Run, folder: Path) -> None:
    """Write the adapter of a run into a folder.

    The base is the network as it was before the training: of a backbone its body, under the names of its file (of
    MiniLM those of Hugging Face's BertModel); else the user's own module.

    Raises:
        UsageError: the run has no LoRA.
    Source: peft, docs/source/developer_guides/checkpoint.md (the format of the file).
    """
    technique = run.recipe.get("lora")
    if technique is None:
        raise UsageError("--peft writes what LoRA learned, and this run has none: train it with --with lora.")
    backbone = isinstance(run.model, BackboneNet)
    root = run.model.body if backbone else run.model
    assert isinstance(root, nn.Module)
    thin = {n: m for n, m in root.named_modules() if isinstance(m, LoRALinear)}
    tensors = {
        f"{PREFIX}{name}.{part}.weight": _plain(getattr(module, part))
        for name, module in thin.items()
        for part in ("lora_A", "lora_B")
    }
    last = layers([n for n, _ in run.model.named_parameters()])[-1]
    head = {n: _plain(t) for n, t in run.model.get_submodule(last).state_dict().items()}
    if backbone:
        atomic_write_bytes(folder / HEAD, safetensors.torch.save(head))
    else:
        tensors |= {f"{PREFIX}{last}.{n}": t for n, t in head.items()}
    config: dict[str, Any] = {
        "peft_type": "LORA", "task_type": None, "base_model_name_or_path": run.recipe.model.family,
        "r": technique.rank, "lora_alpha": technique.alpha, "lora_dropout": 0.0, "bias": "none",  # type: ignore[attr-defined]
        "target_modules": list(thin), "modules_to_save": None if backbone else [last], "fan_in_fan_out": False,
        "init_lora_weights": True, "inference_mode": True,
    }  # fmt: skip
    atomic_write_bytes(folder / ADAPTER, safetensors.torch.save(tensors, {"format": "pt"}))
    atomic_write_text(folder / CONFIG, dumps(config, indent=1) + "\n")


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().clone()
