"""Data of the sixth blind set: more of `../shared/data` and more generated tasks."""

from __future__ import annotations

import functools
import io
import zipfile
import zlib
from typing import Any

from faultbench.core import Data
from faultbench.lib import np, torch

from benchmarks.cases.blind3_sets import HELD, ROOT, _oil, decode, inputs, parts, scaled, targets

__all__ = ["inputs", "parts", "scaled", "targets"]


@functools.lru_cache(None)
def _sentences(vocab: int, length: int) -> Any:
    import pandas as pd

    t = pd.read_parquet(ROOT / "sst2.parquet").sample(4500, random_state=4)
    ids = np.zeros((len(t), length), np.int64)
    for i, words in enumerate(t["text"].str.split()):
        for j, word in enumerate(words[:length]):
            ids[i, j] = 1 + zlib.crc32(word.encode()) % (vocab - 1)
    return ids, t["label"].to_numpy(np.int64)


def sentences(seed: int, n: int = 2500, vocab: int = 2000, length: int = 20) -> Data:
    """Return sentences of film reviews as hashed words, 1 where they praise."""
    return parts(*_sentences(vocab, length), n, seed, 2)


@functools.lru_cache(None)
def _photos(side: int) -> Any:
    from PIL import Image

    x, y = [], []
    with zipfile.ZipFile(ROOT / "clothing10_small.zip") as z:
        names = sorted(n for n in z.namelist() if n.endswith(".jpg"))
        kinds = ("pants", "t-shirt", "shoes", "dress", "longsleeve")
        for name in names:
            kind = name.split("/")[2]
            if kind in kinds:
                image = Image.open(io.BytesIO(z.read(name))).convert("RGB").resize((side, side))
                x.append(torch.as_tensor(np.asarray(image).astype(np.float32).transpose(2, 0, 1) / 64 - 2))
                y.append(kinds.index(kind))
    return torch.stack(x), np.array(y)


def photos(seed: int, n: int = 500, side: int = 20) -> Data:
    """Return photographs of five kinds of clothes, (3, side, side)."""
    return parts(*_photos(side), n, seed, 5, nv=150)


@functools.lru_cache(None)
def _annotated() -> Any:
    import pandas as pd

    t = pd.read_parquet(ROOT / "cifar10_jpeg_10k.parquet")
    t = t[(t["split"] == "train") & t["label"].isin([0, 1, 6, 7])][:2200]
    kinds = {0: 0, 1: 1, 6: 2, 7: 3}
    right = t["label"].map(kinds).to_numpy(np.int64)
    said = t["worse_label"].map(kinds)
    said = np.where(said.isna(), np.random.default_rng(5).integers(0, 4, len(t)), said).astype(np.int64)
    return torch.stack([decode(b, 16) for b in t["jpeg"]]), right, said


def annotated(seed: int, n: int, clean: bool) -> Data:
    """Return pictures of planes, cars, frogs and horses by CIFAR-10N's worst annotators, or rightly labelled."""
    x, right, said = _annotated()
    d, noisy = (parts(x, y, n, seed, 4) for y in (right, said))
    return d if clean else Data(d.x, noisy.y, d.xv, noisy.yv, d.xt, d.yt, 4)


