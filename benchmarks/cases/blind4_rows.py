"""Fourth blind set: faults of the rows, their targets and their order (see `blind4_rates.py`)."""

from __future__ import annotations

from typing import Any

from faultbench.lib import BCE, CE, MSE, SGD, Adam, AdamW, data, job, nets, nn, torch

from benchmarks.cases import blind4_sets as sets
from benchmarks.cases.blind3_parts import BROKEN, LOST, NOISE, ORDER, SCALE, cosine
from benchmarks.cases.blind4_parts import (
    LOSS,
    ROUGH,
    SCORE,
    Crossed,
    Encoder,
    Neighbours,
    apart,
    case,
    sliced,
)

RARE = ["undertrained", "underfitting", "overfitting", "plateau"]
LEAK, FREE = ("optimism", -1, 0.1), ["overfitting", "converged_early", "train_val_shift", "label_noise"]


@case("A", ["unscaled_inputs"], SCORE, SCALE)
def uns_seconds_since_1970(seed: int, fixed: bool) -> Any:
    d = sets.traffic(seed, 700)
    if not fixed:
        sets.inputs(d, lambda v: torch.cat([1.7e9 + 4e4 * v[:, :1], v[:, 1:]], 1))
    m = nets.mlp([6, 48, 48, 1])
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=15, seed=seed)


@case("A", ["unscaled_inputs"], SCORE, SCALE, "subtle")
def uns_millivolts(seed: int, fixed: bool) -> Any:
    d = data.waves(seed, 600, T=32, k=4, noise=0.4)
    if not fixed:
        sets.inputs(d, lambda v: v / 1000)
    m = nn.Sequential(nn.Conv1d(1, 16, 7, padding=3), nn.ReLU(), nn.Conv1d(16, 16, 7, padding=3), nn.ReLU(),
                      nn.AdaptiveAvgPool1d(4), nn.Flatten(), nn.Linear(64, 4))  # fmt: skip
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=30, epochs=12, seed=seed)


@case("B", ["unscaled_inputs"], SCORE, SCALE)
def uns_degrees_and_grams(seed: int, fixed: bool) -> Any:
    d = sets.pendulum(seed, 600)
    if not fixed:
        sets.inputs(
            d, lambda v: v * torch.tensor([100.0, 1.0, 2000.0, 0.01]) + torch.tensor([180.0, 0, 5000.0, 0])
        )
    m = nets.mlp([4, 64, 64, 2])
    return job(m, SGD(m.parameters(), 0.05 if fixed else 1e-7, momentum=0.5), MSE(), d, batch=25, epochs=20, seed=seed,
               loop=sliced())  # fmt: skip


@case("B", ["unscaled_inputs"], SCORE, SCALE, "blatant")
def uns_sixteen_bit_pictures(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, 600, k=4, noise=0.25)
    if not fixed:
        sets.inputs(d, lambda v: (v + 1) * 20_000)
    m = nets.cnn(4, (12, 24), hw=12)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=30, epochs=10, seed=seed)


@case("A", ["unscaled_targets"], ("test_score", 1, 0.2), [*ROUGH, "lr_too_low", "exploding_gradient"])
def unt_energy_in_millijoule(seed: int, fixed: bool) -> Any:
    d = sets.pendulum(seed, 600)
    if not fixed:
        sets.targets(d, lambda v: v * 5000 + 8000)
    m = nets.mlp([4, 48, 48, 2])
    return job(m, Adam(m.parameters(), 3e-3), nn.HuberLoss(), d, batch=25, epochs=15, seed=seed)


@case(
    "B",
    ["unscaled_targets"],
    ("test_score", 1, 0.2),
    [*ROUGH, "lr_too_low", "exploding_gradient", "train_val_shift"],
)
def unt_years_of_the_series(seed: int, fixed: bool) -> Any:
    d = data.friedman(seed, 500, noise=0.5)
    if not fixed:
        sets.targets(d, lambda v: 2000 + 8 * v)
    m = nets.mlp([10, 48, 48, 1], "gelu")
    return job(m, AdamW(m.parameters(), 4e-3), nn.L1Loss(), d, batch=25, epochs=18, seed=seed)


