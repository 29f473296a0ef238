"""The embeddings of numbers, against numpy."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainwell.models.numeric import OVERSHOOT, Periodic, PiecewiseLinear, bin_edges

VALUES = st.lists(
    st.one_of(st.floats(-3, 3, width=32), st.sampled_from([0.0, 1.0])), min_size=1, max_size=300
)


@given(VALUES, st.integers(2, 40))
def test_edges_rise_and_span_the_values(values: list[float], bins: int) -> None:
    edges = bin_edges(torch.tensor(values), bins)
    assert 2 <= len(edges) <= bins + 1
    assert (edges.diff() > 0).all()
    assert edges[0] == np.float32(min(values))
    assert edges[-1] >= np.float32(max(values))


def test_few_values_are_all_edges() -> None:
    assert bin_edges(torch.tensor([3.0, 1.0, 3.0, 2.0]), 8).tolist() == [1, 2, 3]


def test_bins_hold_equally_many_rows() -> None:
    x = torch.randn(10_000, generator=torch.Generator().manual_seed(0)).exp()
    counts = np.histogram(x, bin_edges(x, 20))[0]
    assert counts.min() > 490
    assert counts.max() < 510


def test_a_spike_does_not_use_up_the_bins() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.cat([torch.zeros(9000), torch.rand(1000, generator=g) + 1])
    edges = bin_edges(x, 20)
    assert len(edges) == 21
    assert (edges > 0).sum() == 20


def test_piecewise_linear_equals_the_formula() -> None:
    g = torch.Generator().manual_seed(0)
    layer = PiecewiseLinear(2, 6, 3, g)
    edges = [np.array([-1.0, 0.0, 0.5, 2.0], np.float32), np.array([0.0, 1.0], np.float32)]
    layer.set_edges([torch.from_numpy(e) for e in edges])
    x = np.array([[-1.5, 0.2], [0.25, -2.0], [7.0, 3.0], [0.0, 1.0]], np.float32)
    expected = np.zeros((4, 2 * 3 + 2))
    for row in range(4):
        for n, edge in enumerate(edges):
            share = np.zeros(6)
            for t in range(len(edge) - 1):
                low = -OVERSHOOT if t == 0 else 0.0
                high = 1 + OVERSHOOT if t == len(edge) - 2 else 1.0
                share[t] = np.clip((x[row, n] - edge[t]) / (edge[t + 1] - edge[t]), low, high)
            weight, bias = layer.weight[n].detach().numpy(), layer.bias[n, 0].detach().numpy()
            expected[row, 3 * n : 3 * n + 3] = share @ weight + bias
    expected[:, 6:] = x
    np.testing.assert_allclose(layer(torch.from_numpy(x)).detach(), expected, rtol=1e-5, atol=1e-6)


def test_unused_bins_get_no_gradient() -> None:
    layer = PiecewiseLinear(1, 50, 2, torch.Generator().manual_seed(0))
    layer.fit_bins(torch.tensor([[0.0], [1.0], [2.0]]))
    layer(torch.tensor([[0.5], [1.5]])).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad[0, 2:].abs().sum() == 0


def test_periodic_equals_the_formula() -> None:
    layer = Periodic(3, 5, 4, 0.7, torch.Generator().manual_seed(0))
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    for n in range(3):
        waves = torch.cos(2 * torch.pi * x[:, n : n + 1] * layer.frequency[n] + layer.phase[n])
        torch.testing.assert_close(layer(x)[:, 3 * n : 3 * n + 3], waves @ layer.weight[n] + layer.bias[n])
    torch.testing.assert_close(layer(x)[:, 9:], x)
