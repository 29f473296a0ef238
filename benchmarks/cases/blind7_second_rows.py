"""Seventh blind set, second half: inputs, targets, labels, rare classes, splits and order."""

from __future__ import annotations

from typing import Any

from faultbench.lib import CE, MSE, SGD, STUCK, Adam, data, job, nets, torch

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases.blind7_first_rows import ORDER, SCALE
from benchmarks.cases.blind7_parts import Y, case, columns_r2, conv1d, every


@case("B", ["bad_features"], ("test_score", 1, 0.2), [*STUCK, "overfitting", "label_noise"])
def bft_each_row_for_itself(seed: int, fixed: bool) -> Any:
    """Standardise each series by its own mean, which takes away what is asked for: the sign of the sum."""
    d = data.running_sign(seed, n=600, T=10)
    if not fixed:
        every(d, lambda v: (v - v.mean(1, keepdim=True)) / v.std(1, keepdim=True))
    m = nets.SeqNet("gru", 1, 24, 2)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=25, epochs=12, seed=seed)


@case("B", ["unscaled_inputs"], ("test_score", 1, 0.2), [*SCALE, "bad_features"], "blatant")
def uns_bytes_into_convolutions(seed: int, fixed: bool) -> Any:
    """Feed pixels from 0 to 255 to a convolutional net that learns by SGD with momentum."""
    d = data.shapes(seed, n=500, noise=0.25, k=4)
    if not fixed:
        every(d, lambda v: (100 + 70 * v).clamp(0, 255))
    m = nets.cnn(4, (8, 16), hw=12)
    return job(m, SGD(m.parameters(), 0.02, momentum=0.9), CE(), d, batch=32, epochs=10, seed=seed)


@case(
    "B", ["unscaled_inputs"], ("test_score", 1, 0.3), [*SCALE, "bad_features", "unscaled_targets"], "blatant"
)
def uns_seconds_since_1970(seed: int, fixed: bool) -> Any:
    """Keep the time of the measurement as seconds since 1970 beside columns of one and two."""
    d = data.friedman(seed, n=500, noise=0.5)
    if not fixed:
        for v in (d.x, d.xv, d.xt):
            v[:, 7] = 1.6e9 + 3e7 * v[:, 7]
    m = nets.mlp([10, 48, 1])
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=25, epochs=20, seed=seed)


@case("B", ["unscaled_targets"], ("test_score", 1, 0.1), [*STUCK, "lr_too_low"])
def unt_pascals_beside_shares(seed: int, fixed: bool) -> Any:
    """Predict a share and a pressure of thousands of pascals by one squared error: the share is not heard."""
    d = data.friedman(seed, n=600, noise=0.5)
    for x, y in (("x", "y"), ("xv", "yv"), ("xt", "yt")):
        v = getattr(d, x)
        second = torch.sin(2 * v[:, :1]) * v[:, 5:6] + v[:, 6:7]
        setattr(d, y, torch.cat([getattr(d, y), second * (0.8 if fixed else 2000.0)], 1))
    m = nets.mlp([10, 64, 64, 2])
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=25, metric=columns_r2, seed=seed)


@case("B", ["label_noise"], ("val_loss", -1, 0.15), ["converged_early", "plateau", "overfitting", "underfitting"],
      "subtle")  # fmt: skip
def lbn_counted_twice(seed: int, fixed: bool) -> Any:
    """Regress totals, of which one in twenty-five was booked twice."""
    d = data.friedman(seed, n=700, noise=0.5, yscale=False)
    g = torch.Generator().manual_seed(seed + 5)
    if not fixed:
        for v in (d.y, d.yv):
            v *= 1 + (torch.rand(v.shape, generator=g) < 0.04).float()
    every(d, lambda v: (v - 14.4) / 4.9, Y)
    m = nets.mlp([10, 32, 1])
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case("B", [("shuffled_labels", "label_noise")], ("test_score", 1, 0.4), [*STUCK, "label_noise", "overfitting",
      "bad_features", "converged_early"], "blatant")  # fmt: skip
def shl_files_in_the_order_of_names(seed: int, fixed: bool) -> Any:
    """List pictures by sorted names, 1, 10, 100, 2, and read their labels by number."""
    d = data.digits(seed, n=700, image=True)
    if not fixed:
        for a in ("x", "xv"):
            v = getattr(d, a)
            setattr(d, a, v[torch.tensor(sorted(range(len(v)), key=str))])
    m = nets.cnn(10, (8, 16))
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=8, seed=seed)


