"""A gated recurrent network over the tokens of a text."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor, nn

from trainwell.models.family import Family
from trainwell.models.linear import fan_in_uniform_, linear
from trainwell.models.tokens import Embedding, masked_max, masked_mean, trimmed
from trainwell.values.dose import dose
from trainwell.values.task import InputSpec


@dataclasses.dataclass(frozen=True)
class GRU(Family):
    """Read the tokens one after the other; decide by the mean and the largest of the states.

    Helps texts whose order matters and that are too few for a transformer.
    Harms long texts: the steps of a row cannot be computed side by side.
    Args:    width: of embeddings and states. depth: layers.
    Source:  Cho et al. 2014, arXiv:1406.1078; states pooled as in Conneau et al. 2017, arXiv:1705.02364.
    """

    name: ClassVar[str] = "gru"
    takes: ClassVar[tuple[str, ...]] = ("text",)

    width: int = dose(128, low=4, high=1024, log=True, unit="units", integer=True)
    depth: int = dose(1, low=1, high=4, unit="layers", integer=True)

    def build(self, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> nn.Module:
        return GRUNet(self, inputs, num_outputs, generator)


class GRUNet(nn.Module):
    """The network. It reads forwards only, so what fills up a row changes nothing."""

    def __init__(self, family: GRU, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.embedding = Embedding(inputs.vocabulary, family.width, generator)
        self.dropout = nn.Identity()
        with torch.random.fork_rng(devices=[]):
            self.recurrent = nn.GRU(family.width, family.width, family.depth, batch_first=True)
        for parameter in self.recurrent.parameters():
            fan_in_uniform_(parameter.data, family.width, generator)
        self.output = linear(2 * family.width, num_outputs, generator)
        self.dropout_slots = [(self, "dropout", family.width)]

    def forward(self, tokens: Tensor) -> Tensor:
        tokens, mask = trimmed(tokens)
        states, _ = self.recurrent(self.dropout(self.embedding(tokens)))
        return self.output(torch.cat([masked_mean(states, mask), masked_max(states, mask)], 1))
