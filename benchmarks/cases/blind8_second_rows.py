"""Eighth blind set, second half: rows and columns (siblings of shf_, shl_, uns_, unt_ and ush_)."""

from __future__ import annotations

from typing import Any

from faultbench.lib import CE, MSE, SGD, STUCK, UNSTABLE, Adam, data, job, nets, np, torch

from benchmarks.cases.blind8_parts import case
from benchmarks.cases.blind8_second_parts import Y, every


@case("B", ["train_val_shift"], ("test_score", 1, 0.03), ["overfitting"], "subtle")
def shf_corner_of_plane(seed: int, fixed: bool) -> Any:
    """Sample the training rows where two columns are low, and validate everywhere."""
    d = data.hardclass(seed, n=2400, d=8, inf=6, k=3, sep=1.2)
    k = torch.arange(400) if fixed else ((d.x[:, 0] < 0.2) & (d.x[:, 1] < 0.2)).nonzero().flatten()[:400]
    d.x, d.y = d.x[k], d.y[k]
    m = nets.mlp([8, 64, 64, 3])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=20, seed=seed)


@case("B", ["train_val_shift"], ("test_score", 1, 0.03), ["overfitting"], "subtle")
def shf_other_camera(seed: int, fixed: bool) -> Any:
    """Train on pictures of one camera, and validate on those of a darker and paler one."""
    d = data.digits(seed, n=700, image=True)
    every(d, lambda v: 0.65 * v - 0.35, ("x", "xv", "xt") if fixed else ("xv", "xt"))
    m = nets.cnn(10, (8, 16))
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=10, seed=seed)


TORN = [*STUCK, "label_noise", "overfitting", "bad_features"]


@case("B", [("shuffled_labels", "label_noise")], ("test_score", 1, 0.4), TORN, "blatant")
def shl_topics(seed: int, fixed: bool) -> Any:
    """Sort the texts without their labels."""
    d = data.topics(seed, n=600, mix=0.4)
    if not fixed:
        d.y, d.yv = data.permute(d.y, seed), data.permute(d.yv, seed + 1)
    m = nets.BagOfWords(200, 24, 4, hidden=32)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=15, seed=seed)


@case("B", [("shuffled_labels", "label_noise")], ("test_score", 1, 0.4), TORN, "blatant")
def shl_off_by_one_row(seed: int, fixed: bool) -> Any:
    """Read the targets with one header line too few: each row has that of the row before."""
    d = data.linreg(seed, n=400, d=8)
    if not fixed:
        d.y, d.yv = d.y.roll(1, 0), d.yv.roll(1, 0)
    m = nets.mlp([8, 48, 1])
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=20, seed=seed)


BLOWN = [*UNSTABLE, "lr_too_high", "dead_units", "bad_features"]


@case("B", ["unscaled_inputs"], ("test_score", 1, 0.2), BLOWN, "blatant")
def uns_products_nan(seed: int, fixed: bool) -> Any:
    """Add the products of columns of 0 to 30 as they are: NaN in the first epoch."""
    r = np.random.default_rng(seed + 3)
    x = r.uniform(0, 30, (900, 3))
    products = [x[:, i] * x[:, j] for i in range(3) for j in range(i, 3)]
    y = np.sin(x[:, 0] / 5) + x[:, 1] * x[:, 2] / 400 + r.normal(0, 0.1, 900)
    d = data.split(np.column_stack([x, *products]), y, 400, 200, seed, 0, "std" if fixed else None, True)
    m = nets.mlp([9, 32, 1])
    return job(m, SGD(m.parameters(), 0.02), MSE(), d, batch=32, epochs=20, seed=seed)


@case("B", ["unscaled_inputs"], ("test_score", 1, 0.2), BLOWN, "blatant")
def uns_time_in_seconds(seed: int, fixed: bool) -> Any:
    """Give one of ten columns in seconds in place of days."""
    d = data.friedman(seed, n=500, noise=0.5)
    if not fixed:
        every(d, lambda v: torch.cat([v[:, :5], 86400 * v[:, 5:6], v[:, 6:]], 1))
    m = nets.mlp([10, 64, 1])
    return job(m, SGD(m.parameters(), 0.03), MSE(), d, batch=32, epochs=20, seed=seed)


RAW = [*STUCK, *UNSTABLE, "dead_units", "lr_too_high"]


@case("B", ["unscaled_inputs"], ("test_score", 1, 0.2), RAW, "blatant")
def uns_cancer_raw(seed: int, fixed: bool) -> Any:
    """Feed the raw columns of the cancer data (0.01 to 4000) to a ReLU net with SGD."""
    d = data.cancer(seed, scale="std" if fixed else None)
    m = nets.mlp([30, 32, 2])
    return job(m, SGD(m.parameters(), 0.1 if fixed else 0.01), CE(), d, batch=16, epochs=20, seed=seed)


