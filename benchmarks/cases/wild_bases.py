"""Healthy trainings on real data, with networks and optimizers that neither faultbench nor `own_faults` has.

They are the ground on which `wild.py` puts slips of several strengths. Data: `../shared/data`.
"""

from __future__ import annotations

import functools
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from faultbench.core import Data
from faultbench.lib import BCE, CE, MSE, SGD, Adam, AdamW, F, data, nets, nn, optim, torch

from benchmarks.cases.mutations import Spec

ROOT = Path(__file__).resolve().parents[3] / "shared" / "data"
Base = Any
BASES: dict[str, Base] = {}


def base(maker: Base) -> Base:
    BASES[maker.__name__] = maker
    return maker


def parts(x: Any, y: Any, n: int, nv: int, seed: int, k: int = 0, nt: int = 600) -> Data:
    """Split rows at random; numbers become float32 and (N, 1) targets, classes int64."""
    order = np.random.default_rng(seed + 5).permutation(len(x))[: n + nv + nt]
    x, y = x[order], y[order]
    if not isinstance(x, torch.Tensor):
        x = torch.as_tensor(np.ascontiguousarray(x))
    x = x.float() if x.is_floating_point() else x
    y = torch.as_tensor(np.ascontiguousarray(y))
    y = y.long() if k else y.float().reshape(len(y), -1)
    return Data(x[:n], y[:n], x[n : n + nv], y[n : n + nv], x[n + nv :], y[n + nv :], k)


@functools.lru_cache(None)
def _fashion() -> tuple[Any, Any]:
    f = np.load(ROOT / "fashion_mnist_10k.npz")
    x = F.avg_pool2d(torch.as_tensor(f["x_train"][:6000]).float()[:, None] / 255, 2)  # 14 x 14
    return x, f["y_train"][:6000]


def fashion(seed: int, n: int = 1500, standard: bool = True) -> Data:
    x, y = _fashion()
    return parts((x - 0.286) / 0.33 if standard else x, y, n, 500, seed, 10)


@functools.lru_cache(None)
def _table(name: str, target: str, drop: tuple[str, ...] = ()) -> tuple[Any, Any, list[str]]:
    t = pd.read_parquet(ROOT / f"{name}.parquet").drop(columns=list(drop)).sample(5000, random_state=0)
    y, t = t[target], t.drop(columns=[target])
    t = pd.get_dummies(t, dummy_na=False)
    t = t.loc[:, t.std() > 0.03]
    x = t.to_numpy(np.float64)
    x = (x - x.mean(0)) / x.std(0)
    x = np.clip(x, -5, 5)
    return x, pd.factorize(y, sort=True)[0] if y.nunique() < 20 else y.to_numpy(np.float64), list(t)


@functools.lru_cache(None)
def _text(name: str, label: str, text: str, vocab: int, length: int) -> tuple[Any, Any]:
    t = pd.read_parquet(ROOT / f"{name}.parquet").sample(4000, random_state=1)
    ids = np.zeros((len(t), length), np.int64)
    for i, words in enumerate(t[text].astype(str).str.lower().str.split()):
        for j, word in enumerate(words[:length]):
            ids[i, j] = 1 + zlib.crc32(word.encode()) % (vocab - 1)
    return ids, pd.factorize(t[label], sort=True)[0]


class Pooled(nn.Module):
    """Masked mean of embeddings, then two layers; token 0 is padding."""

    def __init__(self, vocab: int, d: int, k: int, drop: float = 0.2) -> None:
        super().__init__()
        self.emb = nn.Embedding(vocab, d, padding_idx=0)
        self.drop = nn.Dropout(drop)
        self.hidden, self.head = nn.Linear(d, d), nn.Linear(d, k)

    def forward(self, x):
        h = self.emb(x).sum(1) / (x > 0).sum(1, keepdim=True).clamp(min=1)
        return self.head(self.drop(F.relu(self.hidden(h))))