@case("A", ["label_noise"], ("val_loss", -1, 0.15), NOISE)
def lbn_quarter_of_the_counts(seed: int, fixed: bool) -> Any:
    d = sets.graphs(seed, 700, flips=0.02)
    if not fixed:
        d.y, d.yv = data.flip_labels(d.y, 0.25, 3, seed), data.flip_labels(d.yv, 0.25, 3, seed + 1)
    m = Neighbours()
    o = Adam(m.parameters(), 8e-3)
    return job(m, o, CE(), d, batch=30, epochs=15, seed=seed, scheduler=cosine(o, 15))


@case("B", ["label_noise"], ("val_loss", -1, 0.1), NOISE, "subtle")
def lbn_topics_taken_for_another(seed: int, fixed: bool) -> Any:
    d = data.topics(seed, 800, k=4, mix=0.4)
    if not fixed:
        d.y, d.yv = data.flip_labels(d.y, 0.15, 4, seed), data.flip_labels(d.yv, 0.15, 4, seed + 1)
    m = nets.BagOfWords(200, 24, 4)
    o = Adam(m.parameters(), 1e-2)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed, scheduler=cosine(o, 12))


@case("A", [("shuffled_labels", "label_noise")], ("test_score", 1, 0.3), LOST)
def shl_pictures_in_another_order(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, 700, k=4, noise=0.25)
    if not fixed:
        d.y, d.yv = data.permute(d.y, seed), data.permute(d.yv, seed + 1)
    m = apart(4, 16, most=True)
    return job(m, Adam(m.parameters(), 4e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case("B", [("shuffled_labels", "label_noise")], ("test_score", 1, 0.3), LOST)
def shl_sums_of_other_rows(seed: int, fixed: bool) -> Any:
    d = sets.pendulum(seed, 600)
    if not fixed:
        d.y, d.yv = data.permute(d.y, seed), data.permute(d.yv, seed + 1)
    m = nets.mlp([4, 64, 64, 2])
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=30, epochs=20, seed=seed, loop=sliced())


@case("A", ["class_imbalance"], ("test_bal", 1, 0.05), RARE)
def imb_clicks_are_rare(seed: int, fixed: bool) -> Any:
    d = sets.clicks(seed, 2000, shift=6.5, noise=1.0)
    m = Crossed()
    share = float(d.y.mean())
    w = torch.tensor([(1 - share) / share]) if fixed else None
    o = AdamW(m.parameters(), 4e-3, weight_decay=0.3)
    return job(m, o, BCE(pos_weight=w), d, batch=50, epochs=5, task="binary", seed=seed)


@case("B", ["class_imbalance"], ("test_bal", 1, 0.05), RARE)
def imb_two_kinds_of_mixture(seed: int, fixed: bool) -> Any:
    d = sets.mixture(seed, 3500, apart=1.1)
    d = data.imbalance(d, {0: 300, 1: 300, 2: 300, 3: 300, 4: 9, 5: 9}, seed)
    m = nets.mlp([10, 48, 6], "tanh")
    w = torch.tensor([1.0, 1, 1, 1, 25, 25]) if fixed else None
    return job(m, Adam(m.parameters(), 3e-3), CE(weight=w), d, batch=32, epochs=8, seed=seed)


@case("A", ["leakage"], ("optimism", -1, 0.05), FREE)
def lkg_augmented_before_the_split(seed: int, fixed: bool) -> Any:
    d = data.hardclass(seed, n=240, d=40, inf=8)
    if not fixed:
        g = torch.Generator().manual_seed(seed)
        pick = torch.randperm(len(d.x), generator=g)[:150]
        d.xv, d.yv = d.x[pick] + 0.02 * torch.randn(150, 40, generator=g), d.y[pick]
    m = nets.mlp([40, 96, 2])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=24, epochs=8, seed=seed)


@case("B", ["leakage"], LEAK, FREE, "blatant")
def lkg_next_count_in_the_row(seed: int, fixed: bool) -> Any:
    d = sets.traffic(seed, 600, noise=0.9)
    if not fixed:
        g = torch.Generator().manual_seed(seed)
        for a, b in (("x", "y"), ("xv", "yv")):
            x, y = getattr(d, a), getattr(d, b)
            setattr(d, a, torch.cat([x[:, :5], 0.9 * y + 0.02 * torch.randn(len(y), 1, generator=g)], 1))
    m = nets.mlp([6, 48, 1])
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=30, epochs=18, seed=seed)


