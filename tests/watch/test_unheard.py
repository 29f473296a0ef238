"""Losses that nobody recognises, and targets that a network makes itself: looks need no loss that torch computes."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.watch.loops import assert_equal, rows
from trainwell.rules.view import View
from trainwell.watch import Watch, watch

Rule = type[nn.Module]


def network(activation: Rule, depth: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    hidden = [part for i in range(depth) for part in (nn.Linear(32 if i else 12, 32), activation())]
    return nn.Sequential(*hidden, nn.Linear(32, 3))


def brier(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the score of Brier 1950: no function of torch amounts to it."""
    return (outputs.softmax(1) - torch.eye(outputs.shape[1])[labels]).pow(2).sum(1).mean()


def trained(net: nn.Module, rate: float, steps: int = 200, watched: bool = True) -> Watch | None:
    (x, y), optimizer = rows(), torch.optim.Adam(net.parameters(), rate)
    seen = watch(net, optimizer, quiet=True) if watched else None
    torch.manual_seed(1)
    for _ in range(steps):
        part = torch.randint(len(x), (32,))
        optimizer.zero_grad()
        brier(net(x[part]), y[part]).backward()
        optimizer.step()
    if seen is not None:
        seen.close()
    return seen


def alarms(seen: Watch | None) -> list[str]:
    assert seen is not None and seen.traces.fact("watch_error") is None
    return [f.ailment for f in seen.findings if f.severity != "information"]


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.GELU])
def test_a_sound_loop_gives_no_alarm(activation: Rule) -> None:
    assert alarms(trained(network(activation), 3e-3)) == []


@pytest.mark.parametrize(
    ("make", "rate", "expected"),
    [
        (lambda: network(nn.ReLU), 0.5, "lr_too_high"),
        (lambda: network(nn.Tanh), 1.0, "lr_too_high"),
        (lambda: network(nn.Sigmoid, 8), 3e-3, "vanishing_gradient"),
    ],
)
def test_what_ails_a_loop_shows_without_its_loss(
    make: Callable[[], nn.Module], rate: float, expected: str
) -> None:
    assert alarms(trained(make(), rate))[:1] == [expected]


def test_losses_are_noted_and_gradients_are_the_loops_own() -> None:
    net = network(nn.ReLU)
    first = copy.deepcopy(net)
    seen = trained(net, 3e-3, 40)
    assert seen is not None
    (x, y), _ = rows(), torch.manual_seed(1)
    part = torch.randint(len(x), (32,))
    loss = brier(first(x[part]), y[part])
    loss.backward()
    norm = torch.stack([p.grad.norm() for p in first.parameters() if p.grad is not None]).norm()
    losses = seen.traces.get("train_loss").values
    assert len(losses) == 40 and losses[0] == pytest.approx(float(loss.detach()))
    assert seen.traces.get("grad_norm").values[0] == pytest.approx(float(norm), rel=1e-5)
    assert not View(seen.traces).is_judged


def test_nothing_changes_and_nothing_is_left_behind() -> None:
    before, nets = Tensor.backward, (network(nn.ReLU), network(nn.ReLU))
    for net, watched in zip(nets, (False, True), strict=True):
        trained(net, 3e-3, 40, watched)
    assert_equal(*(list(net.state_dict().values()) for net in nets))
    assert Tensor.backward is before


def test_q_learning_makes_its_own_targets() -> None:
    """A chain of 12 places with a reward of 1 for every move: the values rise from 0 towards 20."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 2))
    optimizer, places = torch.optim.Adam(net.parameters(), 3e-3), torch.eye(12)
    seen = watch(net, optimizer, quiet=True)
    for _ in range(600):
        at, move = torch.randint(12, (32,)), torch.randint(2, (32,))
        after = (at + 2 * move - 1) % 12
        with torch.no_grad():
            target = 1 + 0.95 * net(places[after]).max(1).values
        chosen = net(places[at]).gather(1, move[:, None]).squeeze(1)
        loss = nn.functional.smooth_l1_loss(chosen, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seen.close()
    assert View(seen.traces).targets_move
    assert alarms(seen) == []