class ResNet(nn.Module):
    def __init__(self, k: int = 10, width: int = 12, cin: int = 1) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(cin, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.blocks = nn.ModuleList(Residual(width) for _ in range(2))
        self.head = nn.Linear(width, k)

    def forward(self, x):
        h = F.max_pool2d(F.relu(self.norm(self.stem(x))), 2)
        for block in self.blocks:
            h = block(h)
        return self.head(h.amax((2, 3)))


class Residual(nn.Module):
    def __init__(self, d: int) -> None:
        super().__init__()
        self.a, self.b = (nn.Conv2d(d, d, 3, padding=1, bias=False) for _ in range(2))
        self.na, self.nb = nn.BatchNorm2d(d), nn.BatchNorm2d(d)

    def forward(self, x):
        return F.relu(x + self.nb(self.b(F.relu(self.na(self.a(x))))))


class TiedLM(nn.Module):
    """A GRU language model whose output shares the embedding."""

    def __init__(self, vocab: int, d: int) -> None:
        super().__init__()
        self.emb, self.rnn = nn.Embedding(vocab, d), nn.GRU(d, d, batch_first=True)
        nn.init.normal_(self.emb.weight, 0, 0.1)
        self.head = nn.Linear(d, vocab)
        self.head.weight = self.emb.weight

    def forward(self, x):
        return self.head(self.rnn(self.emb(x))[0])


class UNet(nn.Module):
    """Two scales; one output map per class."""

    def __init__(self, k: int, d: int = 8) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, d, 3, padding=1), nn.Conv2d(d, 2 * d, 3, padding=1)
        self.up, self.out = nn.ConvTranspose2d(2 * d, d, 2, stride=2), nn.Conv2d(2 * d, k, 3, padding=1)

    def forward(self, x):
        a = F.relu(self.a(x))
        b = F.relu(self.b(F.max_pool2d(a, 2)))
        return self.out(torch.cat([a, F.relu(self.up(b))], 1))


@base
def fashion_lenet(seed):
    m = nn.Sequential(nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(),
                      nn.Flatten(), nn.Linear(400, 48), nn.ReLU(), nn.Linear(48, 10))  # fmt: skip
    return Spec(fashion(seed), m, 2e-3, loss=CE(), batch=64, epochs=14)


@base
def fashion_resnet(seed):
    m = ResNet()
    return Spec(fashion(seed, 1200), m, 0.1, SGD, CE(), batch=32, epochs=8, cosine=True,
                options={"momentum": 0.9, "nesterov": True, "weight_decay": 1e-4})  # fmt: skip


@base
def fashion_mlp_sgd(seed):
    m = nets.mlp([196, 64, 64, 10], flat=True)
    return Spec(fashion(seed), m, 0.1, SGD, CE(), batch=32, epochs=8)


@base
def fashion_autoencoder(seed):
    d = fashion(seed, 1000, standard=False)
    d.y, d.yv, d.yt, d.k = (*(v.flatten(1) for v in (d.x, d.xv, d.xt)), 0)
    m = nn.Sequential(nn.Flatten(), nn.Linear(196, 64), nn.ReLU(), nn.Linear(64, 12), nn.Linear(12, 64), nn.ReLU(),
                      nn.Linear(64, 196))  # fmt: skip
    return Spec(d, m, 3e-3, loss=MSE(), batch=32, epochs=12, task="regression")


@base
def fashion_segment(seed):
    d = fashion(seed, 500, standard=False)
    label = lambda x: (x[:, 0] > 0.15).long() + (x[:, 0] > 0.6).long()  # noqa: E731
    d.y, d.yv, d.yt, d.k = label(d.x), label(d.xv), label(d.xt), 3
    noisy = lambda x: x + 0.15 * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))  # noqa: E731
    d.x, d.xv, d.xt = noisy(d.x), noisy(d.xv), noisy(d.xt)
    hits = lambda o, y: float((o.argmax(1) == y).float().mean())  # noqa: E731
    return Spec(d, UNet(3), 5e-3, loss=CE(), batch=16, epochs=5, task="classification", metric=hits)


@base
def adult_rmsprop(seed):
    x, y, _ = _table("adult", "target", ("split",))
    d = parts(x, y, 2500, 800, seed, 2)
    return Spec(d, nets.mlp([x.shape[1], 48, 2], drop=0.3), 1e-3, optim.RMSprop, CE(), batch=64, epochs=5)


@base
def churn_bce_bn(seed):
    x, y, _ = _table("churn_modelling", "Exited", ("RowNumber", "CustomerId", "Surname"))
    d = data.binary(parts(x, y, 3000, 900, seed, 2))
    return Spec(d, nets.mlp([x.shape[1], 32, 16, 1], norm="bn", drop=0.2), 3e-3, AdamW, BCE(), batch=128, epochs=8,
                task="binary")  # fmt: skip


@base
def housing_layernorm(seed):
    x, y, _ = _table("california_housing", "MedHouseVal")
    d = parts(x, (y - y.mean()) / y.std(), 3000, 800, seed)
    return Spec(d, nets.mlp([x.shape[1], 64, 64, 1], "gelu", norm="ln"), 2e-3, AdamW, nn.HuberLoss(), batch=64,
                epochs=12, cosine=True)  # fmt: skip


@base
def salaries_adagrad(seed):
    t = pd.read_parquet(ROOT / "employee_salaries.parquet").sample(3500, random_state=0)
    y = t["current_annual_salary"].to_numpy(float)
    keep = pd.get_dummies(t[["department", "gender", "assignment_category", "year_first_hired"]])
    x = keep.to_numpy(np.float64)
    x = np.clip((x - x.mean(0)) / (x.std(0) + 1e-9), -5, 5)
    d = parts(x, (y - y.mean()) / y.std(), 2200, 600, seed)
    return Spec(
        d, nets.mlp([x.shape[1], 64, 1], drop=0.1), 2e-2, optim.Adagrad, nn.L1Loss(), batch=32, epochs=8
    )


