"""The front of a table network: embeds numbers and codes and joins them with the one-hot columns."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainwell.models.numeric import Periodic, PiecewiseLinear
from trainwell.values.task import InputSpec


class CodeEmbedding(nn.Module):
    """Embed several columns of codes with one table, in which each column has rows of its own.

    Shapes: (B, columns) int64 -> (B, columns * width).
    Source: Guo, Berkhahn 2016, arXiv:1604.06737.
    """

    own_init = True
    offsets: Tensor

    def __init__(self, cardinalities: tuple[int, ...], width: int, generator: torch.Generator) -> None:
        super().__init__()
        first_rows = torch.tensor([0, *cardinalities]).cumsum(0)
        self.register_buffer("offsets", first_rows[:-1], persistent=False)
        self.weight = nn.Parameter(torch.empty(int(first_rows[-1]), width))
        with torch.no_grad():
            self.weight.normal_(generator=generator)

    def forward(self, codes: Tensor) -> Tensor:
        return F.embedding(codes + self.offsets, self.weight).flatten(1)


class Front(nn.Module):
    """Turn a row into one vector: embedded numbers, one-hot columns, embedded codes.

    Args:
        numbers: the embedding of the numbers; None passes them on as they are.
        code_width: numbers per code.

    Shapes: (B, num_numeric + num_onehot) float and (B, columns) int64 -> (B, out_features).
    """

    def __init__(
        self,
        inputs: InputSpec,
        numbers: PiecewiseLinear | Periodic | None,
        code_width: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.num_numeric = inputs.num_numeric
        self.numbers = numbers
        sizes = inputs.cardinalities
        self.codes = CodeEmbedding(sizes, code_width, generator) if sizes else None
        embedded = inputs.num_numeric if numbers is None else numbers.out_features
        self.out_features = embedded + inputs.num_onehot + code_width * len(sizes)

    def fit_bins(self, floats: Tensor) -> None:
        """Lay the bins of the numbers over a sample of rows, where they have bins."""
        if isinstance(self.numbers, PiecewiseLinear):
            self.numbers.fit_bins(floats[:, : self.num_numeric])

    def forward(self, floats: Tensor, codes: Tensor | None = None) -> Tensor:
        parts = [floats]
        if self.numbers is not None:
            numbers, onehot = floats.tensor_split([self.num_numeric], 1)
            parts = [self.numbers(numbers), onehot]
        if codes is not None and self.codes is not None:
            parts.append(self.codes(codes))
        return torch.cat(parts, 1) if len(parts) > 1 else floats
