"""A gated recurrent network over the tokens of a text, or over the spectrum of a sound."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor, nn

from trainwell.models.family import Family
from trainwell.models.frames import Frames, every_step
from trainwell.models.linear import fan_in_uniform_, linear
from trainwell.models.tokens import Embedding, masked_max, masked_mean, trimmed
from trainwell.values.dose import dose
from trainwell.values.task import InputSpec


@dataclasses.dataclass(frozen=True)
class GRU(Family):
    """Read the tokens, or 20 ms of a sound, one after the other; decide by the mean and the largest of the states.

    Helps texts and sounds whose order matters and that are too few for a transformer.
    Harms long ones: the steps of a row cannot be computed side by side.
    Args:    width: of embeddings and states. depth: layers.
    Source:  Cho et al. 2014, arXiv:1406.1078; states pooled as in Conneau et al. 2017, arXiv:1705.02364.
    """

    name: ClassVar[str] = "gru"
    takes: ClassVar[tuple[str, ...]] = ("text", "audio")

    width: int = dose(128, low=4, high=1024, log=True, unit="units", integer=True)
    depth: int = dose(1, low=1, high=4, unit="layers", integer=True)

    def build(self, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> nn.Module:
        if inputs.kind == "audio":
            return SoundGRUNet(self, Frames(inputs, self.width, generator), num_outputs, generator)
        return GRUNet(self, Embedding(inputs.vocabulary, self.width, generator), num_outputs, generator)


class RecurrentNet(nn.Module):
    """What reads steps of `width` numbers forwards, (B, L, width), and decides by the states of those that count."""

    def __init__(
        self, family: GRU, embedding: nn.Module, num_outputs: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.dropout = nn.Identity()
        with torch.random.fork_rng(devices=[]):
            self.recurrent = nn.GRU(family.width, family.width, family.depth, batch_first=True)
        for parameter in self.recurrent.parameters():
            fan_in_uniform_(parameter.data, family.width, generator)
        self.output = linear(2 * family.width, num_outputs, generator)
        self.dropout_slots = [(self, "dropout", family.width)]

    def decide(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Return the outputs; `mask` (B, L) says which steps count."""
        states, _ = self.recurrent(self.dropout(self.embedding(inputs)))
        return self.output(torch.cat([masked_mean(states, mask), masked_max(states, mask)], 1))


class GRUNet(RecurrentNet):
    """The network of texts. It reads forwards only, so what fills up a row changes nothing."""

    def forward(self, tokens: Tensor) -> Tensor:
        return self.decide(*trimmed(tokens))


class SoundGRUNet(RecurrentNet):
    """The network of sounds, (B, 1, bands, frames)."""

    embedding: Frames

    def initialize(self, rows: tuple[Tensor, ...], generator: torch.Generator) -> None:
        """Measure the bands of the training rows; called before the first step."""
        self.embedding.measure(rows[0])

    def forward(self, spectra: Tensor) -> Tensor:
        return self.decide(spectra, every_step(spectra))
