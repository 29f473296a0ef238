"""Half B of the second blind set: wiring, scales, data and cost (see `blind2_first.py`)."""

from __future__ import annotations

import time
from typing import Any

from faultbench.core import accuracy_binary
from faultbench.lib import (
    BCE,
    CE,
    MSE,
    SGD,
    STUCK,
    UNSTABLE,
    Adam,
    AdamW,
    data,
    job,
    make_loop,
    nets,
    nn,
    optim,
    torch,
)

from benchmarks.cases.blind2_first import LOSS, ROUGH, case


@case(
    "B",
    ["loss_mismatch"],
    ("test_score", 1, 0.3),
    [*ROUGH, "exploding_gradient", "lr_too_high", "dead_units"],
)
def lss_minus_forgotten(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=700)
    m = nets.mlp([64, 48, 10], last=nn.LogSoftmax(-1))

    def loss(out: Any, y: Any) -> Any:
        right = out.gather(1, y.reshape(-1, 1)).mean()
        return -right if fixed else right

    return job(m, SGD(m.parameters(), 0.05), loss, d, batch=32, epochs=10, seed=seed)


@case("B", ["loss_mismatch"], ("test_score", 1, 0.02), [*STUCK, "lr_too_low", "saturated_units"])
def lss_softmax_twice_chars(seed: int, fixed: bool) -> Any:
    d = data.chars(seed, n=500, T=20)
    m = nn.Sequential(
        nets.SeqNet("gru", 16, 48, d.k, every=True, vocab=d.k), nn.Identity() if fixed else nn.Softmax(-1)
    )
    return job(m, Adam(m.parameters(), 8e-3), nets.lm_loss, d, batch=32, epochs=10, task="lm", seed=seed)


@case("B", [("loss_mismatch", "lr_too_high")], ("test_score", 1, 0.1), [*ROUGH, "lr_too_high", "dead_units"])
def lss_summed_ce(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, n=500, noise=0.3)
    m = nets.cnn(4, (8, 16), hw=12)
    loss = CE(reduction="mean" if fixed else "sum")
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), loss, d, batch=32, epochs=12, seed=seed)


@case("B", ["loss_mismatch"], ("test_score", 1, 0.02),
      [*ROUGH, "exploding_gradient", "class_imbalance", "unscaled_targets"])  # fmt: skip
def lss_minus_one_targets(seed: int, fixed: bool) -> Any:
    d = data.binary(data.circles(seed, noise=0.12))
    if not fixed:
        d.y, d.yv = d.y * 2 - 1, d.yv * 2 - 1
    m = nets.mlp([2, 24, 24, 1])
    metric = accuracy_binary
    o = Adam(m.parameters(), 3e-3)
    return job(m, o, BCE(), d, batch=32, epochs=15, task="binary", metric=metric, seed=seed)


@case(
    "B", ["missing_zero_grad"], ("test_score", 1, 0.02), [*ROUGH, "lr_too_high", "dead_units", "undertrained"]
)
def zgr_rmsprop_series(seed: int, fixed: bool) -> Any:
    d = data.series(seed, n=500, T=12)
    m = nets.mlp([12, 48, 1])
    loop = None if fixed else make_loop(zero_grad=False)
    return job(m, optim.RMSprop(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=15, seed=seed, loop=loop)


@case("B", ["params_not_trained"], ("test_score", 1, 0.03), [*STUCK, "overfitting"])
def pnt_layer_replaced(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=700)
    m = nets.mlp([64, 24, 24, 10])
    o = Adam(m.parameters(), 2e-3)
    m[0], m[2] = nn.Linear(64, 24), nn.Linear(24, 24)
    if fixed:
        o = Adam(m.parameters(), 2e-3)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed)


@case("B", ["unscaled_inputs"], ("test_score", 1, 0.2), [*ROUGH, "dead_units", "lr_too_high", "lr_too_low"])
def uns_level_of_series(seed: int, fixed: bool) -> Any:
    d = data.series(seed, n=500, T=12)
    if not fixed:
        d.x, d.xv, d.xt = d.x * 30 + 900, d.xv * 30 + 900, d.xt * 30 + 900
    m = nets.mlp([12, 48, 1])
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case("B", ["unscaled_inputs"], ("test_score", 1, 0.05),
      [*ROUGH, "saturated_units", "lr_too_low", "vanishing_gradient", "lr_too_high"])  # fmt: skip
def uns_wine_tanh_adam(seed: int, fixed: bool) -> Any:
    d = data.wine(seed, scale="std" if fixed else None)
    m = nets.mlp([13, 24, 3], "tanh")
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=16, epochs=25, seed=seed)


@case("B", ["unscaled_targets"], ("test_score", 1, 0.3), [*ROUGH, "lr_too_low", "exploding_gradient"])
def unt_thousands(seed: int, fixed: bool) -> Any:
    d = data.friedman(seed, n=500, noise=0.5)
    if not fixed:
        for a in ("y", "yv", "yt"):
            setattr(d, a, getattr(d, a) * 1000 + 5000)
    m = nets.mlp([10, 48, 1], "gelu")
    return job(m, AdamW(m.parameters(), 5e-3), MSE(), d, batch=32, epochs=25, seed=seed)


@case("B", ["label_noise"], ("val_loss", -1, 0.15), ["converged_early", "plateau", "overfitting"])
def lbn_moons_fifth(seed: int, fixed: bool) -> Any:
    d = data.moons(seed, n=600, noise=0.1)
    if not fixed:
        d.y, d.yv = data.flip_labels(d.y, 0.2, 2, seed), data.flip_labels(d.yv, 0.2, 2, seed + 1)
    m = nets.mlp([2, 24, 2])
    return job(m, Adam(m.parameters(), 1e-2), CE(), d, batch=32, epochs=20, seed=seed)