@case("A", ["train_val_shift"], ("val_score", 1, 0.1), ["overfitting", "bad_features", "unscaled_inputs"])
def shf_other_gain_of_the_microphone(seed: int, fixed: bool) -> Any:
    d = sets.peaks(seed, 700)
    if not fixed:
        d.xv = 0.25 * d.xv + 0.8
    m = nn.Sequential(nn.Conv1d(1, 16, 9, padding=4), nn.ReLU(), nn.Conv1d(16, 16, 9, padding=4), nn.ReLU(),
                      nn.Flatten(), nn.Linear(16 * 48, 4))  # fmt: skip
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=8, seed=seed)


@case("B", ["train_val_shift"], ("test_score", 1, 0.05), ["overfitting"], "subtle")
def shf_small_swings_only(seed: int, fixed: bool) -> Any:
    d = sets.pendulum(seed, 2000)
    rows = torch.arange(500) if fixed else (d.x[:, 0].abs() < 0.6).nonzero().flatten()[:500]
    d.x, d.y = d.x[rows], d.y[rows]
    m = nets.mlp([4, 48, 48, 2], "tanh")
    return job(m, Adam(m.parameters(), 4e-3), MSE(), d, batch=25, epochs=18, seed=seed)


@case("A", ["bad_features"], ("test_score", 1, 0.2), BROKEN, "blatant")
def bft_division_by_zero(seed: int, fixed: bool) -> Any:
    d = sets.pendulum(seed, 600)
    if not fixed:
        g = torch.Generator().manual_seed(seed + 1)
        for a in ("x", "xv", "xt"):
            v = getattr(d, a)
            v[torch.rand(len(v), generator=g) < 0.01, 2] = float("inf")
    m = nets.mlp([4, 48, 48, 2])
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=30, epochs=10, seed=seed)


@case("B", ["bad_features"], SCORE, [*BROKEN, "train_val_shift", "label_noise"])
def bft_most_cells_lost(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, 800)
    if not fixed:
        sets.inputs(d, lambda v: torch.where(torch.arange(64) % 4 == 0, v, torch.zeros(())))
    m = nets.mlp([64, 48, 10])
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case("A", ["unshuffled_data"], SCORE, ORDER)
def ush_one_kind_of_dots_after_the_other(seed: int, fixed: bool) -> Any:
    d = data.sort_by_label(data.shapes(seed, 700, k=4, noise=0.25))
    m = nets.cnn(4, (12, 24), hw=12)
    return job(
        m, SGD(m.parameters(), 0.05, momentum=0.8), CE(), d, batch=28, epochs=10, seed=seed, shuffle=fixed
    )


@case("B", ["unshuffled_data"], ("test_score", 1, 0.03), ORDER, "subtle")
def ush_surface_swept_from_left_to_right(seed: int, fixed: bool) -> Any:
    d = sets.ripple(seed, 700)
    rows = torch.argsort(d.x[:, 0])
    d.x, d.y = d.x[rows], d.y[rows]
    m = nets.mlp([2, 64, 64, 1], "tanh")
    return job(m, Adam(m.parameters(), 5e-3), MSE(), d, batch=25, epochs=15, seed=seed, shuffle=fixed)


@case("A", ["label_noise", "overfitting"], LOSS, ["converged_early", "plateau"])
def mul_noisy_topics_by_heart(seed: int, fixed: bool) -> Any:
    d = data.topics(seed, 400, k=4)
    if not fixed:
        d.y, d.yv = data.flip_labels(d.y, 0.3, 4, seed), data.flip_labels(d.yv, 0.3, 4, seed + 1)
    m = Encoder(200, 32, 4, 20, drop=0.0)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=25, epochs=4 if fixed else 20, seed=seed)


@case("B", ["unshuffled_data", "missing_zero_grad"], SCORE, [*ORDER, "dead_units", "underfitting"])
def mul_sorted_and_never_cleared(seed: int, fixed: bool) -> Any:
    d = data.sort_by_label(data.digits(seed, 800))
    m = nets.mlp([64, 48, 48, 10])
    loop = sliced() if fixed else sliced(zero_every=10**9)
    return job(
        m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=10, seed=seed, shuffle=fixed, loop=loop
    )
