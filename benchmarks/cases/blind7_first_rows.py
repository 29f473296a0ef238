"""Seventh blind set, first half: inputs, targets, labels, rare classes, splits and order."""

from __future__ import annotations

from typing import Any

from faultbench.lib import CE, MSE, SGD, STUCK, UNSTABLE, Adam, data, job, nets, np, torch

from benchmarks.cases.blind7_parts import Y, case, every

SCALE = [
    *STUCK,
    *UNSTABLE,
    "dead_units",
    "lr_too_high",
    "lr_too_low",
    "saturated_units",
    "vanishing_gradient",
]
ORDER = [*UNSTABLE, "undertrained", "train_val_shift", "lr_too_high", "overfitting"]


@case("A", ["bad_features"], ("test_score", 1, 0.3), [*UNSTABLE, *STUCK, "dead_units", "lr_too_high",
      "unscaled_inputs"], "blatant")  # fmt: skip
def bft_nothing_by_nothing(seed: int, fixed: bool) -> Any:
    """Add the ratio of two counts as a feature: where both are zero it is NaN."""
    d = data.friedman(seed, n=500, noise=0.5)
    r = np.random.default_rng(seed + 3)

    def with_ratio(x: Any) -> Any:
        a, b = (torch.as_tensor(r.poisson(4.0, (len(x), 1))).float() for _ in range(2))
        a = torch.minimum(a, b)
        return torch.cat([x, a / (b.clamp(min=1) if fixed else b)], 1)

    every(d, with_ratio)
    m = nets.mlp([11, 48, 1])
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=25, epochs=15, seed=seed)


@case("A", ["unscaled_inputs"], ("test_score", 1, 0.1), SCALE)
def uns_kelvin(seed: int, fixed: bool) -> Any:
    """Feed temperatures in kelvin, around 293 and a few degrees apart."""
    d = data.friedman(seed, n=500, noise=0.5)
    every(d, lambda v: v if fixed else 293.0 + 4.0 * v)
    m = nets.mlp([10, 48, 48, 1], "elu")
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=25, epochs=20, seed=seed)


@case("A", ["unscaled_inputs"], ("test_score", 1, 0.03), [*SCALE, "class_imbalance"])
def uns_cells_as_measured(seed: int, fixed: bool) -> Any:
    """Feed areas of 2500 beside fractions of 0.1 into a tanh net, as the table of cells has them."""
    d = data.cancer(seed, scale="std" if fixed else None)
    m = nets.mlp([30, 24, 24, 2], "tanh")
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=15, seed=seed)


@case(
    "A",
    ["unscaled_targets"],
    ("test_score", 1, 0.3),
    [*STUCK, *UNSTABLE, "lr_too_low", "dead_units"],
    "blatant",
)
def unt_prices(seed: int, fixed: bool) -> Any:
    """Predict prices in units of money, 100000 and more, by the squared error."""
    d = data.friedman(seed, n=600, noise=1.0, yscale=fixed)
    if not fixed:
        every(d, lambda v: 9000.0 * v + 40000.0, Y)
    m = nets.mlp([10, 64, 32, 1])
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case(
    "A",
    ["label_noise"],
    ("val_loss", -1, 0.15),
    ["converged_early", "plateau", "overfitting", "underfitting"],
)
def lbn_digits_that_look_alike(seed: int, fixed: bool) -> Any:
    """Take labels from a hand that confuses 3 with 8, 4 with 9 and 1 with 7 in three of ten cases."""
    d = data.digits(seed, n=900)
    if not fixed:
        pairs = [0, 7, 2, 8, 9, 5, 6, 1, 3, 4]
        d.y = data.flip_labels(d.y, 0.3, 10, seed, pairs)
        d.yv = data.flip_labels(d.yv, 0.3, 10, seed + 1, pairs)
    m = nets.mlp([64, 24, 10], drop=0.1)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case("A", [("shuffled_labels", "label_noise")], ("test_score", 1, 0.4), [*STUCK, "label_noise", "overfitting",
      "bad_features", "converged_early"], "blatant")  # fmt: skip
