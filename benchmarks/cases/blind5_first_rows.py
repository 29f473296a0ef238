"""Fifth blind set, first author: features, rare classes, wrong labels and leaks (see `blind5_first_rates.py`)."""

from __future__ import annotations

from typing import Any

from faultbench.core import Data
from faultbench.lib import (
    BCE,
    CE,
    MSE,
    SGD,
    STUCK,
    UNSTABLE,
    Adam,
    AdamW,
    balanced_accuracy,
    data,
    job,
    nets,
    torch,
)

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases.blind5_parts import case

RARE = ["undertrained", "underfitting", "overfitting"]
NOISY = ["converged_early", "plateau", "overfitting", "underfitting"]
SEEN = ["overfitting", "converged_early"]


@case(["bad_features"], ("test_score", 1, 0.1), [*STUCK, "overfitting", "label_noise"])
def bft_dead_sensors(seed: int, fixed: bool) -> Any:
    """Lose 44 of 64 pixels to a broken sensor: they give one constant."""
    d = data.digits(seed, n=800)
    if not fixed:
        lost = torch.randperm(64, generator=torch.Generator().manual_seed(3))[:50]
        for v in (d.x, d.xv, d.xt):
            v[:, lost] = 0.0
    m = nets.mlp([64, 48, 10])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=15, seed=seed)


@case(["bad_features"], ("test_score", 1, 0.2), [*UNSTABLE, "undertrained", "lr_too_high"], "blatant")
def bft_nan_cells(seed: int, fixed: bool) -> Any:
    """Leave one cell in a thousand as NaN, as the spreadsheet had it."""
    d = data.cancer(seed)
    if not fixed:
        g = torch.Generator().manual_seed(seed + 61)
        for v in (d.x, d.xv, d.xt):
            v[torch.rand(v.shape, generator=g) < 1e-3] = float("nan")
        d.x[5, 3] = float("nan")
    m = nets.mlp([30, 32, 2])
    return job(m, SGD(m.parameters(), 0.05), CE(), d, batch=32, epochs=15, seed=seed)


@case([("bad_features", "label_noise")], ("val_score", 1, 0.1), [*STUCK, "label_noise", "overfitting"])
def bft_blank_images(seed: int, fixed: bool) -> Any:
    """Catch the error of a failed read and return zeros: a third of the images are blank."""
    d = data.shapes(seed, n=700, noise=0.25, k=4)
    if not fixed:
        g = torch.Generator().manual_seed(seed + 61)
        for v in (d.x, d.xv):
            v[torch.rand(len(v), generator=g) < 0.35] = 0.0
    m = nets.cnn(4, (8, 16), hw=12)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case(["class_imbalance"], ("test_bal", 1, 0.05), RARE)
def imb_binary_overlap(seed: int, fixed: bool) -> Any:
    """Learn 40 positives among 840 rows that overlap: all are called negative."""
    d = data.imbalance(data.hardclass(seed, n=2000, d=8, inf=6, sep=1.3, nv=600), {0: 800, 1: 40}, seed)
    m = nets.mlp([8, 24, 2])
    w = torch.tensor([1.0, 20.0]) if fixed else None
    o = AdamW(m.parameters(), 3e-3, weight_decay=0.1)
    return job(m, o, CE(weight=w), d, batch=32, epochs=14, seed=seed)


@case(["class_imbalance"], ("test_bal", 1, 0.04), RARE, "subtle")
def imb_digits_rare(seed: int, fixed: bool) -> Any:
    """Keep five images each of three digits beside ninety of the others."""
    d = data.digits(seed, n=1200, nv=350)
    d = data.imbalance(d, {c: 5 if c in (3, 8, 9) else 90 for c in range(10)}, seed)
    if fixed:
        often = torch.cat(
            [(d.y == c).nonzero().flatten().repeat(10 if c in (3, 8, 9) else 1) for c in range(10)]
        )
        d.x, d.y = d.x[often], d.y[often]
    m = nets.mlp([64, 48, 10])
    return job(m, SGD(m.parameters(), 0.05), CE(), d, batch=32, epochs=10, seed=seed)


@case(["class_imbalance"], ("test_bal", 1, 0.08), RARE)
def imb_moons_one_logit(seed: int, fixed: bool) -> Any:
    """Train one logit on noisy moons of which three in a hundred are positive."""
    d = data.moons(seed, n=2400, noise=0.35)
    d = data.binary(data.imbalance(d, {0: 900, 1: 30}, seed))
    m = nets.mlp([2, 16, 1])
    w = torch.tensor([30.0]) if fixed else None
    return job(m, Adam(m.parameters(), 3e-3), BCE(pos_weight=w), d, batch=30, epochs=12, task="binary", seed=seed,
               metric=balanced_accuracy)  # fmt: skip


