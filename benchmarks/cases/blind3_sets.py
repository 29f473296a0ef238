"""Data of the third blind set: parts of `../shared/data` and generated tasks of several kinds."""

from __future__ import annotations

import functools
import io
import os
import zlib
from pathlib import Path
from typing import Any

from faultbench.core import Data
from faultbench.lib import F, data, np, torch

ROOT = Path(os.environ.get("TRAINWELL_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
HELD = 500
"""Rows for the clean test of a case; validation has as many or fewer."""


def parts(x: Any, y: Any, n: int, seed: int, k: int = 0, nv: int = 300) -> Data:
    """Split rows at random into training, validation and test."""
    order = torch.as_tensor(np.random.default_rng(seed + 41).permutation(len(x)))
    x, y = (v if isinstance(v, torch.Tensor) else torch.as_tensor(np.array(v)) for v in (x, y))
    x = x.float() if x.is_floating_point() else x
    y = y.long() if k else y.float().reshape(len(y), -1)
    cut = order[:n], order[n : n + nv], order[n + nv : n + nv + HELD]
    (a, b, c) = ((x[i], y[i]) for i in cut)
    return Data(*a, *b, *c, k)


def scaled(d: Data, targets: bool = False) -> Data:
    """Standardise by the statistics of training."""
    for names in (("x", "xv", "xt"), ("y", "yv", "yt"))[: 2 if targets else 1]:
        v = getattr(d, names[0])
        m, s = v.mean(0), v.std(0).clamp(min=1e-6)
        for a in names:
            setattr(d, a, (getattr(d, a) - m) / s)
    return d


def inputs(d: Data, change: Any, where: tuple[str, ...] = ("x", "xv", "xt")) -> Data:
    for a in where:
        setattr(d, a, change(getattr(d, a)))
    return d


def targets(d: Data, change: Any, where: tuple[str, ...] = ("y", "yv", "yt")) -> Data:
    return inputs(d, change, where)


@functools.lru_cache(None)
def _fashion() -> Any:
    f = np.load(ROOT / "fashion_mnist_10k.npz")
    return F.avg_pool2d(torch.as_tensor(f["x_train"][:4000]).float()[:, None], 2), f["y_train"][:4000]


def fashion(seed: int, n: int = 800, flat: bool = False, kept: int = 10) -> Data:
    """Return 14 x 14 clothes, standardised over all pixels; only the first `kept` classes."""
    x, y = _fashion()
    x, y = x[y < kept], y[y < kept]
    x = (x - 73.0) / 84.0
    return parts(x.flatten(1) if flat else x, y, n, seed, kept)


@functools.lru_cache(None)
def cifar_bytes() -> Any:
    import pandas as pd

    t = pd.read_parquet(ROOT / "cifar10_jpeg_10k.parquet", columns=["label", "jpeg"])[:2000]
    return list(t["jpeg"]), t["label"].to_numpy(np.int64)


def decode(jpeg: bytes, side: int = 16) -> Any:
    """Return one picture as (3, side, side) numbers around zero."""
    from PIL import Image

    image = Image.open(io.BytesIO(jpeg)).convert("RGB").resize((side, side))
    return torch.as_tensor(np.asarray(image).astype(np.float32).transpose(2, 0, 1) / 64 - 2)


@functools.lru_cache(None)
def _cifar(side: int) -> Any:
    blobs, y = cifar_bytes()
    return torch.stack([decode(b, side) for b in blobs]), y


def cifar(seed: int, n: int = 800, side: int = 16) -> Data:
    x, y = _cifar(side)
    return parts(x, y, n, seed, 10)


@functools.lru_cache(None)
def _spoken() -> Any:
    import pandas as pd
    import soundfile as sf

    wave, _ = sf.read(ROOT / "fsdd.flac", dtype="float32")
    t = pd.read_parquet(ROOT / "fsdd_index.parquet")
    t = t[t["index"] < 30]
    rows = []
    for at, length in zip(t["offset"], t["length"], strict=True):
        clip = wave[at : at + length]
        frames = np.stack([clip[i : i + 256] for i in np.linspace(0, max(0, length - 256), 20).astype(int)])
        power = np.abs(np.fft.rfft(frames * np.hanning(256))) ** 2
        rows.append(np.log(power[:, :128].reshape(20, 16, 8).mean(2) + 1e-4))
    speaker = pd.factorize(t["speaker"], sort=True)[0]
    return np.stack(rows).astype(np.float32), t["digit"].to_numpy(np.int64), speaker


def spoken(seed: int, n: int = 900, flat: bool = False, speakers: bool = False) -> Data:
    """Return spoken digits as 20 frames of 16 log energies."""
    x, digit, speaker = _spoken()
    x = (x - x.mean((0, 1))) / x.std((0, 1))
    return parts(x.reshape(len(x), -1) if flat else x, speaker if speakers else digit, n, seed,
                 6 if speakers else 10)  # fmt: skip


def strangers(seed: int, n: int = 700) -> Data:
    """Return spoken digits whose validation has speakers that training has not; the test has all."""
    x, digit, speaker = _spoken()
    x = (x - x.mean((0, 1))) / x.std((0, 1))
    known = parts(x[speaker < 4], digit[speaker < 4], n, seed, 10)
    other = parts(x[speaker >= 4], digit[speaker >= 4], 10, seed, 10)
    known.xv, known.yv = other.xv, other.yv
    return known


@functools.lru_cache(None)
def _table(name: str, target: str, drop: tuple[str, ...]) -> Any:
    import pandas as pd

    t = pd.read_parquet(ROOT / f"{name}.parquet").sample(4000, random_state=2)
    y = t[target]
    t = pd.get_dummies(t.drop(columns=[target, *drop]), dtype=float)
    t = t.loc[:, t.mean().abs() > 0.01].fillna(0)
    y = pd.factorize(y, sort=True)[0] if y.nunique() < 10 else y.to_numpy(np.float64)
    return t.to_numpy(np.float64), y


def table(seed: int, name: str, n: int = 900, scale: bool = True) -> Data:
    """Return a table with one column for every common category, raw or standardised."""
    target, drop, k = {
        "adult": ("target", ("split", "native_country"), 2),
        "churn_modelling": ("Exited", ("RowNumber", "CustomerId", "Surname"), 2),
        "electricity": ("class", (), 2),
        "california_housing": ("MedHouseVal", (), 0),
        "employee_salaries": ("current_annual_salary",
                              ("division", "date_first_hired", "department_name", "employee_position_title"), 0),
    }[name]  # fmt: skip
    d = parts(*_table(name, target, drop), n, seed, k)
    return inputs(scaled(d), lambda v: v.clamp(-6, 6)) if scale else d


@functools.lru_cache(None)
def _text(name: str, text: str, label: str, vocab: int, length: int) -> Any:
    import pandas as pd

    t = pd.read_parquet(ROOT / f"{name}.parquet").sample(2900, random_state=3)
    ids = np.zeros((len(t), length), np.int64)
    for i, words in enumerate(t[text].str.lower().str.split()):
        for j, word in enumerate(words[:length]):
            ids[i, j] = 1 + zlib.crc32(word.encode()) % (vocab - 1)
    return ids, pd.factorize(t[label], sort=True)[0]


def questions(seed: int, n: int = 1200, vocab: int = 800) -> Data:
    """Return TREC questions of five kinds as 10 hashed words; the sixth, one in seventy, no training here learns."""
    x, y = _text("trec", "text", "coarse", vocab, 10)
    keep = np.isin(y, _common(y))
    kinds, y = np.unique(y[keep], return_inverse=True)
    return parts(x[keep], y, n, seed, len(kinds))


def _common(y: Any) -> Any:
    """Return the classes of which there are more than one in twenty."""
    kinds, counts = np.unique(y, return_counts=True)
    return kinds[counts > 0.05 * len(y)]


def news(seed: int, n: int = 1200, vocab: int = 2000) -> Data:
    """Return news of four kinds as 24 hashed words."""
    return parts(*_text("agnews_mini", "description", "label", vocab, 24), n, seed, 4)


@functools.lru_cache(None)
def _letters() -> Any:
    import pandas as pd

    t = " ".join(pd.read_parquet(ROOT / "agnews_mini.parquet")["title"][:3000]).lower()
    t = "".join(c for c in t if (c.isalpha() and c.isascii()) or c == " ")
    return np.array([0 if c == " " else ord(c) - 96 for c in t], np.int64)


def letters(seed: int, n: int = 500, length: int = 20) -> Data:
    """Return windows of headlines, to be continued by the next of 27 letters; a fifth each is held out."""
    s = _letters()
    r = np.random.default_rng(seed + 3)
    third = len(s) // 5

    def windows(low: int, high: int, m: int) -> Any:
        at = r.integers(low, high - length - 1, m)
        return [torch.as_tensor(np.stack([s[i + o : i + o + length] for i in at])) for o in (0, 1)]

    train, val, test = (
        windows(0, 3 * third, n),
        windows(3 * third, 4 * third, 150),
        windows(4 * third, 5 * third, 250),
    )
    return Data(*train, *val, *test, 27)


@functools.lru_cache(None)
def _oil() -> Any:
    import pandas as pd

    return pd.read_parquet(ROOT / "etth1.parquet").iloc[:9000, 1:].to_numpy(np.float32)


def oil(seed: int, n: int = 900, length: int = 24, raw: bool = False) -> Data:
    """Return windows of seven hourly channels (length, 7); the target is the last one six hours on."""
    s = _oil()
    at = np.random.default_rng(seed + 3).permutation(len(s) - length - 6)[: n + 300 + HELD]
    d = parts(np.stack([s[i : i + length] for i in at]), s[at + length + 5, 6], n, seed)
    if raw:
        return targets(d, lambda v: (v - 17) / 9)
    return targets(inputs(d, lambda v: (v - torch.as_tensor(s.mean(0))) / torch.as_tensor(s.std(0))),
                   lambda v: (v - 17) / 9)  # fmt: skip


def checker(seed: int, n: int = 900, cells: int = 3, noise: float = 0.0) -> Data:
    """Return points on a board, coloured by its fields."""
    r = np.random.default_rng(seed + 3)
    x = r.uniform(-1, 1, (n + 300 + HELD, 2))
    field = np.floor((x + 1) / 2 * cells).sum(1) % 2
    return parts(1.7 * (x + r.normal(0, noise, x.shape)), field.astype(int), n, seed, 2)


def arm(seed: int, n: int = 700) -> Data:
    """Return states of a two-joint arm and the bounded torques that an expert gives."""
    r = np.random.default_rng(seed + 3)
    q = r.uniform(-1.5, 1.5, (n + 300 + HELD, 6))
    error = np.sin(q[:, :2]) - np.tanh(q[:, 4:])
    pull = 1.5 * error - 0.8 * q[:, 2:4] + 0.7 * np.cos(q[:, :1] - q[:, 1:2]) * q[:, 3:4]
    return scaled(parts(q, np.tanh(pull) + r.normal(0, 0.05, pull.shape), n, seed), True)


def tags(seed: int, n: int = 800, k: int = 8, d: int = 24) -> Data:
    """Return rows with k tags each, of which some are rare."""
    w = np.random.default_rng(37).normal(0, 1, (d, k))
    r = np.random.default_rng(seed + 3)
    x = r.normal(0, 1, (n + 300 + HELD, d))
    z = np.tanh(x) @ w + 0.5 * np.abs(x) @ np.roll(w, 1, 0) / 2 - np.linspace(0, 4, k)
    return parts(x, (z > 0).astype(float), n, seed)


def ratings(seed: int, n: int = 3000, users: int = 60, items: int = 50, noise: float = 0.4) -> Data:
    """Return (user, item) codes and centred ratings of rank four."""
    g = np.random.default_rng(43)
    u, v = g.normal(0, 0.7, (users, 4)), g.normal(0, 0.7, (items, 4))
    r = np.random.default_rng(seed + 3)
    x = np.stack([r.integers(0, users, n + 300 + HELD), r.integers(0, items, n + 300 + HELD)], 1)
    return parts(x, (u[x[:, 0]] * v[x[:, 1]]).sum(1) + r.normal(0, noise, len(x)), n, seed)


def duels(seed: int, n: int = 900) -> Data:
    """Return two houses each, (n, 2, 8), and 1 where the first is the dearer."""
    d = table(seed, "california_housing", 1500)
    r = np.random.default_rng(seed + 9)

    def couple(x: Any, y: Any, m: int) -> Any:
        a, b = (torch.as_tensor(r.integers(0, len(x), m)) for _ in range(2))
        return torch.stack([x[a], x[b]], 1), (y[a] > y[b]).float().reshape(-1, 1)

    return Data(*couple(d.x, d.y, n), *couple(d.xv, d.yv, 400), *couple(d.xt, d.yt, HELD), 0)


def views(seed: int, n: int = 500, others: int = 7) -> Data:
    """Return a noisy look at a piece of clothing and candidates, (n, 2 + others, 196); which is a look at the same?"""
    d = fashion(seed, n)
    g = torch.Generator().manual_seed(seed + 7)

    def look(x: Any) -> Any:
        moved = torch.stack([torch.roll(x, by, 3) for by in (-1, 0, 1)])
        moved = moved[torch.randint(0, 3, (len(x),), generator=g), torch.arange(len(x))]
        return (moved + 0.5 * torch.randn(x.shape, generator=g)).flatten(1)

    for a, b in (("x", "y"), ("xv", "yv"), ("xt", "yt")):
        x = getattr(d, a)
        place = torch.randint(0, others + 1, (len(x),), generator=g)
        rows = torch.stack([look(x[torch.randperm(len(x), generator=g)]) for _ in range(others + 1)], 1)
        rows[torch.arange(len(x)), place] = look(x)
        setattr(d, a, torch.cat([look(x)[:, None], rows], 1))
        setattr(d, b, place)
    d.k = others + 1
    return d


def masks(seed: int, n: int = 300, size: int = 12) -> Data:
    """Return noisy pictures of discs and the masks of the bright ones among them."""
    r = np.random.default_rng(seed + 3)
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"))
    total = n + 300 + HELD
    x, y = r.normal(0, 0.3, (total, 1, size, size)), np.zeros((total, 1, size, size))
    for i in range(total):
        for bright in (True, False):
            at, radius = r.uniform(2, size - 2, 2), r.uniform(1.5, 3)
            disc = ((grid - at[:, None, None]) ** 2).sum(0) < radius**2
            x[i, 0][disc] += 1.2 if bright else -1.2
            y[i, 0][disc] = bright
    d = parts(x, y.reshape(total, -1), n, seed)
    return targets(d, lambda v: v.reshape(-1, 1, size, size))


def heaps(seed: int, n: int = 700, members: int = 8) -> Data:
    """Return sets of points (members, 3); the target rests on the largest and on the spread."""
    r = np.random.default_rng(seed + 3)
    x = r.normal(0, 1, (n + 300 + HELD, members, 3))
    y = x[..., 0].max(1) + np.abs(x[..., 1]).mean(1) * 2 - x[..., 2].min(1)
    return scaled(parts(x, y, n, seed), True)


def recall(seed: int, n: int, length: int, k: int = 4) -> Data:
    """Return sequences whose class is shown in the first step alone."""
    return data.first_token(seed, n, length, k, noise=0.5)


def wobble(seed: int, n: int = 600) -> Data:
    """Return numbers whose noise grows with the input, for a mean and a log variance."""
    r = np.random.default_rng(seed + 3)
    x = r.uniform(-2, 2, (n + 300 + HELD, 3))
    y = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] / 2 + r.normal(0, 1, len(x)) * (0.1 + 0.2 * np.abs(x[:, 1]))
    return parts(x, y, n, seed)


def brackets(seed: int, n: int = 900, length: int = 12) -> Data:
    """Return rows of opening and closing brackets and the greatest depth, up to four classes."""
    r = np.random.default_rng(seed + 3)
    x = r.integers(0, 2, (n + 300 + HELD, length))
    depth = np.maximum(np.cumsum(2 * x - 1, 1).max(1), 0)
    return parts(x, np.minimum(depth // 2, 3), n, seed, 4)
