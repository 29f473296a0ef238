"""What the loop promises of the tensors of a network, seen by the watcher in real loops."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.watch.loops import rows
from trainwell.signals.contracts import _copies
from trainwell.values.signal import Traces
from trainwell.watch import watch


class Own(nn.Module):
    """A network whose first layer is written by hand: with a parameter, a plain tensor, or a constant one."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        weight = torch.randn(12, 32, generator=torch.Generator().manual_seed(0)) / 12**0.5
        self.weight = (
            nn.Parameter(weight) if kind == "parameter" else weight.requires_grad_(kind != "constant")
        )
        self.out, self.rate = nn.Linear(32, 3), torch.tensor(1.0, requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(x @ self.weight))  # type: ignore[no-any-return]


def traces_of(kind: str) -> Traces:
    (x, y), net = rows(), Own(kind)
    also = [net.weight] if kind == "optimized" else []
    optimizer = torch.optim.SGD([*net.parameters(), *also], 0.05)
    with watch(net, optimizer, quiet=True) as seen:
        for part in torch.arange(len(x)).repeat(3).split(32):
            optimizer.zero_grad()
            F.cross_entropy(net(x[part]), y[part]).backward()
            optimizer.step()
            if kind == "by hand" and net.weight.grad is not None:
                with torch.no_grad():
                    net.weight -= 0.05 * net.weight.grad
                net.weight.grad = None
    assert seen.traces.fact("watch_error") is None
    return seen.traces


@pytest.mark.parametrize(
    ("kind", "plain"),
    [("parameter", []), ("plain", ["weight"]), ("constant", []), ("optimized", []), ("by hand", [])],
)
def test_plain_tensors_that_nobody_trains_are_named(kind: str, plain: list[str]) -> None:
    assert traces_of(kind).fact("plain_tensors") == plain


@pytest.mark.parametrize("kind", ["copies", "drawn", "zeros"])
def test_units_that_are_copies_are_counted(kind: str) -> None:
    torch.manual_seed(0)
    weight = torch.randn(60, 64)
    if kind == "copies":
        weight = weight[:3].repeat(20, 1)
    elif kind == "zeros":
        weight[:40] = 0
    assert _copies(weight) == pytest.approx(57 / 60 if kind == "copies" else 0)
