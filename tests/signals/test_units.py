"""Which units are on, of activations that rest at some number and have no slope there."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trainwell.watch import watch


@pytest.mark.parametrize(
    ("code", "resting"),
    [(nn.Threshold(0.5, 0.0), 0), (nn.Threshold(0.5, -2.0), 0), (nn.Hardshrink(0.5), 1), (nn.ReLU(), 0)],
)
def test_units_that_only_rest_are_off(code: nn.Module, resting: int) -> None:
    """One unit gets inputs that never reach the threshold, one such as always do, and one as many of each."""
    net = nn.Sequential(nn.Linear(3, 3), code, nn.Linear(3, 1))
    level = torch.tensor([-0.3, 2.0, 0.0])
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[0.0, 0, 0], [0, 0, 0], [0, 0, 4.0]]))
        net[0].bias.copy_(level)
    x = torch.zeros(32, 3)
    x[::2, 2], x[1::2, 2] = 1, -1
    moves = torch.optim.SGD(net.parameters(), 1e-9)
    with watch(net, moves, say=lambda _: None) as seen:
        for _ in range(3):
            moves.zero_grad()
            nn.functional.mse_loss(net(x), torch.ones(32, 1)).backward()
            moves.step()
    share: Tensor = torch.as_tensor(seen.traces.get("unit_activity", "1").values[0])
    # shrinkers let numbers far below zero pass as well
    assert share.tolist() == [0.0, 1.0, 1.0 if resting else 0.5]
