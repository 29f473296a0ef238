"""The plain multilayer perceptron."""

from __future__ import annotations

import dataclasses
from operator import attrgetter
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainwell.models.family import Family
from trainwell.models.front import Front
from trainwell.models.linear import ACTIVATIONS, Block, linear
from trainwell.values.dose import choice, dose
from trainwell.values.task import InputSpec


@dataclasses.dataclass(frozen=True)
class MLP(Family):
    """Linear layers with an activation after each but the last; codes enter through embeddings.

    Helps as the plain start that everything else is compared with; trains fast.
    Harms tables whose target changes steeply with a number: `tabm` embeds the numbers.
    Args:    width, depth: of the hidden layers; depth 0 is a linear model. embedding: numbers per code.
    Source:  Goodfellow, Bengio, Courville 2016, Deep Learning, chapter 6.
    """

    name: ClassVar[str] = "mlp"

    width: int = dose(256, low=1, high=4096, log=True, unit="units", integer=True)
    depth: int = dose(3, low=0, high=16, unit="hidden layers", integer=True)
    activation: str = choice("relu", *ACTIVATIONS)
    embedding: int = dose(8, low=1, high=256, log=True, unit="numbers per code", integer=True)

    def build(self, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> nn.Module:
        return MLPNet(self, inputs, num_outputs, generator)


BUILTIN = {nn.ReLU: torch.relu, nn.Tanh: torch.tanh, nn.SELU: torch.selu}
"""Activations that are one call into C."""

HOOKS = attrgetter("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class MLPNet(nn.Module):
    """The network. What it computes is output(blocks(front(floats, codes))).

    A small network spends more of a step on Python calls than on numbers, so `forward` hands the weights of bare
    linear layers and activations straight to C: 3 calls a step whatever the depth, instead of 4 to 5 a module. A
    module with a hook, a parametrization or of another type is called as usual.
    """

    def __init__(self, family: MLP, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.front = Front(inputs, None, family.embedding, generator)
        width = self.front.out_features
        self.blocks = nn.ModuleList()
        for _ in range(family.depth):
            self.blocks.append(Block(width, family.width, family.activation, generator))
            width = family.width
        self.output = linear(width, num_outputs, generator)
        self.norm_slots = [(block, "norm", family.width) for block in self.blocks]
        self.dropout_slots = [(block, "dropout", family.width) for block in self.blocks]

    def chain(self) -> list[nn.Module]:
        """Return the modules in the order of their calls."""
        return [self.front, *(link for block in self.blocks for link in block.children()), self.output]

    def forward(self, floats: Tensor, codes: Tensor | None = None) -> Tensor:
        x = floats if codes is None else self.front(floats, codes)
        children: dict[str, Any] = self._modules  # `self.blocks` would be a Python call
        for block in (*children["blocks"]._modules.values(), children["output"]):
            bare = type(block) is Block and not any(HOOKS(block))
            for module in block._modules.values() if bare else (block,):
                kind = type(module)
                if kind is nn.Linear and not any(HOOKS(module)):
                    weights = module._parameters
                    x = F.linear(x, weights["weight"], weights["bias"])
                elif kind in BUILTIN and not any(HOOKS(module)):
                    x = BUILTIN[kind](x)
                elif kind is not nn.Identity:
                    x = module(x)
        return x
