"""Losses of answers yes or no that are told as 1 and -1 are heard like those of 1 and 0."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainwell.values.signal import Traces
from trainwell.watch import watch


def traced(loss: str, signed: bool) -> Traces:
    torch.manual_seed(0)
    x = torch.randn(64, 4)
    yes = (x[:, :1] + 0.3 * torch.randn(64, 1) > 0.4).float()
    target: Tensor = 2 * yes - 1 if signed else yes
    net = nn.Linear(4, 1)
    moves = torch.optim.SGD(net.parameters(), 0.5)
    with watch(net, moves, say=lambda _: None) as seen:
        for step in range(40):
            rows = torch.arange(16) + step % 4 * 16
            moves.zero_grad()
            getattr(F, loss)(net(x[rows]), target[rows]).backward()
            moves.step()
            if step % 20 == 19:
                with torch.no_grad():
                    getattr(F, loss)(net(x), target)
    return seen.traces


@pytest.mark.parametrize(
    ("loss", "signed"), [("soft_margin_loss", True), ("multilabel_soft_margin_loss", False)]
)
def test_a_logistic_loss_is_one_in_whatever_terms(loss: str, signed: bool) -> None:
    """log(1 + exp(-t s)) of t in -1, 1 is the binary cross-entropy of the score s."""
    plain, other = traced("binary_cross_entropy_with_logits", False), traced(loss, signed)
    for fact in ("class_counts", "base_loss", "base_score"):
        assert other.fact(fact) == pytest.approx(plain.fact(fact)), fact
    for signal in ("train_loss", "val_loss", "val_score", "probe_score"):
        torch.testing.assert_close(
            *(torch.as_tensor(t.get(signal).values) for t in (plain, other)), rtol=1e-5, atol=1e-6
        )
