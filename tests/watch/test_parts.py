"""A loop that calls the parts of its network one by one, and never the network, is watched as any other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainwell.signals.scene import Look
from trainwell.watch.loop import LoopWatch, watch

STEPS = 40


class Box(nn.Module):
    """Holds an encoder, a head that takes a scale beside, and a network for pairs; its own forward is not there."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 6))
        self.head = Head()


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, z: Tensor, scale: Tensor) -> Tensor:
        out: Tensor = self.linear(z) * scale
        return out


def chain(box: Box, x: Tensor) -> Tensor:
    out: Tensor = box.head(box.encoder(x).view(-1, 6), scale=torch.full((len(x), 1), 1.5))
    return out


def detached(box: Box, x: Tensor) -> Tensor:
    z = box.encoder(x)
    out: Tensor = box.head(z, torch.ones(len(x), 1)) + 0.0 * z.sum()
    return box.head(z.detach(), scale=torch.ones(len(x), 1)) + 0.0 * out


def by_hand(box: Box, x: Tensor) -> Tensor:
    out: Tensor = box.head(box.encoder(x).tanh(), scale=torch.ones(len(x), 1))
    return out


def twins(box: Box, x: Tensor) -> Tensor:
    out: Tensor = box.head(box.encoder(x), scale=torch.ones(len(x), 1))
    return out + box.head(box.encoder(x.flip(0)), scale=torch.ones(len(x), 1))


def train(
    forward: Callable[[Box, Tensor], Tensor], seen: bool, lr: float = 1e-2
) -> tuple[Box, LoopWatch | None]:
    torch.manual_seed(0)
    x, y, box = torch.randn(256, 8), torch.randint(0, 3, (256,)), Box()
    optimizer = torch.optim.Adam(box.parameters(), lr)
    watching = watch(box, optimizer, quiet=True) if seen else None
    for _ in range(STEPS):
        rows = torch.randint(0, 256, (32,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(forward(box, x[rows]), y[rows]).backward()
        optimizer.step()
    if watching is not None:
        watching.close()
    return box, watching


@pytest.mark.parametrize("forward", [chain, detached, by_hand, twins])
def test_parts_are_looked_at_and_the_weights_stay_as_they_are(forward: Any) -> None:
    (alone, _), (box, seen) = train(forward, False), train(forward, True)
    assert seen is not None
    for a, b in zip(alone.parameters(), box.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in box.modules())
    traces = seen.traces
    assert traces.fact("watch_error") is None
    assert traces.fact("no_looks") is None
    assert traces.facts["batch_size"] == 32
    assert len(traces.get("grad_norm", "encoder.0.weight")) > 3, "the steps were not looked at"
    # what the loop does between the parts cannot be repeated: then the loss after the step is not asked for
    assert np.isfinite(traces.get("q").values).any() == (forward is chain)


def test_the_copy_repeats_the_loss_of_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from trainwell.signals.geometry import Geometry

    looks: list[tuple[float, float]] = []
    original = Geometry.look

    def noted(self: Geometry, look: Look, record: Any) -> None:
        looks.append((float(look.before), float(look.recorded)))
        original(self, look, record)

    monkeypatch.setattr(Geometry, "look", noted)
    train(chain, True)
    known = [(before, recorded) for before, recorded in looks if np.isfinite(before)]
    assert known
    for before, recorded in known:
        assert before == pytest.approx(recorded, rel=1e-6)


def test_several_networks_are_watched_as_one() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(256, 8), torch.randint(0, 3, (256,))
    encoder, head = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()), nn.Linear(64, 3)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], 3.0)
    with watch([encoder, head], optimizer, quiet=True) as seen:
        for _ in range(100):
            rows = torch.randint(0, 256, (32,))
            optimizer.zero_grad()
            nn.functional.cross_entropy(head(encoder(x[rows])), y[rows]).backward()
            optimizer.step()
    assert "lr_too_high" in {f.ailment for f in seen.findings}
    assert seen.traces.layers("weight_norm") == [
        "sequential.0.weight",
        "sequential.2.weight",
        "linear.weight",
    ]
