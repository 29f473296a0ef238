"""The register of the sixth blind set, and the hand-written loops and networks of its cases.

Its author had seen faultbench's dev part and the older sets, and nothing of the doctor; see `docs/log-doctor.md`.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from typing import Any

from faultbench.core import History, evaluate
from faultbench.lib import F, define, nets, nn, torch

HALVES: dict[str, list[Any]] = {"A": [], "B": []}
SCORE, LOSS = ("test_score", 1, 0.05), ("test_loss", -1, 0.1)
COST, WALL = ("us_per_sample", -1, 5), ("wall_us_per_sample", -1, 100)


def case(labels: list[Any], better: Any = SCORE, accept: Any = (), severity: str = "clear") -> Any:
    """Register a maker `f(seed, fixed) -> Job` under its own name; the name's checksum chooses the half."""

    def register(maker: Any) -> Any:
        half = "AB"[zlib.crc32(maker.__name__.encode()) % 2]
        HALVES[half].append(
            define("b6_" + maker.__name__, labels, maker, accept=accept, severity=severity,
                   better=better if labels else None)
        )  # fmt: skip
        return maker

    return register


def by_hand(train: Callable[[Any, int], Any]) -> Any:
    """Return a loop around `train(job, epoch)`, which trains one epoch and yields loss, outputs and targets."""

    def loop(job: Any, obs: Any = None) -> Any:
        hist, model = History(), job.model
        seen = getattr(obs, "on_forward", None)
        start, cpu = time.perf_counter(), time.process_time()
        try:
            for epoch in range(job.epochs):
                losses, outs, ys = [], [], []
                for loss, out, y in train(job, epoch):
                    if seen:
                        seen(job, out, y, loss)
                    losses.append(loss.item())
                    outs.append(out.detach())
                    ys.append(y)
                model.eval()
                val_loss, val_score = evaluate(job, set_mode=False)
                hist.append({
                    "train_loss": sum(losses) / len(losses), "val_loss": val_loss, "val_score": val_score,
                    "train_score": job.metric(torch.cat(outs), torch.cat(ys)), "lr": job.optimizer.param_groups[0]["lr"],
                })  # fmt: skip
        except (RuntimeError, ValueError, IndexError) as e:  # the script stops here
            hist.error = f"{type(e).__name__}: {e}"[:300]
        hist.seconds, hist.cpu = time.perf_counter() - start, time.process_time() - cpu
        return hist

    return loop


class Words(nn.Module):
    """The mean of word vectors, dropout, a hidden layer."""

    def __init__(self, vocab: int, d: int, k: int, hidden: int = 32, drop: float = 0.0) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(vocab, d, mode="mean", padding_idx=0)
        self.head = nn.Sequential(nn.Dropout(drop), nn.Linear(d, hidden), nn.ReLU(), nn.Linear(hidden, k))

    def forward(self, x: Any) -> Any:
        return self.head(self.bag(x))


class Codes(nn.Module):
    """One vector for every code of a row, side by side, before a small network."""

    def __init__(self, vocab: int, columns: int, d: int = 4, h: int = 32, k: int = 1) -> None:
        super().__init__()
        self.emb, self.net = nn.Embedding(vocab, d), nets.mlp([columns * d, h, k])
        nn.init.normal_(self.emb.weight, 0, 0.3)

    def forward(self, x: Any) -> Any:
        return self.net(self.emb(x).flatten(1))


class Pooled(nn.Module):
    """A recurrence over (rows, time, channels) or tokens, averaged over time."""

    def __init__(self, kind: Any, d: int, h: int, k: int, vocab: int = 0, drop: float = 0.0) -> None:
        super().__init__()
        self.emb = nn.Embedding(vocab, d) if vocab else nn.Identity()
        self.rnn, self.drop, self.head = kind(d, h, batch_first=True), nn.Dropout(drop), nn.Linear(h, k)

    def forward(self, x: Any) -> Any:
        return self.head(self.drop(self.rnn(self.emb(x))[0].mean(1)))


def conv1d(
    k: int, cin: int = 1, h: int = 16, act: Any = nn.ReLU, norm: bool = False, drop: float = 0.0
) -> Any:
    """Return two convolutions over time with pooling, for rows of (channels, time)."""
    layers: list[Any] = []
    for a, b in ((cin, h), (h, 2 * h)):
        layers += [
            nn.Conv1d(a, b, 5, padding=2),
            *([nn.BatchNorm1d(b)] if norm else []),
            act(),
            nn.MaxPool1d(2),
        ]
    return nn.Sequential(
        *layers, nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Dropout(drop), nn.Linear(2 * h, k)
    )


def taken(out: Any, y: Any) -> Any:
    """Return the squared error of the value of the action taken; y holds the action and its reward."""
    return F.mse_loss(out.gather(1, y[:, :1].long()), y[:, 1:])


def taken_r2(out: Any, y: Any) -> float:
    from faultbench.core import r2

    return float(r2(out.gather(1, y[:, :1].long()), y[:, 1:]))
