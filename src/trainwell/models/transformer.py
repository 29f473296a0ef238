"""A transformer encoder over the tokens of a text, or over the spectrum of a sound."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainwell.models.family import Family
from trainwell.models.frames import Frames, every_step
from trainwell.models.linear import linear
from trainwell.models.tokens import Embedding, masked_mean, trimmed
from trainwell.values.dose import dose
from trainwell.values.task import InputSpec


@dataclasses.dataclass(frozen=True)
class Transformer(Family):
    """Let every token, or 20 ms of a sound, look at all others, layer after layer; decide by their mean.

    Helps many texts whose meaning lies in relations of words, and many sounds.
    Harms few texts, where `bag` is ahead and cheaper, and few sounds, where `cnn` is.
    Args:    width: of tokens. depth: layers. heads: of attention.
    Source:  Vaswani et al. 2017, arXiv:1706.03762; norms before the branches as in arXiv:2002.04745.
    """

    name: ClassVar[str] = "transformer"
    takes: ClassVar[tuple[str, ...]] = ("text", "audio")

    width: int = dose(128, low=16, high=1024, log=True, unit="numbers per token", integer=True)
    depth: int = dose(2, low=1, high=24, unit="layers", integer=True)
    heads: int = dose(4, low=1, high=16, unit="heads", integer=True)

    def build(self, inputs: InputSpec, num_outputs: int, generator: torch.Generator) -> nn.Module:
        return (SoundTransformerNet if inputs.kind == "audio" else TransformerNet)(
            self, inputs, num_outputs, generator
        )


class Layer(nn.Module):
    """Attention and two linear layers, each added to what came in. Shapes: (B, L, F), (B, L) bool -> (B, L, F)."""

    def __init__(self, width: int, heads: int, generator: torch.Generator) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = linear(width, 3 * width, generator)
        self.project = linear(width, width, generator)
        self.widen, self.narrow = linear(width, 4 * width, generator), linear(4 * width, width, generator)
        self.dropout, self.branch1, self.branch2 = nn.Identity(), nn.Identity(), nn.Identity()

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        shape = (*x.shape[:2], 3, self.heads, -1)
        query, key, value = self.attention(self.norm1(x)).view(shape).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
        x = x + self.branch1(self.dropout(self.project(mixed.transpose(1, 2).flatten(2))))
        return x + self.branch2(self.dropout(self.narrow(F.gelu(self.widen(self.norm2(x))))))


class EncoderNet(nn.Module):
    """Layers over places, (B, L, width); the outputs come from the mean of those that count."""

    def __init__(
        self,
        family: Transformer,
        inputs: InputSpec,
        num_outputs: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        width = -(-family.width // family.heads) * family.heads
        self.embedding, places = self.begin(inputs, width, generator)
        self.places = Embedding(places + 1, width, generator)
        self.layers = nn.ModuleList(Layer(width, family.heads, generator) for _ in range(family.depth))
        self.norm = nn.LayerNorm(width)
        self.output = linear(width, num_outputs, generator)
        self.dropout_slots = [(layer, "dropout", width) for layer in self.layers]
        self.branch_slots = [(layer, name) for layer in self.layers for name in ("branch1", "branch2")]

    def begin(self, inputs: InputSpec, width: int, generator: torch.Generator) -> tuple[nn.Module, int]:
        """Return what makes places of the inputs, and how many a row has at most."""
        raise NotImplementedError

    def decide(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Return the outputs; `mask` (B, L) says which places count."""
        place = torch.arange(1, mask.shape[1] + 1, device=mask.device)
        x = self.embedding(inputs) + self.places(place)
        for layer in self.layers:
            x = layer(x, mask)
        return self.output(masked_mean(self.norm(x), mask))


class TransformerNet(EncoderNet):
    """The network of texts. Shapes: (B, L) int64 -> (B, num_outputs)."""

    def begin(self, inputs: InputSpec, width: int, generator: torch.Generator) -> tuple[nn.Module, int]:
        return Embedding(inputs.vocabulary, width, generator), inputs.shape[0]

    def forward(self, tokens: Tensor) -> Tensor:
        tokens, mask = trimmed(tokens)
        mask = mask.clone()
        mask[:, 0] = True  # a row without words looks at its first place
        return self.decide(tokens, mask)


class SoundTransformerNet(EncoderNet):
    """The network of sounds, (B, 1, bands, frames)."""

    embedding: Frames

    def begin(self, inputs: InputSpec, width: int, generator: torch.Generator) -> tuple[nn.Module, int]:
        return Frames(inputs, width, generator), Frames.steps(inputs)

    def initialize(self, rows: tuple[Tensor, ...], generator: torch.Generator) -> None:
        """Measure the bands of the training rows; called before the first step."""
        self.embedding.measure(rows[0])

    def forward(self, spectra: Tensor) -> Tensor:
        return self.decide(spectra, every_step(spectra))
