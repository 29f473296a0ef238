"""Embeddings of numbers: what a network sees instead of a scaled number, so that it can bend sharply where trees cut."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class PiecewiseLinear(nn.Module):
    """Embed each number by how far it lies through each of its bins, then by a linear map of its own.

    Helps where the target changes steeply with a number, which a plain layer only learns after many epochs.
    Harms where few rows fall into a bin: the map then fits noise. The bins come from `fit_bins`.

    Args:
        num_features: numbers in a row, N.
        bins: largest number of bins of a feature, M.
        width: embedding of one number, E; the number itself is appended.

    Shapes: (B, N) -> (B, N * (E + 1)).
    Source: Gorishniy et al. 2022, arXiv:2203.05556, section 3.1; heavy values get bins of their own as in LightGBM.
    """

    own_init = True
    no_decay = ("bias",)

    def __init__(self, num_features: int, bins: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.num_features, self.bins, self.width = num_features, bins, width
        for name, start in (("shift", 0.0), ("slope", 0.0), ("low", 0.0), ("high", 0.0)):
            self.register_buffer(name, torch.full((num_features, 1, bins), start))
        bound = bins**-0.5
        self.weight = nn.Parameter(torch.empty(num_features, bins, width))
        self.bias = nn.Parameter(torch.empty(num_features, 1, width))
        with torch.no_grad():
            self.weight.uniform_(-bound, bound, generator=generator)
            self.bias.uniform_(-bound, bound, generator=generator)
        self.set_edges([torch.linspace(-1, 1, bins + 1)] * num_features)

    shift: Tensor
    slope: Tensor
    low: Tensor
    high: Tensor

    @property
    def out_features(self) -> int:
        return self.num_features * (self.width + 1)

    @torch.no_grad()
    def fit_bins(self, sample: Tensor) -> None:
        """Lay the bins so that each holds about equally many of the rows. Shapes: (rows, N)."""
        self.set_edges([bin_edges(column, self.bins) for column in sample.cpu().double().unbind(1)])

    @torch.no_grad()
    def set_edges(self, edges: list[Tensor]) -> None:
        """Take the edges of each feature, strictly rising, 2 to M + 1 of them. Bins that are not there stay 0."""
        for buffer in (self.shift, self.slope, self.low, self.high):
            buffer.zero_()
        for i, edge in enumerate(edges):
            lower, size, count = edge[:-1], edge.diff(), len(edge) - 1
            assert 1 <= count <= self.bins
            assert bool((size > 0).all())
            self.slope[i, 0, :count] = 1 / size
            self.shift[i, 0, :count] = -lower / size
            self.high[i, 0, :count] = 1.0
            # the outer bins go on a little beyond the edges, so that unusual values are told apart
            self.low[i, 0, 0] = -OVERSHOOT
            self.high[i, 0, count - 1] = 1.0 + OVERSHOOT

    def forward(self, x: Tensor) -> Tensor:
        share = torch.addcmul(self.shift, x.t().unsqueeze(-1), self.slope)  # (N, B, M)
        share = torch.minimum(torch.maximum(share, self.low), self.high)
        embedded = torch.baddbmm(self.bias, share, self.weight)  # (N, B, E)
        return torch.cat([embedded.transpose(0, 1).flatten(1), x], 1)


OVERSHOOT = 4.0
"""How many bin widths the outer bins reach beyond the outermost edges."""


def bin_edges(values: Tensor, bins: int) -> Tensor:
    """Return strictly rising float32 edges of at most `bins` bins with about equally many values in each.

    Every value is an edge where there are few. A value that would fill more than one bin is an edge and leaves the
    count, so that spikes (a zero in nine rows of ten) do not use up the bins.
    """
    distinct, counts = torch.unique(values.double(), return_counts=True)
    if len(distinct) <= bins:
        edges = distinct
    else:
        heavy = _heavy(counts, bins)
        light = distinct[~heavy].repeat_interleave(counts[~heavy])
        shares = torch.linspace(0, 1, max(2, bins + 1 - int(heavy.sum())), dtype=torch.float64)
        at = (shares * (len(light) - 1)).round().long()
        edges = torch.cat([light[at], distinct[heavy]])
    edges = torch.unique(edges.float())
    if len(edges) == 1:
        edges = torch.cat([edges, edges + edges.abs().clamp(min=1.0)])
    return edges


def _heavy(counts: Tensor, bins: int) -> Tensor:
    """Return which values fill more than their share of the bins, largest share first, at most half of the bins."""
    heavy = torch.zeros_like(counts, dtype=torch.bool)
    for _ in range(bins // 2):
        left = bins - int(heavy.sum())
        light = torch.where(heavy, 0, counts)
        most = int(light.argmax())
        if int(light[most]) * left <= int(light.sum()):
            break
        heavy[most] = True
    return heavy


class Periodic(nn.Module):
    """Embed each number by cosines of learned frequency and phase, then by a linear map of its own.

    Helps where the target waves with a number; smoother than bins.
    Harms numbers that crowd in a small part of their range: the frequencies there are too low.

    Args:
        num_features: numbers in a row, N.
        frequencies: cosines of a number.
        width: embedding of one number, the number itself counted, E.
        sigma: standard deviation of the frequencies at the start.

    Shapes: (B, N) -> (B, N * E).
    Source: "PBLD" of Holzmüller et al. 2024, arXiv:2407.04491, section 3, after arXiv:2203.05556, section 3.2.
    """

    own_init = True
    no_decay = ("phase", "bias")

    def __init__(
        self, num_features: int, frequencies: int, width: int, sigma: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.out_features = num_features * width
        self.lr_factors = dict.fromkeys(("frequency", "phase", "weight", "bias"), 0.1)
        self.frequency = nn.Parameter(torch.empty(num_features, 1, frequencies))
        self.phase = nn.Parameter(torch.empty(num_features, 1, frequencies))
        self.weight = nn.Parameter(torch.empty(num_features, frequencies, width - 1))
        self.bias = nn.Parameter(torch.empty(num_features, 1, width - 1))
        bound = frequencies**-0.5
        with torch.no_grad():
            self.frequency.normal_(generator=generator).mul_(sigma)
            self.phase.uniform_(-math.pi, math.pi, generator=generator)
            self.weight.uniform_(-bound, bound, generator=generator)
            self.bias.uniform_(-bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        turns = 2 * math.pi * x.t().unsqueeze(-1)  # (N, B, 1)
        waves = torch.addcmul(self.phase, turns, self.frequency).cos()
        embedded = torch.baddbmm(self.bias, waves, self.weight)  # (N, B, E - 1)
        return torch.cat([embedded.transpose(0, 1).flatten(1), x], 1)
