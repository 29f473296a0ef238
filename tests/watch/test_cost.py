"""The default watcher stays within its budget of Python calls."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest
import torch
from torch import Tensor, nn

from tests.watch import loops
from trainwell.watch import losses, watch
from trainwell.watch.schedule import Schedule

BUDGET = 40
"""Added Python calls per step on average (issue 3)."""


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "torch": nn.CrossEntropyLoss(),
    "cross-entropy": lambda o, y: -o.log_softmax(1).gather(1, y[:, None]).mean(),
    "absolute": lambda o, y: 3 * (o[:, 0] - y).abs().mean(),
    "unknown": lambda o, y: (o.softmax(1)[:, 0] - y).square().mean(),
}


def calls_of(steps: int, watched: bool, loss: str = "torch") -> int:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer, loss_function = torch.optim.Adam(net.parameters(), 1e-3), LOSSES[loss]
    x, y = loops.rows()
    count = 0

    def profile(frame: FrameType, event: str, _: object) -> None:
        nonlocal count
        count += event == "call"

    def run() -> None:
        for step in range(steps):
            part = slice(32 * (step % 8), 32 * (step % 8) + 32)
            optimizer.zero_grad()
            loss_function(net(x[part]), y[part]).backward()
            optimizer.step()

    sys.setprofile(profile)
    try:
        if watched:
            with watch(net, optimizer):
                run()
        else:
            run()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("loss", LOSSES)
def test_added_python_calls_stay_within_the_budget(loss: str) -> None:
    few, more = (
        calls_of(steps, False, loss) for steps in (20, 220)
    )  # without the watcher all steps are alike
    added = calls_of(4000, True, loss) / 4000 - (more - few) / 200
    assert added <= BUDGET, f"{added:.1f} added Python calls per step"


def test_looks_keep_to_their_share_of_the_time() -> None:
    schedule, elapsed = Schedule(), 0.0
    for step in range(50_000):
        elapsed += 0.01
        if step >= schedule.next:
            elapsed += 0.03
            schedule.done(step, 0.03, elapsed)
    assert schedule.cost_s <= schedule.free_s + 1.2 * schedule.share * elapsed
    assert schedule.looks > 30


def test_short_runs_are_looked_at_often() -> None:
    schedule, looks = Schedule(), 0
    for step in range(300):
        if step >= schedule.next:
            looks += 1
            schedule.done(step, 0.0015, 0.0005 * (step + 1) + 0.0015 * looks)
    assert looks >= 30


def test_a_listener_may_leave_when_it_hears_a_value() -> None:
    def leaves(value: torch.Tensor) -> bool:
        losses.unlisten(hears)
        return True

    def hears(call: losses.LossCall) -> None:
        raise AssertionError("the value was enough")

    losses.listen(hears, leaves)
    assert nn.functional.mse_loss(torch.zeros(3), torch.ones(3)) == 1