def shl_header_read_as_a_row(seed: int, fixed: bool) -> Any:
    """Read the labels from the line below: the header counted as a row in one file and not in the other."""
    d = data.waves(seed, n=600, T=24, k=4, noise=0.4)
    if not fixed:
        d.y, d.yv = d.y.roll(1), d.yv.roll(1)
    m = nets.mlp([24, 64, 32, 4], flat=True)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=15, seed=seed)


@case(
    "A",
    ["class_imbalance"],
    ("test_bal", 1, 0.05),
    ["undertrained", "underfitting", "overfitting", "converged_early"],
)
def imb_three_in_a_hundred(seed: int, fixed: bool) -> Any:
    """Learn a class that three rows in a hundred have, and that overlaps with the other."""
    d = data.hardclass(seed, n=3000, d=10, inf=5, sep=1.0, nv=1500)
    d = data.imbalance(d, {0: 776, 1: 24}, seed)
    m = nets.mlp([10, 16, 2])
    w = torch.tensor([1.0, 25.0]) if fixed else None
    return job(m, Adam(m.parameters(), 3e-3), CE(weight=w), d, batch=40, epochs=15, seed=seed)


@case("A", ["leakage"], ("optimism", -1, 0.1), ["converged_early", "train_val_shift"], "blatant")
def lkg_date_of_closing(seed: int, fixed: bool) -> Any:
    """Keep a column that is filled in after the customer has left, and is empty for those still to be judged."""
    d = data.hardclass(seed, n=500, d=12, inf=4, flip=0.3, sep=0.8)
    g = torch.Generator().manual_seed(seed + 5)
    noise = [0.2 * torch.randn(len(y), 1, generator=g) for y in (d.y, d.yv, d.yt)]
    if not fixed:
        d.x, d.xv = (torch.cat([x, y[:, None] * 2.0 - 1 + e], 1) for x, y, e in
                     ((d.x, d.y, noise[0]), (d.xv, d.yv, noise[1])))  # fmt: skip
        d.xt = torch.cat([d.xt, noise[2]], 1)
    m = nets.mlp([d.x.shape[1], 24, 2])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=8, seed=seed)


@case("A", ["train_val_shift"], ("test_score", 1, 0.05), ["overfitting", "bad_features"], "subtle")
def shf_pictures_of_the_studio(seed: int, fixed: bool) -> Any:
    """Train on pictures of a studio; those of the street have twice the noise."""
    d = data.shapes(seed, n=500, noise=0.45, k=4)
    if not fixed:
        d.x, d.y = (lambda s: (s.x, s.y))(data.shapes(seed + 100, n=500, noise=0.2, k=4))
    m = nets.cnn(4, (8, 16), hw=12, drop=0.2)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=9, seed=seed)


@case("A", ["unshuffled_data"], ("test_score", 1, 0.04), ORDER)
def ush_one_site_after_the_other(seed: int, fixed: bool) -> Any:
    """Read the rows of one site, and then those of another, whose level is higher; no column tells the site."""
    d = data.friedman(seed, n=600, noise=0.5)
    for y in (d.y, d.yv, d.yt):
        y[: len(y) // 2] -= 0.6
        y[len(y) // 2 :] += 0.6
    m = nets.mlp([10, 48, 48, 1])
    return job(m, SGD(m.parameters(), 0.05), MSE(), d, batch=25, epochs=15, seed=seed, shuffle=fixed)


@case("A", ["unshuffled_data"], ("test_score", 1, 0.02), [*ORDER, "batch_too_small"])
def ush_copies_side_by_side(seed: int, fixed: bool) -> Any:
    """Write sixteen noisy copies of each row after each other: a batch of 32 holds two rows."""
    d = data.friedman(seed, n=150, noise=0.5)
    g = torch.Generator().manual_seed(seed + 5)
    d.y = d.y.repeat_interleave(16, 0)
    d.x = d.x.repeat_interleave(16, 0)
    d.x = d.x + 0.15 * torch.randn(d.x.shape, generator=g)
    m = nets.mlp([10, 48, 1])
    o = SGD(m.parameters(), 0.05, momentum=0.5)
    return job(m, o, MSE(), d, batch=32, epochs=10, seed=seed, shuffle=fixed)
