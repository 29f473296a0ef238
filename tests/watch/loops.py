"""Training loops as users write them, with and without a watcher."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from trainwell.watch import Watch, watch


def rows(n: int = 256, columns: int = 12, classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(n, columns, generator=generator)
    return x, (x[:, 0] + x[:, 1] * x[:, 2]).mul(1.5).clamp(-1.4, 1.4).round().long() % classes


class Net(nn.Module):
    """Batch norm and dropout: both are changed by every forward that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 32),
                                  nn.Tanh(), nn.Dropout(0.1))  # fmt: skip
        self.head = nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))  # type: ignore[no-any-return]


def start() -> tuple[Net, torch.optim.Optimizer]:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    net = Net()
    return net, torch.optim.AdamW(net.parameters(), 3e-3)


def evaluate(net: nn.Module, x: Tensor, y: Tensor) -> float:
    net.eval()
    with torch.no_grad():
        loss = float(nn.functional.cross_entropy(net(x), y))
    net.train()
    return loss


def plain(net: nn.Module, optimizer: torch.optim.Optimizer, epochs: int = 4) -> list[float]:
    (x, y), loss_function, losses = rows(), nn.CrossEntropyLoss(), []
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            loss = loss_function(net(x[part]), y[part])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        losses.append(evaluate(net, x, y))
    return losses


def with_workers(net: nn.Module, optimizer: torch.optim.Optimizer) -> list[float]:
    x, y = rows()
    loader = DataLoader(TensorDataset(x, y), 32, shuffle=True, num_workers=2, multiprocessing_context="fork")
    losses = []
    for _ in range(2):
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(xb), yb)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        losses.append(evaluate(net, x, y))
    return losses


def accumulated_in_bf16(net: nn.Module, optimizer: torch.optim.Optimizer) -> list[float]:
    x, y = rows()
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 16)
    losses = []
    for _ in range(4):
        for i, part in enumerate(torch.randperm(len(x)).split(16)):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = nn.functional.cross_entropy(net(x[part]), y[part]) / 4
            loss.backward()
            losses.append(loss.item())
            if i % 4 == 3:
                torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
        losses.append(evaluate(net, x, y))
    return losses


def with_closure(net: nn.Module, optimizer: torch.optim.Optimizer) -> list[float]:
    x, y = rows()
    losses = []
    for part in torch.randperm(len(x)).split(32):

        def closure(part: Tensor = part) -> Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x[part]), y[part])
            loss.backward()
            return loss

        losses.append(optimizer.step(closure).item())  # type: ignore[arg-type,attr-defined]
    return losses


LOOPS: dict[str, Callable[..., list[float]]] = {
    f.__name__: f for f in (plain, with_workers, accumulated_in_bf16, with_closure)
}


def trained(
    loop: Callable[..., list[float]], watched: bool, **options: Any
) -> tuple[dict[str, Any], Watch | None]:
    """Run a loop and return everything that it computed."""
    net, optimizer = start()
    context = watch(net, optimizer, quiet=True, **options) if watched else nullcontext()
    with context as seen:
        losses = loop(net, optimizer)
    state = {
        "weights": {k: v.clone() for k, v in net.state_dict().items()}, "losses": losses,
        "moments": [v for s in optimizer.state_dict()["state"].values() for v in s.values()],
        "streams": (random.random(), float(np.random.random()), torch.rand(3)),
    }  # fmt: skip
    return state, seen


def assert_equal(one: Any, other: Any) -> None:
    """Compare bit for bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        one, other = list(one.values()), list(other.values())
    if isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_equal(a, b)
    elif isinstance(one, Tensor):
        assert one.dtype == other.dtype and torch.equal(one, other)
    else:
        assert one == other