def seasons(seed: int, n: int = 800, winter: bool = False, length: int = 12) -> Data:
    """Return windows (7 * length) of a transformer's loads and its oil temperature in six hours; winter rows, or all."""
    s = _oil()
    day = (np.arange(len(s)) // 24 + 182) % 365
    at = np.random.default_rng(seed + 3).permutation(len(s) - length - 6)
    cold = (day[at] < 60) | (day[at] > 330)
    rest = at[n : n + 800]
    train = at[cold][:n] if winter else at[:n]
    warm = rest[(day[rest] > 150) & (day[rest] < 240)] if winter else rest[:300]
    pick = [
        (np.stack([s[i : i + length].ravel() for i in rows]), s[rows + length + 5, 6])
        for rows in (train, warm, rest)
    ]
    d = Data(*(torch.as_tensor(v).float() for pair in pick for v in pair), 0)
    return scaled(targets(d, lambda v: v.reshape(-1, 1)), True)


@functools.lru_cache(None)
def _people() -> Any:
    import pandas as pd

    t = pd.read_parquet(ROOT / "adult.parquet").sample(5000, random_state=6)
    ids, start = [], 0
    t["age"], t["hours"] = t["age"] // 8, t["hours_per_week"] // 12
    for column in (
        "age",
        "hours",
        "workclass",
        "education",
        "marital_status",
        "occupation",
        "relationship",
        "sex",
    ):
        code = pd.factorize(t[column], sort=True)[0] + 1
        ids.append(code + start)
        start += int(code.max()) + 1
    return np.stack(ids, 1), (t["target"] == ">50K").to_numpy(np.float64), start


def people(seed: int, n: int = 2000) -> tuple[Data, int]:
    """Return eight codes of each person and whether they earn much, (n, 1), and the number of codes."""
    x, y, vocab = _people()
    return parts(x, y, n, seed), vocab


@functools.lru_cache(None)
def _earners() -> Any:
    import pandas as pd

    t = pd.read_parquet(ROOT / "adult.parquet").sample(5000, random_state=8)
    y = (t["target"] == ">50K").to_numpy(np.int64)
    x = t[["age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week"]]
    return x.to_numpy(np.float64), y


def earners(seed: int, n: int = 1200, scale: bool = True) -> Data:
    """Return the six numbers of each person, of which two are mostly zero; 1 where they earn much."""
    d = parts(*_earners(), n, seed, 2)
    return inputs(scaled(d), lambda v: v.clamp(-6, 6)) if scale else d


@functools.lru_cache(None)
def _staff() -> Any:
    import pandas as pd

    t = pd.read_parquet(ROOT / "employee_salaries.parquet").sample(4000, random_state=9)
    job = pd.factorize(t["employee_position_title"] + t["division"], sort=True)[0]
    x = np.stack([t["year_first_hired"] - 2000, t["assignment_category"] == "Fulltime-Regular", job], 1)
    return x.astype(np.float64), (t["current_annual_salary"] / 1e4).to_numpy(np.float64)


def staff(seed: int, n: int, apart: bool) -> Data:
    """Return year, contract and the mean salary of the place; training rows count in their own mean unless `apart`."""
    d = parts(*_staff(), n, seed)
    codes = [v[:, 2].long() for v in (d.x, d.xv, d.xt)]
    size = int(torch.cat(codes).max()) + 1
    known = [(codes[0], d.y)] if apart else [(codes[0], d.y), (codes[1], d.yv)]
    total, count = torch.zeros(size), torch.zeros(size)
    for code, y in known:
        total.index_add_(0, code, y[:, 0])
        count.index_add_(0, code, torch.ones(len(code)))
    mean = d.y.mean()

    def encoded(code: Any, own: Any = None) -> Any:
        t, c = total[code], count[code]
        if own is not None:
            t, c = t - own[:, 0], c - 1
        return (t + mean) / (c + 1) if apart else torch.where(c > 0, t / c.clamp(min=1), mean)

    d.x[:, 2] = encoded(codes[0], d.y if apart else None)
    d.xv[:, 2] = encoded(codes[1])
    total, count = torch.zeros(size), torch.zeros(size)  # what is known when the model is used
    total.index_add_(0, codes[0], d.y[:, 0])
    count.index_add_(0, codes[0], torch.ones(len(codes[0])))
    d.xt[:, 2] = encoded(codes[2])
    return scaled(d, True)


def bandit(seed: int, n: int = 900, noise: float = 0.3) -> Data:
    """Return contexts (n, 6) and targets (n, 2): the action taken of four, and its reward."""
    g = np.random.default_rng(71)
    a, b = g.normal(0, 0.8, (6, 4)), g.normal(0, 0.8, (6, 4))
    r = np.random.default_rng(seed + 3)
    total = n + 300 + HELD
    x, act = r.normal(0, 1, (total, 6)), r.integers(0, 4, total)
    value = np.tanh(x @ a) + np.sin(x @ b) + np.linspace(-1.5, 1.5, 4)
    y = np.stack([act, value[np.arange(total), act] + r.normal(0, noise, total)], 1)
    return parts(x, y, n, seed)


def returns(seed: int, n: int = 900, raw: bool = False) -> Data:
    """Return place, speed, stiffness and friction of a mass on a spring and the discounted cost of its way to rest."""
    r = np.random.default_rng(seed + 3)
    s = r.uniform([-1, -1, 0.2, 0.02], [1, 1, 1.5, 0.6], (n + 300 + HELD, 4))
    x, v, total = s[:, 0].copy(), s[:, 1].copy(), np.zeros(len(s))
    for t in range(40):
        v = v + 0.2 * (-s[:, 2] * x - s[:, 3] * v + 0.1 * r.normal(0, 1, len(s)))
        x = x + 0.2 * v
        total -= 0.97**t * (x**2 + 0.3 * np.abs(v))
    return scaled(parts(s, 100 * total, n, seed), not raw)


def chirps(seed: int, n: int = 700, length: int = 64, noise: float = 0.5) -> Data:
    """Return noisy sweeps (1, length): up or down, slow or fast."""
    r = np.random.default_rng(seed + 3)
    total = n + 300 + HELD
    y = r.integers(0, 4, total)
    t = np.arange(length) / length
    low, high = np.where(y < 2, 2, 4), np.where(y < 2, 7, 14)
    first, last = np.where(y % 2 == 0, low, high), np.where(y % 2 == 0, high, low)
    phase = first[:, None] * t + (last - first)[:, None] * t**2 / 2 + r.uniform(0, 1, (total, 1))
    return parts((np.sin(2 * np.pi * phase) + r.normal(0, noise, (total, length)))[:, None], y, n, seed, 4)


def before(seed: int, n: int = 900, length: int = 12, vocab: int = 16) -> Data:
    """Return tokens; the class tells whether 1 stands before 2, and whether 3 stands in the first half."""
    r = np.random.default_rng(seed + 3)
    total = n + 300 + HELD
    x = r.integers(4, vocab, (total, length))
    y = np.zeros(total, np.int64)
    for i in range(total):
        a, b, c = r.permutation(length)[:3]
        x[i, a], x[i, b], x[i, c] = 1, 2, 3
        y[i] = 2 * (a < b) + (c < length // 2)
    return parts(x, y, n, seed, 4)


def strength(seed: int, n: int = 700, noise: float = 3.0) -> Data:
    """Return mixes of concrete (cement, water, sand, ash, days; standardised) and strengths of 35 +- 15 MPa."""
    r = np.random.default_rng(seed + 3)
    q = r.uniform([150, 130, 600, 0, 1], [500, 230, 950, 180, 90], (n + 300 + HELD, 5))
    y = 18 * (q[:, 0] + 0.4 * q[:, 3]) / q[:, 1] * np.log1p(q[:, 4]) / 3.5 - 0.01 * (q[:, 2] - 775)
    return scaled(parts(q, y + r.normal(0, noise, len(q)), n, seed))