@case("B", ["class_imbalance"], ("test_bal", 1, 0.04), ["undertrained", "underfitting", "overfitting",
      "converged_early"], "subtle")  # fmt: skip
def imb_two_rare_waves(seed: int, fixed: bool) -> Any:
    """Tell five noisy waves apart, two of which were recorded twelve times each."""
    d = data.waves(seed, n=1400, T=32, k=5, noise=1.2)
    d = data.imbalance(d, {0: 240, 1: 12, 2: 240, 3: 12, 4: 240}, seed)
    m = conv1d(5, 10)
    w = torch.tensor([1.0, 20.0, 1.0, 20.0, 1.0]) if fixed else None
    return job(m, Adam(m.parameters(), 3e-3), CE(weight=w), d, batch=32, epochs=12, seed=seed)


@case(
    "B", ["leakage"], ("optimism", -1, 0.08), ["overfitting", "converged_early", "train_val_shift"], "subtle"
)
def lkg_balanced_before_the_split(seed: int, fixed: bool) -> Any:
    """Repeat the rare class until both are as large, and split afterwards: copies lie on both sides."""
    d = sets.table(seed, "churn_modelling", 500)
    pool, y = (torch.cat(v) for v in ((d.x, d.xv), (d.y, d.yv)))
    g = torch.Generator().manual_seed(seed + 5)

    def balanced(x: Any, y: Any) -> Any:
        rare = (y == 1).nonzero().flatten()
        i = torch.cat([(y == 0).nonzero().flatten(), rare.repeat(4)])
        i = i[torch.randperm(len(i), generator=g)]
        return x[i], y[i]

    if fixed:
        (d.x, d.y), (d.xv, d.yv), (d.xt, d.yt) = (
            balanced(*v) for v in ((d.x, d.y), (d.xv, d.yv), (d.xt, d.yt))
        )
    else:
        pool, y = balanced(pool, y)
        d.x, d.y, d.xv, d.yv = pool[:800], y[:800], pool[800:], y[800:]
        d.xt, d.yt = balanced(d.xt, d.yt)
    m = nets.mlp([d.x.shape[1], 64, 2])
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=20, seed=seed)


@case(
    "B",
    ["train_val_shift"],
    ("val_score", 1, 0.2),
    ["overfitting", "unscaled_inputs", "bad_features"],
    "blatant",
)
def shf_validation_not_scaled(seed: int, fixed: bool) -> Any:
    """Standardise the training rows and forget those of validation."""
    d = data.wine(seed)
    if not fixed:
        mean, std = data.wine(seed, scale=None).x.mean(0), data.wine(seed, scale=None).x.std(0)
        d.xv = d.xv * std + mean
    m = nets.mlp([13, 24, 3])
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=20, epochs=15, seed=seed)


@case("B", ["unshuffled_data"], ("test_score", 1, 0.05), [*ORDER, "class_imbalance"])
def ush_batches_of_one_class(seed: int, fixed: bool) -> Any:
    """Write a batch sampler that gives batches of a single class each."""
    d = data.shapes(seed, n=600, noise=0.25, k=4)
    g = torch.Generator().manual_seed(seed + 5)
    rows = torch.utils.data.TensorDataset(d.x, d.y)
    pure = [i.tolist() for c in range(4) for i in (d.y == c).nonzero().flatten().split(20)]
    order = torch.randperm(len(pure), generator=g).tolist()
    loader = torch.utils.data.DataLoader(rows, batch_sampler=[pure[i] for i in order])
    m = nets.cnn(4, (8, 16), hw=12)
    o = SGD(m.parameters(), 0.02, momentum=0.9)
    return job(m, o, CE(), d, batch=20, epochs=10, seed=seed, loader=None if fixed else loader)


@case("B", ["unshuffled_data"], ("test_score", 1, 0.02), ORDER, "subtle")
def ush_by_size(seed: int, fixed: bool) -> Any:
    """Read rows that are sorted by one of their columns, the size, without shuffling."""
    d = data.friedman(seed, n=600, noise=0.5)
    i = d.x[:, 3].argsort()
    d.x, d.y = d.x[i], d.y[i]
    m = nets.mlp([10, 48, 48, 1])
    return job(m, Adam(m.parameters(), 0.01), MSE(), d, batch=20, epochs=15, seed=seed, shuffle=fixed)
