"""A bag of words: the mean of the embeddings of a text's tokens and pairs of tokens."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor, nn

from trainwell.models.family import Family
from trainwell.models.linear import Block, linear
from trainwell.models.tokens import Embedding, masked_max, masked_mean, trimmed
from trainwell.values.dose import dose
from trainwell.values.task import InputSpec

PRIME = 1_000_003


@dataclasses.dataclass(frozen=True)
class Bag(Family):
    """Average the embeddings of tokens and of neighbouring pairs, then one hidden layer.

    Helps short texts and few of them: it trains in seconds and is hard to beat without pre-training.
    Harms texts whose meaning lies in the order of words.
    Args:    width: numbers of an embedding. pairs: rows of the table of pairs, which share rows by a hash.
    Source:  Joulin et al. 2017, arXiv:1607.01759 (fastText).
    """

    name: ClassVar[str] = "bag"
    takes: ClassVar[tuple[str, ...]] = ("text",)

    width: int = dose(128, low=4, high=1024, log=True, unit="numbers per token", integer=True)
    pairs: int = dose(
        20000, low=1000, high=1000000, log=True, off=0, unit="rows of the table of pairs", integer=True
    )

    def build(self, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> nn.Module:
        return BagNet(self, inputs, num_outputs, generator)


class BagNet(nn.Module):
    """The network. Shapes: (B, L) int64 -> (B, num_outputs)."""

    def __init__(self, family: Bag, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.embedding = Embedding(inputs.vocabulary, family.width, generator)
        self.pairs = Embedding(family.pairs + 1, family.width, generator) if family.pairs else None
        features = family.width * (3 if family.pairs else 2)
        self.block = Block(features, family.width, "relu", generator)
        self.output = linear(family.width, num_outputs, generator)
        self.norm_slots = [(self.block, "norm", family.width)]
        self.dropout_slots = [(self.block, "dropout", family.width)]

    def forward(self, tokens: Tensor) -> Tensor:
        tokens, mask = trimmed(tokens)
        words = self.embedding(tokens)
        parts = [masked_mean(words, mask), masked_max(words, mask)]
        if self.pairs is not None:
            both = mask[:, 1:] & mask[:, :-1]
            hashed = (tokens[:, :-1] * PRIME + tokens[:, 1:]) % (len(self.pairs.weight) - 1) + 1
            parts.append(masked_mean(self.pairs(hashed * both), both))
        return self.output(self.block(torch.cat(parts, 1)))
