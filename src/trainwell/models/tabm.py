"""TabM: an ensemble of networks that share nearly all of their weights, trained as one."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from trainwell.models.family import Family
from trainwell.models.front import Front
from trainwell.models.linear import ACTIVATIONS, Block, fan_in_uniform_
from trainwell.models.numeric import PiecewiseLinear
from trainwell.values.dose import choice, dose
from trainwell.values.task import InputSpec


@dataclasses.dataclass(frozen=True)
class TabM(Family):
    """Networks that differ in the scales of their inputs and in their last layer; their predictions are averaged.

    Helps nearly every table: the members err differently, at the memory of one network.
    Harms where time is short: a step costs as much as `members` plain networks.
    Args:    members: networks in the ensemble. width, depth: of the shared hidden layers. bins, embedding: of
             numbers (0 bins: none). Categories are embedded by `embedding` numbers too.
    Source:  Gorishniy, Kotelnikov, Babenko 2025, arXiv:2410.24210, TabM-mini; numbers: arXiv:2203.05556.
    """

    name: ClassVar[str] = "tabm"

    members: int = dose(8, low=1, high=128, log=True, unit="networks", integer=True)
    width: int = dose(128, low=1, high=4096, log=True, unit="units", integer=True)
    depth: int = dose(2, low=1, high=16, unit="hidden layers", integer=True)
    activation: str = choice("relu", *ACTIVATIONS)
    bins: int = dose(128, low=2, high=1024, log=True, off=0, unit="bins of a number", integer=True)
    embedding: int = dose(8, low=1, high=256, log=True, unit="numbers per feature", integer=True)

    def build(self, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> nn.Module:
        return TabMNet(self, inputs, num_outputs, generator)


class TabMNet(nn.Module):
    """The network. While training it returns (K, B, C), one output per member; else (B, C), their average.

    One member alone returns (B, C). The average is that of the probabilities (as their logarithm) for classes, and of
    the numbers for one output.
    """

    clamp_outputs = True
    initialization_rows = 16384

    def __init__(self, family: TabM, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.num_members = family.members
        numbers = None
        if family.bins and inputs.num_numeric:
            numbers = PiecewiseLinear(inputs.num_numeric, family.bins, family.embedding, generator)
        self.front = Front(inputs, numbers, family.embedding, generator)
        width = self.front.out_features
        self.scale = MemberScale(family.members, width, generator)
        self.blocks = nn.ModuleList()
        for _ in range(family.depth):
            self.blocks.append(Block(width, family.width, family.activation, generator))
            width = family.width
        self.heads = MemberLinear(family.members, width, num_outputs, generator)
        self.norm_slots = [(block, "norm", family.width) for block in self.blocks]
        self.dropout_slots = [(block, "dropout", family.width) for block in self.blocks]

    def initialize(self, sample: tuple[Tensor, ...], generator: torch.Generator) -> None:
        """Lay the bins of the numbers over a sample of the training rows."""
        self.front.fit_bins(sample[0])

    def chain(self) -> list[nn.Module]:
        """Return the modules in the order of their calls; the last one's members are averaged."""
        links = [link for block in self.blocks for link in block.children()]
        return [self.front, self.scale, *links, self.heads]

    def forward(self, floats: Tensor, codes: Tensor | None = None) -> Tensor:
        x = self.scale(self.front(floats, codes)).flatten(0, 1)  # (K * B, F)
        for block in self.blocks:
            x = block(x)
        outputs: Tensor = self.heads(x.unflatten(0, (self.num_members, -1)))
        if self.num_members == 1:
            return outputs[0]
        if self.training:
            return outputs
        if outputs.shape[-1] == 1:
            return outputs.mean(0)
        return outputs.log_softmax(-1).logsumexp(0) - math.log(self.num_members)


class MemberScale(nn.Module):
    """Multiply the row by a vector of each member, random signs at first. Shapes: (B, F) -> (K, B, F)."""

    own_init = True

    def __init__(self, members: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, 1, width))
        with torch.no_grad():
            self.weight.bernoulli_(0.5, generator=generator).mul_(2).sub_(1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class MemberLinear(nn.Module):
    """A linear layer of each member's own. Shapes: (K, B, F) -> (K, B, C)."""

    own_init = True
    no_decay = ("bias",)

    def __init__(self, members: int, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs))
        self.bias = nn.Parameter(torch.empty(members, 1, outputs))
        fan_in_uniform_(self.weight, inputs, generator)
        fan_in_uniform_(self.bias, inputs, generator)

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)