@base
def etth_windows_gru(seed):
    t = pd.read_parquet(ROOT / "etth1.parquet").select_dtypes("number").to_numpy(np.float64)[:4000]
    t = (t - t.mean(0)) / t.std(0)
    x = np.stack([t[i : i + 24] for i in range(0, 3900, 2)])
    y = np.stack([t[i + 24 : i + 27, -1] for i in range(0, 3900, 2)])
    d = parts(x, y, 1200, 350, seed)
    return Spec(d, nets.SeqNet("gru", t.shape[1], 24, 3), 5e-3, Adam, MSE(), batch=64, epochs=8)


@base
def sst2_pooled(seed):
    x, y = _text("sst2", "label", "text", 4000, 24)
    return Spec(
        parts(x, y, 2500, 700, seed, 2), Pooled(4000, 32, 2, 0.5), 3e-3, Adam, CE(), batch=32, epochs=4
    )


@base
def trec_lstm(seed):
    x, y = _text("trec", COLUMNS["trec"][0], COLUMNS["trec"][1], 2000, 14)
    m = nets.SeqNet("lstm", 32, 40, int(y.max()) + 1, vocab=2000)
    return Spec(parts(x, y, 2400, 600, seed, int(y.max()) + 1), m, 8e-3, Adam, CE(), batch=64, epochs=6)


@base
def agnews_transformer(seed):
    x, y = _text("agnews_mini", *COLUMNS["agnews"], 3000, 20)
    m = nets.Transformer(3000, 32, 4, 20, drop=0.2)
    return Spec(parts(x, y, 2800, 500, seed, 4), m, 2e-3, AdamW, CE(label_smoothing=0.05), batch=64, epochs=4)


@base
def multilabel_words(seed):
    d = data.topics(seed, n=1500, k=6, mix=0.3)
    g = torch.Generator().manual_seed(seed)
    other = {}
    for part in ("x", "xv", "xt"):
        x, y = getattr(d, part), getattr(d, part.replace("x", "y"))
        j = torch.randperm(len(x), generator=g)
        half = x.shape[1] // 2
        other[part] = torch.cat([x[:, :half], x[j][:, :half]], 1)
        other[part.replace("x", "y")] = ((F.one_hot(y, 6) + F.one_hot(y[j], 6)) > 0).float()
    d = Data(other["x"], other["y"], other["xv"], other["yv"], other["xt"], other["yt"], 0)
    return Spec(d, nets.BagOfWords(200, 32, 6, hidden=32), 5e-3, Adam, BCE(), batch=32, epochs=10, task="binary",
                metric=lambda o, y: float(((o > 0) == (y > 0.5)).float().mean()))  # fmt: skip


@base
def chars_tied(seed):
    d = data.chars(seed, n=1200, T=24)
    return Spec(d, TiedLM(d.k, 48), 5e-3, AdamW, nets.lm_loss, batch=32, epochs=6, task="lm", cosine=True)


@base
def digits_spoken(seed):
    x, y = _spoken()
    m = nn.Sequential(nn.Conv1d(20, 32, 5, padding=2), nn.BatchNorm1d(32), nn.ReLU(), nn.MaxPool1d(2),
                      nn.Conv1d(32, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool1d(2), nn.Flatten(),
                      nn.Dropout(0.2), nn.Linear(64, 10))  # fmt: skip
    return Spec(
        parts(x, y, 1000, 300, seed, 10, 300), m, 1e-3, optim.NAdam, CE(), batch=32, epochs=12, cosine=True
    )


@functools.lru_cache(None)
def _spoken() -> tuple[Any, Any]:
    import soundfile

    sound, _ = soundfile.read(ROOT / "fsdd.flac", dtype="float32")
    index = pd.read_parquet(ROOT / "fsdd_index.parquet").sample(1600, random_state=0)
    rows = []
    for start, length in zip(index["offset"], index["length"], strict=True):
        clip = np.zeros(4000, np.float32)
        piece = sound[start : start + min(length, 4000)]
        clip[: len(piece)] = piece
        spectrum = (
            np.abs(np.fft.rfft(clip.reshape(20, 200) * np.hanning(200), axis=1))[:, :100]
            .reshape(20, 20, 5)
            .mean(2)
        )
        rows.append(np.log(spectrum.T + 1e-3))
    x = np.stack(rows)
    label = next(c for c in ("digit", "label", "y") if c in index)
    return (x - x.mean()) / x.std(), index[label].to_numpy()


COLUMNS = {"trec": ("coarse", "text"), "agnews": ("label", "description")}
assert math and SGD
