"""Networks, loaders and changes of data for the second half of the eighth blind set."""

from __future__ import annotations

from typing import Any

from faultbench.core import TensorBatches
from faultbench.lib import F, nets, nn, torch

X, Y = ("x", "xv", "xt"), ("y", "yv", "yt")


def every(d: Any, change: Any, names: tuple[str, ...] = X) -> Any:
    """Change inputs (or targets) of training, validation and test alike."""
    for name in names:
        setattr(d, name, change(getattr(d, name)))
    return d


def steps_first(d: Any) -> Any:
    """Bring (N, 1, T) series to the (N, T, 1) of a recurrent net."""
    return every(d, lambda v: v.transpose(1, 2).contiguous())


class Parted(nn.Module):
    """A body and a head, between which the gradient may be cut."""

    def __init__(self, body: Any, head: Any, cut: bool) -> None:
        super().__init__()
        self.body, self.head, self.cut = body, head, cut

    def forward(self, x: Any) -> Any:
        h = self.body(x)
        return self.head(h.detach() if self.cut else h)


class Towers(nn.Module):
    """A small body for each third of the inputs, in a ModuleList or in a plain list that no one registers."""

    def __init__(self, width: int, h: int, k: int, known: bool) -> None:
        super().__init__()
        towers = [nets.mlp([width, h, h], last=nn.ReLU()) for _ in range(3)]
        self.towers = nn.ModuleList(towers) if known else towers
        self.head = nn.Linear(3 * h, k)

    def forward(self, x: Any) -> Any:
        return self.head(torch.cat([t(v) for t, v in zip(self.towers, x.chunk(3, 1), strict=True)], 1))


class Tuned(nn.Module):
    """A body and a new head; the norms of the body may keep their statistics."""

    frozen = False

    def __init__(self, body: Any, width: int, k: int) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(width, k)

    def forward(self, x: Any) -> Any:
        return self.head(self.body(x))

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        for layer in self.body if self.frozen else ():
            if isinstance(layer, nn.BatchNorm1d):
                layer.eval()
        return self


class ClearsFirst:
    """Batches of an epoch, before which the gradients are cleared: once an epoch, not once a step."""

    def __init__(self, batches: Any, optimizer: Any) -> None:
        self.batches, self.optimizer = batches, optimizer

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Any:
        self.optimizer.zero_grad()
        return iter(self.batches)


def classes_from(d: Any, first: int) -> tuple[Any, Any]:
    """Keep the classes from `first` on, counted from 0, and return the training rows of the others."""
    others = d.x[d.y < first], d.y[d.y < first]
    for a, b in zip(X, Y, strict=True):
        keep = getattr(d, b) >= first
        setattr(d, a, getattr(d, a)[keep])
        setattr(d, b, getattr(d, b)[keep] - first)
    d.k -= first
    return others


def fit(
    model: Any, optimizer: Any, x: Any, y: Any, epochs: int, seed: int, loss: Any = F.cross_entropy
) -> None:
    """Pre-train a model."""
    for _ in range(epochs):
        for a, b in TensorBatches(x, y, 32, True, seed):
            optimizer.zero_grad()
            loss(model(a), b).backward()
            optimizer.step()
