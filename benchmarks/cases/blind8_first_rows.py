"""Eighth blind set, first half: rows and labels.

Every fault is proved by a twin that does clearly better (`python benchmarks/faultbench.py --blind8 A --prove`).
"""

from __future__ import annotations

from typing import Any

from faultbench.lib import BCE, CE, MSE, SGD, STUCK, UNSTABLE, Adam, data, job, nets, np, torch

from benchmarks.cases.blind7_parts import conv1d
from benchmarks.cases.blind8_parts import case

CORRUPT = [*UNSTABLE, *STUCK, "unscaled_inputs", "dead_units", "lr_too_high", "overfitting"]
RARE = ["undertrained", "underfitting", "overfitting"]


@case("A", [("bad_features", "unscaled_inputs")], ("test_score", 1, 0.3), CORRUPT)
def bft_sentinel_999(seed: int, fixed: bool) -> Any:
    """Leave lost readings of a series coded as 9999."""
    d = data.series(seed, n=600, T=12)
    if not fixed:
        g = torch.Generator().manual_seed(seed + 61)
        for a in ("x", "xv", "xt"):
            v = getattr(d, a)
            v[torch.rand(v.shape, generator=g) < 0.015] = 9999.0
    m = nets.mlp([12, 48, 1], "leaky")
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=25, epochs=15, seed=seed)


@case("A", ["bad_features"], ("test_score", 1, 0.3), [*CORRUPT, "exploding_gradient"])
def bft_log_of_zero(seed: int, fixed: bool) -> Any:
    """Take the logarithm of counts of which one in fifty is zero: the inputs hold -inf."""
    r = np.random.default_rng(seed + 3)
    counts = r.integers(0, 50, (1500, 6)).astype(float)
    y = np.log1p(counts) @ np.array([1.0, -1.0, 0.5, 0.8, -0.6, 0.3]) + r.normal(0, 0.2, 1500)
    with np.errstate(divide="ignore"):
        features = np.log1p(counts) if fixed else np.log(counts)
    d = data.split(features - 3.0, y, 600, 300, seed, 0, None, True)
    m = nets.mlp([6, 48, 48, 1])
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=15, seed=seed)


@case("A", ["class_imbalance"], ("test_bal", 1, 0.03), RARE, "subtle")
def imb_rare_positives(seed: int, fixed: bool) -> Any:
    """Learn one positive in 15 without weighting it."""
    d = data.hardclass(seed, n=2600, d=12, inf=6, sep=2.0)
    d = data.binary(data.imbalance(d, {0: 900, 1: 64}, seed))
    m = nets.mlp([12, 32, 1])
    loss = BCE(pos_weight=torch.tensor(6.0) if fixed else None)
    return job(m, Adam(m.parameters(), 3e-3), loss, d, batch=32, epochs=12, task="binary", seed=seed)


@case("A", ["class_imbalance"], ("test_bal", 1, 0.03), RARE, "subtle")
def imb_weights_upside_down(seed: int, fixed: bool) -> Any:
    """Weight the classes by their frequency, where its inverse was meant."""
    d = data.digits(seed, n=1200)
    counts = {c: 10 if c == 8 else 100 for c in range(10)}
    d = data.imbalance(d, counts, seed)
    share = torch.tensor([float(min(n, len(d.y))) for n in counts.values()]) / 100
    m = nets.mlp([64, 64, 10])
    w = 1 / share if fixed else share
    return job(m, Adam(m.parameters(), 2e-3), CE(weight=w), d, batch=32, epochs=12, seed=seed)


@case("A", ["label_noise"], ("val_loss", -1, 0.15), ["converged_early", "plateau", "overfitting"], "subtle")
def lbn_moons_subtle(seed: int, fixed: bool) -> Any:
    """Learn two moons of which 13 % carry the other label, in training and validation."""
    d = data.moons(seed, n=600, noise=0.12)
    if not fixed:
        d.y = data.flip_labels(d.y, 0.13, 2, seed)
        d.yv = data.flip_labels(d.yv, 0.13, 2, seed + 1)
    m = nets.mlp([2, 16, 16, 2], "tanh")
    return job(m, Adam(m.parameters(), 1e-2), CE(), d, batch=32, epochs=25, seed=seed)


@case("A", ["label_noise"], ("val_loss", -1, 0.15), ["converged_early", "plateau", "overfitting"], "subtle")
def lbn_neighbours_subtle(seed: int, fixed: bool) -> Any:
    """Learn waves of which annotators took 14 % for those of the next frequency."""
    d = data.waves(seed, n=700, T=32, k=4, noise=0.3)
    if not fixed:
        d.y = data.flip_labels(d.y, 0.14, 4, seed, pairs=[1, 2, 3, 2])
        d.yv = data.flip_labels(d.yv, 0.14, 4, seed + 1, pairs=[1, 2, 3, 2])
    m = conv1d(4, 8)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=15, seed=seed)


@case("A", ["leakage"], ("optimism", -1, 0.1), ["overfitting", "converged_early"], "blatant")
def lkg_val_from_train_table(seed: int, fixed: bool) -> Any:
    """Build the validation loader from the training table."""
    d = data.hardclass(seed, n=120, d=40, inf=8, sep=1.0)
    if not fixed:
        d.xv, d.yv = d.x, d.y
    m = nets.mlp([40, 96, 2])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=20, epochs=30, seed=seed)


@case("A", ["leakage"], ("optimism", -1, 0.1), ["overfitting", "converged_early"], "blatant")
def lkg_bootstrap_before_split(seed: int, fixed: bool) -> Any:
    """Draw rows with replacement before the split: most of validation is also in training."""
    d = data.friedman(seed, n=80, noise=1.0)
    if not fixed:
        r = np.random.default_rng(seed + 7)
        i = torch.as_tensor(r.integers(0, 80, 500))
        d.x, d.y, d.xv, d.yv = d.x[i[:380]], d.y[i[:380]], d.x[i[380:]], d.y[i[380:]]
    m = nets.mlp([10, 96, 1])
    epochs = 100 if fixed else 25
    return job(m, SGD(m.parameters(), 0.03, momentum=0.9), MSE(), d, batch=20, epochs=epochs, seed=seed)