@case("B", ["unscaled_inputs"], ("test_score", 1, 0.2), RAW, "blatant")
def uns_microvolts(seed: int, fixed: bool) -> Any:
    """Feed series in microvolts, some thousand large and off zero, to a net with SGD."""
    d = data.waves(seed, n=500, T=24, k=3, noise=0.3)
    if not fixed:
        every(d, lambda v: 4000 + 2000 * v)
    m = nets.mlp([24, 48, 3], flat=True)
    return job(m, SGD(m.parameters(), 0.1 if fixed else 0.01), CE(), d, batch=16, epochs=20, seed=seed)


AFAR = [*STUCK, "lr_too_low", "exploding_gradient", "train_val_shift"]


@case("B", ["unscaled_targets"], ("test_score", 1, 0.3), AFAR)
def unt_offset_year(seed: int, fixed: bool) -> Any:
    """Predict a year of about 1995 as it is."""
    d = data.friedman(seed, n=500, noise=0.5)
    if not fixed:
        every(d, lambda v: 1995 + 10 * v, Y)
    m = nets.mlp([10, 48, 1])
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=25, seed=seed)


@case("B", ["unscaled_targets"], ("test_score", 1, 0.3), AFAR)
def unt_scale_series(seed: int, fixed: bool) -> Any:
    """Forecast sales of some 40,000 from standardised inputs."""
    d = data.series(seed, n=500, T=12)
    if not fixed:
        every(d, lambda v: 2000 * v + 40000, Y)
    d = every(d, lambda v: v[:, None].transpose(1, 2).contiguous())
    m = nets.SeqNet("gru", 1, 24, 1)
    return job(m, Adam(m.parameters(), 5e-3), MSE(), d, batch=32, epochs=15, seed=seed)


@case("B", ["unshuffled_data"], ("test_score", 1, 0.06),
      [*UNSTABLE, "undertrained", "train_val_shift", "lr_too_high", "overfitting"], "blatant")  # fmt: skip
def ush_shapes_sorted(seed: int, fixed: bool) -> Any:
    """Read the pictures folder by folder, without shuffling."""
    d = data.sort_by_label(data.shapes(seed, n=1000, noise=0.2))
    m = nets.mlp([144, 64, 4], flat=True)
    return job(m, SGD(m.parameters(), 0.2), CE(), d, batch=32, epochs=15, seed=seed, shuffle=fixed)


@case("B", ["unshuffled_data"], ("test_score", 1, 0.06),
      [*UNSTABLE, "undertrained", "train_val_shift", "lr_too_high", "overfitting"], "blatant")  # fmt: skip
def ush_two_files(seed: int, fixed: bool) -> Any:
    """Join two files, one with the first half of the classes and one with the other, and do not shuffle."""
    d = data.digits(seed, image=True)
    late = torch.argsort((d.y >= 5).int(), stable=True)
    d.x, d.y = d.x[late], d.y[late]
    m = nets.cnn(10, (8, 16))
    return job(m, SGD(m.parameters(), 0.1), CE(), d, batch=32, epochs=12, seed=seed, shuffle=fixed)


@case("B", ["unshuffled_data"], ("test_score", 1, 0.05), [*UNSTABLE, "undertrained", "train_val_shift",
      "lr_too_high"])  # fmt: skip
def ush_linreg_sorted(seed: int, fixed: bool) -> Any:
    """Sort the rows by the target, and do not shuffle."""
    d = every(data.sort_by_label(data.linreg(seed, n=500, d=8, noise=1.0)), lambda v: v / 3, Y)
    m = nets.mlp([8, 48, 1])
    return job(m, SGD(m.parameters(), 0.1), MSE(), d, batch=32, epochs=12, seed=seed, shuffle=fixed)


@case("B", ["unshuffled_data"], ("test_score", 1, 0.05), [*UNSTABLE, "undertrained", "train_val_shift",
      "lr_too_high"])  # fmt: skip
def ush_site_by_site(seed: int, fixed: bool) -> Any:
    """Read the rows site by site, each with a level of its own that no column shows, and do not shuffle."""
    d = data.friedman(seed, n=600, noise=0.5)
    g = torch.Generator().manual_seed(seed + 9)
    sites = [torch.randint(0, 4, getattr(d, a).shape, generator=g) for a in Y]
    for a, site in zip(Y, sites, strict=True):
        setattr(d, a, getattr(d, a) + 0.35 * (site - 1.5))
    by = torch.argsort(sites[0][:, 0], stable=True)
    d.x, d.y = d.x[by], d.y[by]
    m = nets.mlp([10, 64, 1])
    return job(m, SGD(m.parameters(), 0.05), MSE(), d, batch=32, epochs=15, seed=seed, shuffle=fixed)
