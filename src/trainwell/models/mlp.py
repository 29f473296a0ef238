"""The plain multilayer perceptron."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor, nn

from trainwell.models.family import Family
from trainwell.values.dose import choice, dose
from trainwell.values.task import InputSpec

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


@dataclasses.dataclass(frozen=True)
class MLP(Family):
    """Linear layers with an activation after each but the last; codes enter through embeddings.

    Source: Goodfellow, Bengio, Courville 2016, Deep Learning, chapter 6; embeddings: Guo, Berkhahn 2016,
    arXiv:1604.06737.
    """

    name: ClassVar[str] = "mlp"

    width: int = dose(256, low=1, high=4096, log=True, unit="units", integer=True)
    depth: int = dose(3, low=0, high=16, unit="hidden layers", integer=True)
    activation: str = choice("relu", *ACTIVATIONS)
    embedding: int = dose(8, low=1, high=256, log=True, unit="numbers per category", integer=True)

    def build(self, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> nn.Module:
        return MLPNet(self, inputs, num_outputs, generator)


class MLPNet(nn.Module):
    """The network. Norms and dropout stand in slots, `nn.Identity` when empty."""

    def __init__(self, family: MLP, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(
            _embedding(size, family.embedding, generator) for size in inputs.cardinalities
        )
        width = inputs.num_numeric + inputs.num_onehot + family.embedding * len(inputs.cardinalities)
        self.blocks = nn.ModuleList()
        for _ in range(family.depth):
            block = nn.Module()
            block.linear = linear(width, family.width, generator)
            block.norm = nn.Identity()
            block.activation = ACTIVATIONS[family.activation]()
            block.dropout = nn.Identity()
            self.blocks.append(block)
            width = family.width
        self.output = linear(width, num_outputs, generator)
        self.norm_slots = [(block, "norm", family.width) for block in self.blocks]
        self.dropout_slots = [(block, "dropout", family.width) for block in self.blocks]

    def forward(self, floats: Tensor, codes: Tensor | None = None) -> Tensor:
        x = floats
        if codes is not None:
            x = torch.cat([x, *(e(codes[:, i]) for i, e in enumerate(self.embeddings))], 1)
        for block in self.blocks:
            x = block.dropout(block.activation(block.norm(block.linear(x))))  # type: ignore[operator]
        return self.output(x)


def linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """Return a linear layer with torch's default law, drawn from the generator."""
    layer = torch.nn.utils.skip_init(nn.Linear, inputs, outputs)
    bound = inputs**-0.5 if inputs else 0.0
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    return layer


def _embedding(size: int, width: int, generator: torch.Generator) -> nn.Embedding:
    layer = torch.nn.utils.skip_init(nn.Embedding, size, width)
    with torch.no_grad():
        layer.weight.normal_(0.0, 1.0, generator=generator)
    return layer
