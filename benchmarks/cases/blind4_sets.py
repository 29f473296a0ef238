"""Data of the fourth blind set: more generated tasks and two more texts."""

from __future__ import annotations

import functools
import zlib
from typing import Any

from faultbench.core import Data
from faultbench.lib import np, torch

from benchmarks.cases.blind3_sets import HELD, ROOT, inputs, parts, scaled, targets

__all__ = [
    "adding",
    "clicks",
    "dots",
    "graphs",
    "inputs",
    "intents",
    "markov",
    "mixture",
    "peaks",
    "pendulum",
    "ripple",
    "scaled",
    "targets",
    "traffic",
]  # fmt: skip


def dots(seed: int, n: int = 800, k: int = 5, size: int = 11, noise: float = 0.15) -> Data:
    """Return pictures with up to k - 1 bright dots, to be counted."""
    r = np.random.default_rng(seed + 3)
    total = n + 300 + HELD
    y = r.integers(0, k, total)
    x = r.normal(0, noise, (total, 1, size, size))
    cells = (size // 2) ** 2
    for i in range(total):
        for cell in r.permutation(cells)[: y[i]]:
            x[i, 0, 2 * (cell // (size // 2)), 2 * (cell % (size // 2))] += 1.5
    return parts(x, y, n, seed, k)


def adding(seed: int, n: int = 800, length: int = 20) -> Data:
    """Return (length, 2) series of numbers and marks; the target is the sum of the two marked numbers."""
    r = np.random.default_rng(seed + 3)
    total = n + 300 + HELD
    x = np.stack([r.uniform(-1, 1, (total, length)), np.zeros((total, length))], 2)
    for i in range(total):
        x[i, r.permutation(length)[:2], 1] = 1
    return parts(x, (x[..., 0] * x[..., 1]).sum(1), n, seed)


def pendulum(seed: int, n: int = 700, noise: float = 0.03) -> Data:
    """Return angle, speed, length and push of a pendulum; the targets are its speed-up and its energy."""
    r = np.random.default_rng(seed + 3)
    q = r.uniform([-3, -4, 0.5, -2], [3, 4, 2, 2], (n + 300 + HELD, 4))
    a = -9.8 / q[:, 2] * np.sin(q[:, 0]) - 0.3 * q[:, 1] + q[:, 3]
    e = 0.5 * (q[:, 2] * q[:, 1]) ** 2 + 9.8 * q[:, 2] * (1 - np.cos(q[:, 0]))
    y = np.stack([a / 8, e / 12], 1)
    return scaled(parts(q, y + r.normal(0, noise, y.shape), n, seed), True)


def graphs(seed: int, n: int = 600, nodes: int = 9, flips: float = 0.04) -> Data:
    """Return neighbour matrices of rings, stars and pairs of cliques, with some edges flipped."""
    r = np.random.default_rng(seed + 3)
    total = n + 300 + HELD
    y = r.integers(0, 3, total)
    x = np.zeros((total, nodes, nodes))
    half = nodes // 2
    for i in range(total):
        a = np.zeros((nodes, nodes))
        if y[i] == 0:
            for j in range(nodes):
                a[j, (j + 1) % nodes] = 1
        elif y[i] == 1:
            a[0, 1:] = 1
        else:
            a[:half, :half] = 1
            a[half:, half:] = 1
        a = np.maximum(a, a.T)
        f = np.triu(r.random(a.shape) < flips, 1)
        a = np.abs(a - (f | f.T))
        np.fill_diagonal(a, 1)
        p = r.permutation(nodes)
        x[i] = a[p][:, p]
    return parts(x, y, n, seed, 3)


def mixture(seed: int, n: int = 900, k: int = 6, d: int = 10, apart: float = 1.6) -> Data:
    """Return points about k centres, bent so that no plane parts them all."""
    c = np.random.default_rng(53).normal(0, apart, (2 * k, d))
    r = np.random.default_rng(seed + 3)
    which = r.integers(0, 2 * k, n + 300 + HELD)
    return scaled(parts(c[which] + r.normal(0, 1, (len(which), d)), which % k, n, seed, k))


SIZES = (25, 15, 10)


def clicks(seed: int, n: int = 2000, shift: float = 0.0, noise: float = 0.3) -> Data:
    """Return three codes each and whether a hidden product of their factors is large, (n, 1)."""
    g = np.random.default_rng(59)
    v = [g.normal(0, 1, (s, 3)) for s in SIZES]
    r = np.random.default_rng(seed + 3)
    x = np.stack([r.integers(0, s, n + 300 + HELD) for s in SIZES], 1)
    a, b, c = (v[j][x[:, j]] for j in range(3))
    z = (a * b + b * c + a * c).sum(1) + r.normal(0, noise, len(x)) - shift
    return parts(x, (z > 0).astype(float), n, seed)


def markov(seed: int, n: int = 400, length: int = 16, vocab: int = 12, sharp: float = 0.15) -> Data:
    """Return rows of tokens whose law rests on the two before, to be continued at every place."""
    law = np.random.default_rng(61).dirichlet(np.full(vocab, sharp), (vocab, vocab))
    r = np.random.default_rng(seed + 3)
    total = n + 150 + 250
    s = r.integers(0, vocab, (total, length + 1))
    edge = law.cumsum(-1)
    for t in range(2, length + 1):
        u = r.random(total)
        s[:, t] = np.minimum((u[:, None] > edge[s[:, t - 2], s[:, t - 1]]).sum(1), vocab - 1)
    x, y = torch.as_tensor(s[:, :-1]), torch.as_tensor(s[:, 1:])
    cut = [slice(0, n), slice(n, n + 150), slice(n + 150, total)]
    return Data(*(v[c] for c in cut for v in (x, y)), vocab)


def peaks(seed: int, n: int = 700, length: int = 48, k: int = 4, noise: float = 0.25) -> Data:
    """Return spectra (1, length) with two peaks; the class is how far they lie apart."""
    r = np.random.default_rng(seed + 3)
    total = n + 300 + HELD
    y = r.integers(0, k, total)
    at = r.uniform(6, length - 12 - 4 * k, total)
    t = np.arange(length)
    x = sum(np.exp(-0.5 * (t - (at + gap)[:, None]) ** 2 / 1.5) for gap in (0, 4 + 4 * y))
    return parts((x + r.normal(0, noise, (total, length)))[:, None], y, n, seed, k)


def ripple(seed: int, n: int = 800, waves: float = 3.0, noise: float = 0.1) -> Data:
    """Return places on a square and the height of a rippled surface there."""
    r = np.random.default_rng(seed + 3)
    x = r.uniform(-1, 1, (n + 300 + HELD, 2))
    y = np.sin(waves * x[:, 0]) * np.cos(waves * x[:, 1]) + 0.5 * x[:, 0] * x[:, 1]
    return scaled(parts(x, y + r.normal(0, noise, len(x)), n, seed), True)


def traffic(seed: int, n: int = 800, noise: float = 0.2) -> Data:
    """Return hour, day, rain and three past counts; the target is the next count, standardised."""
    r = np.random.default_rng(seed + 3)
    total = n + 300 + HELD
    hour, day = r.uniform(0, 24, total), r.integers(0, 7, total)
    rain = r.exponential(1, total)
    base = [2 + np.sin((hour - h) / 24 * 2 * np.pi) - 0.8 * (day > 4) - 0.3 * rain for h in (0, 1, 2, 3)]
    past = np.stack([b + r.normal(0, noise, total) for b in base[1:]], 1)
    x = np.c_[hour, day, rain, past]
    return scaled(parts(x, base[0] ** 2 + r.normal(0, noise, total), n, seed), True)


@functools.lru_cache(None)
def _asked(vocab: int, kept: int) -> Any:
    import pandas as pd

    t = pd.read_parquet(ROOT / "banking77.parquet")
    y = pd.factorize(t["category"], sort=True)[0]
    t, y = t[y < kept], y[y < kept]
    ids = np.zeros((len(t), 12), np.int64)
    for i, words in enumerate(t["text"].str.lower().str.split()):
        for j, word in enumerate(words[:12]):
            ids[i, j] = 1 + zlib.crc32(word.encode()) % (vocab - 1)
    return ids, y


def intents(seed: int, n: int = 1500, vocab: int = 800, kept: int = 12) -> Data:
    """Return questions to a bank of the first `kept` kinds as 12 hashed words."""
    x, y = _asked(vocab, kept)
    return parts(x, y, min(n, len(x) - 300 - 200), seed, kept)