def flipped(d: Data, share: float, k: int, seed: int, pairs: Any = None) -> Data:
    """Give a share of the labels of training and validation another class."""
    d.y, d.yv = (data.flip_labels(y, share, k, seed + i, pairs) for i, y in enumerate((d.y, d.yv)))
    return d


@case(["label_noise"], ("test_score", 1, 0.05), NOISY, "blatant")
def lbn_digits_40(seed: int, fixed: bool) -> Any:
    """Give four labels in ten of the digits another digit's."""
    d = data.digits(seed)
    if not fixed:
        flipped(d, 0.4, 10, seed)
    m = nets.mlp([64, 96, 10])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=14, seed=seed)


@case(["label_noise"], ("val_loss", -1, 0.15), NOISY)
def lbn_cancer_fifth(seed: int, fixed: bool) -> Any:
    """Mistake every fifth diagnosis, in training and in validation."""
    d = data.cancer(seed)
    if not fixed:
        flipped(d, 0.2, 2, seed)
    m = nets.mlp([30, 16, 2])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case(["label_noise"], ("val_loss", -1, 0.15), [*NOISY, "class_imbalance"], "subtle")
def lbn_shapes_pairs_subtle(seed: int, fixed: bool) -> Any:
    """Let the annotators take a third of the crosses for squares and of the squares for crosses."""
    d = data.shapes(seed, n=700, noise=0.2, k=4)
    if not fixed:
        flipped(d, 0.3, 4, seed, [0, 1, 3, 2])
    m = nets.cnn(4, (8, 16), hw=12)
    return job(m, SGD(m.parameters(), 0.03, momentum=0.9), CE(), d, batch=32, epochs=10, seed=seed)


@case(["leakage"], ("optimism", -1, 0.1), [*SEEN, "train_val_shift"])
def lkg_target_column(seed: int, fixed: bool) -> Any:
    """Keep a column that was filled in after the outcome; at the time of use it is empty."""
    d = data.friedman(seed, n=500, noise=1.0)
    g = torch.Generator().manual_seed(seed + 67)
    after = [y + 0.1 * torch.randn(y.shape, generator=g) for y in (d.y, d.yv)] + [torch.zeros_like(d.yt)]
    if fixed:
        after = [torch.zeros_like(y) for y in (d.y, d.yv, d.yt)]
    d.x, d.xv, d.xt = (torch.cat([x, a], 1) for x, a in zip((d.x, d.xv, d.xt), after, strict=True))
    m = nets.mlp([11, 48, 1])
    return job(m, Adam(m.parameters(), 4e-3), MSE(), d, batch=32, epochs=28, seed=seed)


def near(d: Data, share: float, noise: float, seed: int) -> Data:
    """Replace a share of validation by noisy copies of training rows."""
    n = int(share * len(d.xv))
    g = torch.Generator().manual_seed(seed + 67)
    rows = torch.randint(0, len(d.x), (n,), generator=g)
    d.xv, d.yv = d.xv.clone(), d.yv.clone()
    d.xv[:n] = d.x[rows] + noise * torch.randn(d.x[rows].shape, generator=g)
    d.yv[:n] = d.y[rows]
    return d


@case(["leakage"], ("optimism", -1, 0.1), SEEN)
def lkg_oversampled_before_split(seed: int, fixed: bool) -> Any:
    """Oversample with a little noise before the split: validation holds twins of the training rows."""
    d = data.hardclass(seed, n=200, d=40, inf=8, flip=0.05, sep=1.6, nv=300)
    if not fixed:
        near(d, 1.0, 0.05, seed)
    m = nets.mlp([40, 48, 2])
    o = AdamW(m.parameters(), 1e-3, weight_decay=0.3)
    return job(m, o, CE(), d, batch=25, epochs=24, seed=seed)


@case(["leakage"], ("optimism", -1, 0.04), SEEN, "subtle")
def lkg_digits_twice_subtle(seed: int, fixed: bool) -> Any:
    """Let six in ten validation images be in training as well."""
    d = data.digits(seed, n=200, noise=5.0)
    if not fixed:
        near(d, 0.6, 0.0, seed)
    m = nets.mlp([64, 64, 10])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=15, seed=seed)


@case(["leakage"], ("optimism", -1, 0.1), SEEN)
def lkg_fashion_from_one_array(seed: int, fixed: bool) -> Any:
    """Split by two random choices from one array of clothes, so that most of validation was trained on."""
    d = sets.fashion(seed, 150, flat=True)
    if not fixed:
        near(d, 1.0, 0.0, seed)
    m = nets.mlp([196, 64, 10])
    return job(m, SGD(m.parameters(), 0.01, momentum=0.9), CE(), d, batch=25, epochs=14, seed=seed)
