"""Where the answers of a sequence stand in its tokens, and whether the network sees them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import trainwell.watch as tw

VOCAB, LENGTH = 12, 10


class Net(nn.Module):
    """A recurrence over tokens with an answer at every place."""

    def __init__(self, both: bool) -> None:
        super().__init__()
        self.emb, self.rnn = nn.Embedding(VOCAB, 8), nn.GRU(8, 16, batch_first=True, bidirectional=both)
        self.head = nn.Linear(32 if both else 16, VOCAB)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.rnn(self.emb(x))[0])
        return out


def watched(both: bool, targets: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tw.Watch:
    torch.manual_seed(0)
    text = torch.randint(0, VOCAB, (64, LENGTH + 1))
    x, y = targets(text)
    net = Net(both)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    with tw.watch(net, optimizer, say=lambda line: None) as watch:
        for rows in torch.arange(64).repeat(3).split(16):
            loss = nn.functional.cross_entropy(net(x[rows]).reshape(-1, VOCAB), y[rows].reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return watch


def following(text: Tensor) -> tuple[Tensor, Tensor]:
    return text[:, :-1], text[:, 1:]


def same(text: Tensor) -> tuple[Tensor, Tensor]:
    return text[:, :-1], text[:, :-1]


def labels(text: Tensor) -> tuple[Tensor, Tensor]:
    return text[:, :-1], text[:, :-1] % 3


@pytest.mark.parametrize(
    ("both", "targets", "told"),
    [
        (False, following, None),
        (True, following, "leakage"),
        (False, same, "loss_mismatch"),
        (True, same, None),  # an encoder of whole texts may have to give them back
        (True, labels, None),
    ],
)
def test_what_a_network_is_shown_is_nothing_to_predict(
    both: bool, targets: Callable[[Tensor], tuple[Tensor, Tensor]], told: str | None
) -> None:
    found = {f.ailment for f in watched(both, targets).findings}
    assert found & {"leakage", "loss_mismatch"} == ({told} if told else set())
