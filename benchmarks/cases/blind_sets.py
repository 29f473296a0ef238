"""Data and networks of the blind cases: several labels, counts, codes, grades, pairs, sequences of numbers."""

from __future__ import annotations

import math
from typing import Any

from faultbench.lib import data, nets, nn, np, torch


def several_labels(seed: int, n: int = 600, d: int = 20, k: int = 6, noise: float = 0.5) -> Any:
    """Return rows with k yes-no labels each, ruled by sums and products of the inputs."""
    g = np.random.default_rng(29)
    w, v = g.normal(0, 1, (d, k)), g.normal(0, 1, (d, k))
    r = np.random.default_rng(seed + 3)
    x = r.normal(0, 1, (n + 900, d))
    z = x @ w + 0.4 * (x**2 - 1) @ v + r.normal(0, noise, (n + 900, k))
    return data.split(x, (z > 0).astype(float), n, 300, seed, 0, "std")


def counts(seed: int, n: int = 600, d: int = 6) -> Any:
    """Return Poisson counts whose log rate is a smooth function of the inputs."""
    r = np.random.default_rng(seed + 3)
    x = r.normal(0, 1, (n + 900, d))
    rate = np.exp(1.0 + 0.6 * x[:, 0] - 0.5 * np.sin(2 * x[:, 1]) + 0.4 * x[:, 2] * x[:, 3])
    return data.split(x, r.poisson(np.minimum(rate, 60.0)), n, 300, seed, 0, "std")


def codes(seed: int, n: int = 900, sizes: tuple[int, ...] = (12, 30, 8), noise: float = 0.3) -> Any:
    """Return rows of category codes; the target is a sum of effects and of one pair of them."""
    g = np.random.default_rng(31)
    effect = [g.normal(0, 1, s) for s in sizes]
    pair = g.normal(0, 1, (sizes[0], sizes[2]))
    r = np.random.default_rng(seed + 3)
    x = np.stack([r.integers(0, s, n + 900) for s in sizes], 1)
    y = sum(e[x[:, i]] for i, e in enumerate(effect)) + pair[x[:, 0], x[:, 2]]
    return data.split(x, y + r.normal(0, noise, len(x)), n, 300, seed, 0, None, True)


def longs(d: Any) -> Any:
    """Return the same parts with whole numbers as inputs."""
    for a in ("x", "xv", "xt"):
        setattr(d, a, getattr(d, a).long())
    return d


def grades(seed: int, n: int = 600, k: int = 5) -> Any:
    """Return rows whose target is one of k ordered grades, as the k - 1 answers to 'higher than j?'."""
    d = data.friedman(seed, n, noise=0.5)
    for a in ("y", "yv", "yt"):
        cuts = torch.linspace(-1.2, 1.2, k - 1)
        setattr(d, a, (getattr(d, a) > cuts).float())
    return d


def pairs(seed: int, n: int = 700) -> Any:
    """Return pairs of digits, side by side, with 1 where both show the same digit."""
    d = data.digits(seed, n=900)
    r = np.random.default_rng(seed + 5)

    def couple(x: Any, y: Any, m: int) -> Any:
        a = torch.as_tensor(r.integers(0, len(x), m))
        b = torch.as_tensor(r.integers(0, len(x), m))
        same = torch.as_tensor(r.random(m) < 0.5)
        for i in same.nonzero().flatten().tolist():
            mates = (y == y[a[i]]).nonzero().flatten()
            b[i] = mates[int(r.integers(0, len(mates)))]
        return torch.stack([x[a], x[b]], 1), (y[a] == y[b]).float().reshape(-1, 1)

    parts = [couple(d.x, d.y, n), couple(d.xv, d.yv, 300), couple(d.xt, d.yt, 500)]
    (d.x, d.y), (d.xv, d.yv), (d.xt, d.yt) = parts
    d.k = 0
    return d


def steps_last(d: Any) -> Any:
    """Turn (rows, 1, time) into (rows, time, 1)."""
    for a in ("x", "xv", "xt"):
        setattr(d, a, getattr(d, a).transpose(1, 2).contiguous())
    return d


def conv1d(
    k: int, c: tuple[int, ...] = (16, 32), norm: bool = False, act: Any = nn.ReLU, m: float = 0.1
) -> Any:
    """Return convolutions over time with a mean over it at the end."""
    layers: list[Any] = []
    a = 1
    for b in c:
        layers += [nn.Conv1d(a, b, 5, padding=2), *([nn.BatchNorm1d(b, momentum=m)] if norm else []), act()]
        layers.append(nn.MaxPool1d(2))
        a = b
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(a, k))


class Coded(nn.Module):
    """An embedding for every column of codes, then a small network."""

    def __init__(self, sizes: tuple[int, ...] = (12, 30, 8), d: int = 8, h: int = 48, k: int = 1) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(s, d) for s in sizes)
        self.net = nets.mlp([d * len(sizes), h, k])

    def forward(self, x: Any) -> Any:
        return self.net(torch.cat([t(x[:, i]) for i, t in enumerate(self.tables)], 1))


class Bag(nn.Module):
    """A mean of word vectors, then one linear layer."""

    def __init__(self, vocab: int, d: int, k: int, detach: bool = False) -> None:
        super().__init__()
        self.bag, self.mid, self.head = nn.EmbeddingBag(vocab, d), nn.Linear(d, d), nn.Linear(d, k)
        self.detach = detach

    def forward(self, x: Any) -> Any:
        h = torch.relu(self.mid(self.bag(x)))
        return self.head(h.detach() if self.detach else h)


class Twin(nn.Module):
    """One encoder for both of a pair; the answer falls with their distance."""

    def __init__(self, d: int = 64, h: int = 64, code: int = 16) -> None:
        super().__init__()
        self.body = nets.mlp([d, h, code])
        self.scale, self.shift = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Any) -> Any:
        gap = (self.body(x[:, 0]) - self.body(x[:, 1])).pow(2).mean(1, keepdim=True)
        return self.shift - self.scale * gap


class Listed(nn.Module):
    """A network whose middle layers lie in a plain list, out of reach of parameters()."""

    def __init__(self, d: int, h: int, k: int, known: bool) -> None:
        super().__init__()
        mids = [nn.Linear(d, h), nn.Linear(h, h)]
        self.mids: Any = nn.ModuleList(mids) if known else mids
        self.head = nn.Linear(h, k)

    def forward(self, x: Any) -> Any:
        for layer in self.mids:
            x = torch.relu(layer(x))
        return self.head(x)


class Scaled(nn.Module):
    """A recurrent network whose first recurrent matrix is a multiple of an orthogonal one."""

    def __init__(self, gain: float, k: int, h: int = 32) -> None:
        super().__init__()
        self.net = nets.SeqNet("rnn", 1, h, k, nonlin="relu")
        nn.init.orthogonal_(self.net.rnn.weight_hh_l0, gain)

    def forward(self, x: Any) -> Any:
        return self.net(x)


def exact(out: Any, y: Any) -> float:
    """Return the share of right yes-no answers over all labels."""
    return float(((out > 0) == (y > 0.5)).float().mean())


def explained(out: Any, y: Any) -> float:
    """Return how much of the Poisson deviance the log rates explain."""
    y, rate = y.double(), out.double().clamp(-20, 20).exp()
    part = lambda m: 2 * (torch.where(y > 0, y * (y.clamp(min=1e-9) / m).log(), 0 * y) - (y - m)).sum()  # noqa: E731
    value = 1 - float(part(rate) / part(y.mean().expand_as(y)))
    return value if math.isfinite(value) else float("nan")
