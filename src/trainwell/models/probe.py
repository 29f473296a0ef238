"""A linear layer on features that a frozen network computed."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainwell.models.family import Family
from trainwell.models.linear import ACTIVATIONS, Block, linear
from trainwell.values.dose import choice, dose
from trainwell.values.task import InputSpec


@dataclasses.dataclass(frozen=True)
class Probe(Family):
    """Standardise features, then one linear layer; with `depth` hidden layers before it.

    Helps wherever a pre-trained network is frozen: a training takes a second.
    Harms when the features do not separate the classes; the backbone has to be trained then.
    Args:    depth, width: of hidden layers; 0 is the linear probe.
    Source:  Alain, Bengio 2016, arXiv:1610.01644.
    """

    name: ClassVar[str] = "probe"
    takes: ClassVar[tuple[str, ...]] = ("features",)

    depth: int = dose(0, low=0, high=4, unit="hidden layers", integer=True)
    width: int = dose(256, low=1, high=4096, log=True, unit="units", integer=True)
    activation: str = choice("relu", *ACTIVATIONS)

    def build(self, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> nn.Module:
        return ProbeNet(self, inputs.shape[0], num_outputs, generator)


class ProbeNet(nn.Module):
    """The network; mean and spread of the features are measured on the training rows."""

    mean: Tensor
    scale: Tensor
    initialization_rows = 16384

    def __init__(self, family: Probe, features: int, num_outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.blocks = nn.ModuleList()
        for _ in range(family.depth):
            self.blocks.append(Block(features, family.width, family.activation, generator))
            features = family.width
        self.output = linear(features, num_outputs, generator)
        with torch.no_grad():
            self.output.weight.zero_()
            self.output.bias.zero_()
        self.norm_slots = [(b, "norm", family.width) for b in self.blocks]
        self.dropout_slots = [(b, "dropout", family.width) for b in self.blocks]

    @torch.no_grad()
    def initialize(self, rows: tuple[Tensor, ...], generator: torch.Generator) -> None:
        """Measure the features of the training rows."""
        self.mean.copy_(rows[0].mean(0))
        # one spread for all keeps their proportions, which the backbone learned
        self.scale.fill_(float(rows[0].std(0).square().mean().sqrt().clamp_min(1e-6).reciprocal()))

    def forward(self, features: Tensor) -> Tensor:
        if not self.blocks:  # the weights are fewer than the features: they are scaled instead
            weight = self.output.weight * self.scale
            return F.linear(features, weight, self.output.bias - weight @ self.mean)
        x = (features - self.mean) * self.scale
        for block in self.blocks:
            x = block(x)
        return self.output(x)

    @torch.no_grad()
    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the one linear layer that sees the features as they are."""
        assert not self.blocks, "only a linear probe can be folded"
        weight = self.output.weight * self.scale
        return weight, self.output.bias - weight @ self.mean
