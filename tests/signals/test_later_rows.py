"""Rows that are validated on, and trained on afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import trainwell.watch as tw


@pytest.mark.parametrize(
    ("anew", "codes", "told"), [(True, False, True), (False, False, False), (False, True, False)]
)
def test_a_split_that_is_drawn_anew_leaks(anew: bool, codes: bool, told: bool) -> None:
    torch.manual_seed(0)
    # of codes equal rows are everywhere, and their targets differ
    x = torch.randint(0, 2, (160, 3)).float() if codes else torch.randn(160, 6)
    y = x.sum(1, keepdim=True) + torch.randn(160, 1)
    net = nn.Sequential(nn.Linear(x.shape[1], 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    with tw.watch(net, optimizer, say=lambda line: None) as watch:
        order = torch.randperm(160)
        for _ in range(5):
            order = torch.randperm(160) if anew else order
            for rows in order[:120].split(20):
                loss = nn.functional.mse_loss(net(x[rows]), y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            with torch.no_grad():
                nn.functional.mse_loss(net(x[order[120:]]), y[order[120:]])
    found = [f for f in watch.findings if f.ailment == "leakage"]
    assert bool(found) is told
