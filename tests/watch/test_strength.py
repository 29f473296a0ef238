"""A continuation on a copy steps as the loop does, whatever the loop does to its loss and its gradients."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.watch import loops
from trainwell.watch import Watch, watch
from trainwell.watch.branch import WhatIf
from trainwell.watch.strength import Strength, Strengths

BATCH, LIMIT = 32, 0.25
Step = Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor], None]


def plain(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, scale: float = 1.0) -> None:
    optimizer.zero_grad()
    (scale * F.cross_entropy(net(x), y)).backward()
    optimizer.step()


def divided(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    plain(net, optimizer, x, y, 0.25)


def summed(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    (-net(x).log_softmax(1).gather(1, y[:, None])).sum().backward()
    optimizer.step()


def accumulated(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """Two halves whose gradients are added up, and not averaged."""
    optimizer.zero_grad()
    for half in range(2):
        F.cross_entropy(net(x[half::2]), y[half::2]).backward()
    optimizer.step()


def scaled_and_unscaled(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    optimizer.zero_grad()
    scaler.scale(F.cross_entropy(net(x), y)).backward()
    scaler.step(optimizer)
    scaler.update()


def shrunk(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    F.cross_entropy(net(x), y).backward()
    norm = float(nn.utils.get_total_norm([p.grad for p in net.parameters() if p.grad is not None]))
    nn.utils.clip_grad_norm_(net.parameters(), norm / 5)
    optimizer.step()


def clipped(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    F.cross_entropy(net(x), y).backward()
    nn.utils.clip_grad_norm_(net.parameters(), LIMIT)
    optimizer.step()


STEPS: dict[str, tuple[Step, float]] = {
    "plain": (plain, 1.0), "divided": (divided, 0.25), "summed": (summed, 1.0), "accumulated": (accumulated, 2.0),
    "scaled_and_unscaled": (scaled_and_unscaled, 1.0), "shrunk": (shrunk, 0.2), "clipped": (clipped, 1.0),
}  # fmt: skip


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 3))


def batches(num: int) -> Iterable[tuple[Tensor, Tensor]]:
    x, y = loops.rows()
    for i in range(num):
        at = slice(BATCH * i % len(x), BATCH * i % len(x) + BATCH)
        yield x[at], y[at]


def watched(step: Step, num: int = 24) -> tuple[Watch, nn.Module, Any]:
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), 1e-3)
    seen = watch(net, optimizer, quiet=True)
    for x, y in batches(num):
        step(net, optimizer, x, y)
    assert seen.traces.fact("watch_error") is None
    return seen, net, optimizer


@pytest.mark.parametrize("name", STEPS)
def test_strength_is_what_the_loop_makes_of_the_gradient(name: str) -> None:
    step, expected = STEPS[name]
    seen = watched(step)[0]
    found = seen._strengths.found
    seen.close()
    assert found.factor == pytest.approx(expected, rel=1e-3)
    assert found.limit == (pytest.approx(LIMIT, rel=1e-3) if name == "clipped" else float("inf"))


@pytest.mark.parametrize("name", ["plain", "divided", "summed", "scaled_and_unscaled", "clipped"])
def test_a_continuation_is_the_loop_going_on(name: str) -> None:
    """The copy, at the rate as it is on the batches that were kept, against the same loop on the same batches."""
    step, _ = STEPS[name]
    seen, net, _ = watched(step)
    what_if = WhatIf(seen.scene, 60.0, seen._strengths.found)
    seen.close()
    num, cool = 8, 4
    grown = what_if.grow(1.0, num, want_q=True)
    other = copy.deepcopy(net)
    moves = torch.optim.SGD(other.parameters(), 1e-3)
    for i, batch in enumerate(what_if.batches[: num + cool]):
        moves.param_groups[0]["lr"] = 1e-3 * (1.0 if i < num else 1 - (i - num + 0.5) / cool)
        step(other, moves, batch.x, loops.rows()[1][BATCH * i % 256 : BATCH * i % 256 + BATCH])
    assert len(what_if.batches) >= num and len(grown.q) == num
    assert grown.q == pytest.approx([1.0] * num, abs=0.05)  # steps so short are straight
    for own, its in zip(seen.scene.replica.params, other.parameters(), strict=True):
        torch.testing.assert_close(own.detach(), its.detach(), rtol=1e-4, atol=1e-6)


def test_what_is_not_known_is_one() -> None:
    strengths, (one, other) = Strengths(), (network(), network())
    strengths.note(list(one.parameters()), list(other.parameters()))
    assert strengths.found == Strength()
    for mine, its in ((torch.nan, torch.nan), (1.0, 0.0), (2.0, 0.0), (3.0, 0.0), (0.0, 0.0)):
        for net, value in ((one, mine), (other, its)):
            for param in net.parameters():
                param.grad = torch.full_like(param, value)
        strengths.note(list(one.parameters()), list(other.parameters()))
        assert strengths.found == Strength()


def test_another_gradient_is_no_multiple() -> None:
    """As that of several processes together: its part along the own one is small by noise alone."""
    strengths, (one, other) = Strengths(), (network(), network())
    for _ in range(5):
        for net in (one, other):
            for param in net.parameters():
                param.grad = torch.randn_like(param) + 0.5
        strengths.note(list(one.parameters()), list(other.parameters()))
    assert strengths.found == Strength()


@pytest.mark.parametrize(
    ("norms", "factors", "limit"),
    [
        ([0.6, 0.7, 0.5, 3.4], [1.0, 1.0, 1.0, 1 / 3.4], 1.0),
        ([0.6, 0.7, 0.5, 3.4], [1.0, 0.8, 0.9, 1 / 3.4], math.inf),
        ([0.6, 0.7, 0.5, 3.4], [1.0, 1.0, 1.0, 1.0], math.inf),
        ([0.6, 0.7, 0.5, 3.4], [1.0, 1.0, 1.0, 0.1], math.inf),
    ],
)
def test_a_limit_that_is_seldom_reached_is_known_from_one_step(
    norms: list[float], factors: list[float], limit: float
) -> None:
    """Its gradient alone was shrunk, and what was left of it is as large as none before."""
    strengths, param = Strengths(), nn.Parameter(torch.zeros(4))
    for norm, factor in zip(norms, factors, strict=True):
        own = nn.Parameter(torch.zeros(4))
        own.grad = F.normalize(torch.arange(1.0, 5.0), dim=0) * norm
        param.grad = own.grad * factor
        strengths.note([own], [param])
    assert strengths.found.limit == pytest.approx(limit)
    assert strengths.found.factor == pytest.approx(1.0, abs=0.2)