@case("B", [("shuffled_labels", "label_noise")], ("test_score", 1, 0.3),
      [*STUCK, "label_noise", "overfitting", "bad_features"])  # fmt: skip
def shl_wine(seed: int, fixed: bool) -> Any:
    d = data.wine(seed)
    if not fixed:
        d.y, d.yv = data.permute(d.y, seed), data.permute(d.yv, seed + 1)
    m = nets.mlp([13, 24, 3])
    return job(m, SGD(m.parameters(), 0.1), CE(), d, batch=16, epochs=25, seed=seed)


@case("B", ["class_imbalance"], ("test_bal", 1, 0.03), ["undertrained", "underfitting", "overfitting"])
def imb_rare_of_three(seed: int, fixed: bool) -> Any:
    d = data.hardclass(seed, n=3000, d=10, inf=6, k=3, sep=1.0)
    d = data.imbalance(d, {0: 450, 1: 450, 2: 18}, seed)
    w = torch.tensor([1.0, 1.0, 25.0 if fixed else 1.0])
    m = nets.mlp([10, 32, 3], "gelu")
    return job(m, AdamW(m.parameters(), 2e-3), CE(weight=w), d, batch=32, epochs=10, seed=seed)


@case("B", ["leakage"], ("optimism", -1, 0.05), ["overfitting", "converged_early", "label_noise"])
def lkg_val_half_from_train(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=200, nv=200, noise=7.0)
    if not fixed:
        d.xv, d.yv = torch.cat([d.xv[:80], d.x[:120]]), torch.cat([d.yv[:80], d.y[:120]])
    m = nets.mlp([64, 96, 10])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=20, seed=seed)


@case("B", ["train_val_shift"], ("val_score", 1, 0.1), ["overfitting"])
def shf_moved_digits(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=900, image=True)
    if not fixed:
        d.xv = torch.roll(d.xv, 1, dims=2) * 0.7
    m = nets.cnn(10, (8, 16))
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=8, seed=seed)


@case("B", ["bad_features"], ("test_score", 1, 0.2), [*ROUGH, "exploding_gradient", "lr_too_high"])
def bft_missing_in_wine(seed: int, fixed: bool) -> Any:
    d = data.wine(seed)
    if not fixed:
        d.x[torch.randperm(100, generator=torch.Generator().manual_seed(seed))[:3], 4] = float("nan")
    m = nets.mlp([13, 24, 3])
    return job(m, AdamW(m.parameters(), 5e-3), CE(), d, batch=20, epochs=20, seed=seed)


@case("B", ["unshuffled_data"], ("test_score", 1, 0.05),
      [*UNSTABLE, "undertrained", "train_val_shift", "lr_too_high", "overfitting"])  # fmt: skip
def ush_waves_by_class(seed: int, fixed: bool) -> Any:
    d = data.sort_by_label(data.waves(seed, n=600, T=24, k=4, noise=0.4))
    m = nn.Sequential(nn.Flatten(), nets.mlp([24, 48, 4], "tanh"))
    o = SGD(m.parameters(), 0.05, momentum=0.9)
    return job(m, o, CE(), d, batch=32, epochs=15, seed=seed, shuffle=fixed)


class Remote(torch.utils.data.Dataset):
    """Rows fetched one by one from a slow store."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Any:
        time.sleep(0.0004)
        return self.x[i], self.y[i]


@case("B", ["input_bound"], ("wall_us_per_sample", -1, 100), ["launch_bound", "undertrained"])
def cmp_slow_store(seed: int, fixed: bool) -> Any:
    d = data.friedman(seed, n=500, noise=0.5)
    m = nets.mlp([10, 48, 48, 1])
    load = None if fixed else torch.utils.data.DataLoader(Remote(d.x, d.y), 32, shuffle=True)
    return job(m, Adam(m.parameters(), 4e-3), MSE(), d, batch=32, epochs=12, seed=seed, loader=load)


@case(
    "B", [("launch_bound", "batch_too_small")], ("us_per_sample", -1, 50), ["batch_too_small", "undertrained"]
)
def cmp_iris_pairs(seed: int, fixed: bool) -> Any:
    d = data.iris(seed)
    m = nets.mlp([4, 8, 3])
    o = Adam(m.parameters(), 2e-2 if fixed else 3e-3)
    return job(m, o, CE(), d, batch=30 if fixed else 3, epochs=50 if fixed else 16, seed=seed)


@case("B", ["label_noise", "overfitting"], ("test_loss", -1, 0.2), ["converged_early", "plateau"])
def mul_noisy_and_long(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=600)
    if not fixed:
        d.y, d.yv = data.flip_labels(d.y, 0.25, 10, seed), data.flip_labels(d.yv, 0.25, 10, seed + 1)
    m = nets.mlp([64, 128, 10])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=10 if fixed else 50, seed=seed)


@case("B", ["unscaled_inputs", "lr_too_low"], LOSS, [*ROUGH, "dead_units"])
def mul_cancer_raw_slow(seed: int, fixed: bool) -> Any:
    d = data.cancer(seed, scale="std" if fixed else None)
    m = nets.mlp([30, 32, 2])
    return job(m, SGD(m.parameters(), 0.05 if fixed else 1e-7), CE(), d, batch=16, epochs=15, seed=seed)
