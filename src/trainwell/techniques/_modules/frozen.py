"""Modules that stay frozen, whatever is asked of the network."""

from __future__ import annotations

import types

import torch
from torch import nn

from trainwell.techniques._depth import layers


def stay_in_eval(module: nn.Module) -> None:
    """Turn a module to evaluation for good, with what is put into it later; `train()` of the network says it again."""

    def train(self: nn.Module, mode: bool = True) -> nn.Module:
        for inner in self.modules():
            inner.training = False
        return self

    train(module)
    object.__setattr__(module, "train", types.MethodType(train, module))


def freeze_layers(model: nn.Module, share: float) -> int:
    """Freeze the layers nearest to the input, at least one and all but the last at most; return how many.

    Their parameters need no gradient, their batch norms and dropouts stay in evaluation.
    """
    names = [n for n, _ in model.named_parameters()]
    found = layers(names)
    most = len(found) - 1
    count = min(max(1, round(share * most)), most)
    frozen = set(found[:count])
    for name, module in model.named_modules():
        if any(name == f or name.startswith(f + ".") for f in frozen):
            module.requires_grad_(False)
            stay_in_eval(module)
    return count


Norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


def _norms(model: nn.Module) -> list[Norm]:
    return [m for m in model.modules() if isinstance(m, Norm) and m.track_running_stats]


def freeze_norm_statistics(model: nn.Module) -> int:
    """Keep the running statistics of every batch norm as they are; scales and shifts still learn. Return how many."""
    norms = _norms(model)
    for norm in norms:
        stay_in_eval(norm)
    return len(norms)


@torch.no_grad()
def adapt_norm_statistics(model: nn.Module, rows: tuple[torch.Tensor, ...], size: int = 64) -> int:
    """Fill the running statistics of every batch norm anew from a pass over rows; everything else is in evaluation.

    Batches weigh the same; a last one of fewer rows is left out, unless it is the only one. Return how many norms.
    """
    norms = _norms(model)
    if not norms or not rows or len(rows[0]) < 2:
        return 0
    modes = {m: m.training for m in model.modules()}
    there = next(model.parameters(), rows[0]).device
    momenta = [n.momentum for n in norms]
    for module in modes:
        module.training = False  # not by eval(), which a frozen part overrides
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum, norm.training = None, True  # None is the plain mean over the batches
    count = len(rows[0])
    for start in range(0, max(1, count // size) * size, size):
        model(*(t[start : start + size].to(there) for t in rows))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    for module, mode in modes.items():
        module.training = mode
    return len(norms)


class LoRALinear(nn.Linear):
    """A frozen linear layer plus a product of two thin matrices that learns.

    Shapes: lora_A (rank, in), lora_B (out, rank); outputs x W' + b + scale * x A' B'.
    """

    no_decay = ("lora_A", "lora_B")

    def __init__(self, base: nn.Linear, rank: int, scale: float, generator: torch.Generator) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.scale = base.in_features, base.out_features, scale
        self.weight, self.bias = base.weight, base.bias
        self.weight.requires_grad_(False)
        if self.bias is not None:
            self.bias.requires_grad_(False)
        like = base.weight
        bound = (3 / base.in_features) ** 0.5
        start = torch.empty(rank, base.in_features).uniform_(-bound, bound, generator=_on_cpu(generator))
        self.lora_A = nn.Parameter(start.to(like))
        self.lora_B = nn.Parameter(like.new_zeros(base.out_features, rank))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        low = nn.functional.linear(nn.functional.linear(x, self.lora_A), self.lora_B)
        return nn.functional.linear(x, self.weight, self.bias) + self.scale * low


def _on_cpu(generator: torch.Generator) -> torch.Generator | None:
    return generator if generator.device.type == "cpu" else None


def add_lora(model: nn.Module, rank: int, scale: float, generator: torch.Generator) -> int:
    """Freeze all but the last layer, and give every linear layer before it two thin matrices; return how many."""
    found = layers([n for n, _ in model.named_parameters()])
    last = found[-1]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(last + "."))
    count = 0
    for name, module in list(model.named_modules()):
        for key, child in list(module.named_children()):
            inner = f"{name}.{key}" if name else key
            if type(child) is nn.Linear and inner != last and not inner.startswith(last + "."):
                setattr(module, key, LoRALinear(child, rank, scale, generator))
                count += 1
    return count
