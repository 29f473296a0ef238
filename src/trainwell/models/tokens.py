"""What networks of text share: trimmed tokens, embeddings from a given stream, means over the words of a row."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def trimmed(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Cut the end that is empty in all rows; return the tokens (B, L) and where words are, (B, L) bool."""
    if torch.compiler.is_compiling():  # a graph has one length
        return tokens, tokens != 0
    if tokens.device.type == "cpu" and len(tokens):  # elsewhere it would wait for the device
        try:
            longest = int((tokens != 0).sum(1).max())
        except RuntimeError:  # in a stack of lanes nothing can be read; the empty end changes no output
            longest = tokens.shape[1]
        tokens = tokens[:, : max(1, longest)]
    return tokens, tokens != 0


class Embedding(nn.Module):
    """Numbers per token; token 0, which fills up rows, has none.

    Shapes: (B, L) int64 -> (B, L, width).
    """

    own_init = True
    no_decay = ("weight",)

    def __init__(self, count: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, width))
        with torch.no_grad():
            self.weight.normal_(0, width**-0.5, generator=generator)

    def forward(self, tokens: Tensor) -> Tensor:
        return nn.functional.embedding(tokens, self.weight, padding_idx=0)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the words of every row, (B, L, F), (B, L) -> (B, F)."""
    weight = mask.unsqueeze(2).to(x.dtype)
    return (x * weight).sum(1) / weight.sum(1).clamp_min(1)


def masked_max(x: Tensor, mask: Tensor) -> Tensor:
    """Return the largest numbers over the words of every row; zeros for a row without words."""
    top = x.masked_fill(~mask.unsqueeze(2), float("-inf")).amax(1)
    return top.masked_fill(~mask.any(1, keepdim=True), 0.0)
