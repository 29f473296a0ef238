"""Half A of the second blind set: wiring, scales, data and cost (see `blind2_first.py`)."""

from __future__ import annotations

import warnings
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
    accuracy_prob,
    data,
    job,
    make_loop,
    nets,
    nn,
    torch,
)

from benchmarks.cases.blind2_first import LOSS, ROUGH, case
from benchmarks.cases.blind_sets import steps_last


def on_all(d: Any, change: Any) -> Any:
    """Apply a change to the inputs of every part."""
    for a in ("x", "xv", "xt"):
        setattr(d, a, change(getattr(d, a)))
    return d


@case(
    "A",
    ["loss_mismatch"],
    ("test_score", 1, 0.01),
    [*STUCK, "lr_too_low", "saturated_units", "vanishing_gradient"],
)
def lss_sigmoid_before_ce(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=700, image=True)
    m = nn.Sequential(nets.cnn(10, (8, 16)), nn.Identity() if fixed else nn.Sigmoid())
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=8, seed=seed)


@case("A", ["loss_mismatch"], ("test_score", 1, 0.02), [*STUCK, "lr_too_low", "saturated_units"])
def lss_sigmoid_with_logits(seed: int, fixed: bool) -> Any:
    d = data.binary(data.moons(seed, noise=0.2))
    m = nets.mlp([2, 24, 24, 1], last=None if fixed else nn.Sigmoid())
    metric = accuracy_binary if fixed else accuracy_prob
    o = SGD(m.parameters(), 0.05)
    return job(m, o, BCE(), d, batch=32, epochs=20, task="binary", metric=metric, seed=seed)


@case("A", ["loss_mismatch"], ("test_score", 1, 0.3), [*STUCK])
def lss_flat_targets(seed: int, fixed: bool) -> Any:
    d = data.friedman(seed, n=500, noise=0.5)
    if not fixed:
        d.y, d.yv = d.y.flatten(), d.yv.flatten()
    m = nets.mlp([10, 64, 1], "leaky")

    def loss(out: Any, y: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return nn.functional.mse_loss(out, y)

    return job(m, Adam(m.parameters(), 3e-3), loss, d, batch=32, epochs=20, seed=seed)


@case("A", ["loss_mismatch"], ("test_score", 1, 0.1), [*STUCK, "saturated_units", "unscaled_targets"])
def lss_tanh_output(seed: int, fixed: bool) -> Any:
    d = data.series(seed, n=600, T=12, amp=2.0)
    m = nets.mlp([12, 48, 1], last=None if fixed else nn.Tanh())
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case(
    "A",
    ["missing_zero_grad"],
    ("test_score", 1, 0.05),
    [*ROUGH, "lr_too_high", "dead_units", "saturated_units"],
)
def zgr_sgd_shapes(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, n=500, noise=0.3)
    m = nets.cnn(4, (8, 16), hw=12)
    loop = None if fixed else make_loop(zero_grad=False)
    return job(m, SGD(m.parameters(), 0.1), CE(), d, batch=32, epochs=15, seed=seed, loop=loop)


@case("A", ["params_not_trained"], ("test_score", 1, 0.1), [*STUCK, "overfitting"])
def pnt_gru_left_out(seed: int, fixed: bool) -> Any:
    d = steps_last(data.waves(seed, n=500, T=24, k=4, noise=0.5))
    m = nets.SeqNet("gru", 1, 32, 4)
    o = Adam((m if fixed else m.head).parameters(), 5e-3)
    return job(m, o, CE(), d, batch=32, epochs=25, seed=seed)


class Detached(nn.Module):
    """A body whose output is detached by a leftover of debugging."""

    def __init__(self, fixed: bool) -> None:
        super().__init__()
        self.body, self.head, self.fixed = nets.mlp([2, 12, 8]), nets.mlp([8, 2]), fixed

    def forward(self, x: Any) -> Any:
        h = torch.relu(self.body(x))
        return self.head(h if self.fixed else h.detach())


@case("A", ["params_not_trained"], ("test_score", 1, 0.05), [*STUCK, "overfitting"])
def pnt_detached_circles(seed: int, fixed: bool) -> Any:
    d = data.circles(seed, noise=0.1, factor=0.6)
    m = Detached(fixed)
    return job(m, AdamW(m.parameters(), 1e-2), CE(), d, batch=32, epochs=20, seed=seed)


@case("A", ["unscaled_inputs"], ("test_score", 1, 0.05), [*ROUGH, "dead_units", "lr_too_high", "lr_too_low"])
def uns_cancer_sgd(seed: int, fixed: bool) -> Any:
    d = data.cancer(seed, scale="std" if fixed else None)
    m = nets.mlp([30, 32, 2])
    return job(m, SGD(m.parameters(), 0.05 if fixed else 0.01), CE(), d, batch=16, epochs=20, seed=seed)


@case(
    "A",
    ["unscaled_inputs"],
    ("test_score", 1, 0.05),
    [*ROUGH, "dead_units", "lr_too_high", "saturated_units", "lr_too_low", "vanishing_gradient"],
)
def uns_mixed_units(seed: int, fixed: bool) -> Any:
    d = data.hardclass(seed, n=500, d=12, inf=8, sep=1.5)
    if not fixed:
        unit = torch.tensor([1e-3, 1.0, 500.0, 1.0, 20.0, 1e-2, 1.0, 3000.0, 1.0, 0.1, 1.0, 50.0])
        on_all(d, lambda v: v * unit)
    m = nets.mlp([12, 32, 2], "tanh")
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=20, seed=seed)


@case("A", ["unscaled_targets"], ("test_score", 1, 0.3), [*ROUGH, "lr_too_low", "exploding_gradient"])
def unt_diabetes_raw(seed: int, fixed: bool) -> Any:
    d = data.diabetes(seed, yscale=fixed)
    m = nets.mlp([10, 32, 1], "tanh")
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=16, epochs=25, seed=seed)


@case("A", ["label_noise"], ("val_loss", -1, 0.3), ["converged_early", "plateau", "overfitting"])
def lbn_digits_third(seed: int, fixed: bool) -> Any:
    d = data.digits(seed)
    if not fixed:
        d.y, d.yv = data.flip_labels(d.y, 0.3, 10, seed), data.flip_labels(d.yv, 0.3, 10, seed + 1)
    m = nets.mlp([64, 64, 10])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=25, seed=seed)


@case("A", [("shuffled_labels", "label_noise")], ("test_score", 1, 0.4),
      [*STUCK, "label_noise", "overfitting", "bad_features"])  # fmt: skip
def shl_shapes(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, n=600, noise=0.2)
    if not fixed:
        d.y, d.yv = data.permute(d.y, seed), data.permute(d.yv, seed + 1)
    m = nets.cnn(4, (8, 16), hw=12)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case("A", ["class_imbalance"], ("test_bal", 1, 0.03), ["undertrained", "underfitting", "overfitting"])
def imb_digits_two_rare(seed: int, fixed: bool) -> Any:
    d = data.imbalance(data.digits(seed), {c: 4 if c in (3, 8) else 70 for c in range(10)}, seed)
    w = torch.ones(10)
    w[[3, 8]] = 20.0 if fixed else 1.0
    m = nets.mlp([64, 32, 10])
    return job(m, SGD(m.parameters(), 0.05), CE(weight=w), d, batch=32, epochs=12, seed=seed)


@case("A", ["leakage"], ("optimism", -1, 0.1), ["converged_early", "train_val_shift", "unscaled_inputs"])
def lkg_target_column(seed: int, fixed: bool) -> Any:
    d = data.friedman(seed, n=500, noise=1.5)
    g = torch.Generator().manual_seed(seed + 5)
    if not fixed:
        for a, b in (("x", "y"), ("xv", "yv")):
            v, t = getattr(d, a), getattr(d, b)
            v[:, 8] = t[:, 0] + 0.15 * torch.randn(len(v), generator=g)
    m = nets.mlp([10, 48, 1])
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case("A", ["train_val_shift"], ("val_score", 1, 0.1), ["overfitting", "bad_features"])
def shf_noisier_signals(seed: int, fixed: bool) -> Any:
    d = data.waves(seed, n=600, T=32, k=4, noise=0.3)
    if not fixed:
        d.xv = d.xv + 1.4 * torch.randn(d.xv.shape, generator=torch.Generator().manual_seed(seed))
    m = nn.Sequential(nn.Flatten(), nets.mlp([32, 64, 4]))
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=10, seed=seed)


@case("A", ["bad_features"], ("test_score", 1, 0.05), [*STUCK, "overfitting", "train_val_shift"])
def bft_broken_sensor(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=800)
    if not fixed:
        for a in ("x", "xv", "xt"):
            getattr(d, a)[:, 16:56] = -0.8
    m = nets.mlp([64, 64, 10])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=15, seed=seed)


@case("A", ["unshuffled_data"], ("test_score", 1, 0.05),
      [*UNSTABLE, "undertrained", "train_val_shift", "lr_too_high", "overfitting"])  # fmt: skip
def ush_shapes_by_class(seed: int, fixed: bool) -> Any:
    d = data.sort_by_label(data.shapes(seed, n=600, noise=0.25))
    m = nets.cnn(4, (8, 16), hw=12)
    o = SGD(m.parameters(), 0.03, momentum=0.9)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed, shuffle=fixed)


@case("A", ["wrong_dtype"], ("us_per_sample", -1, 5), ["launch_bound"])
def cmp_double_wide(seed: int, fixed: bool) -> Any:
    d = data.chars(seed, n=300, T=24)
    m = nets.SeqNet("gru", 32, 160, d.k, every=True, vocab=d.k)
    if not fixed:
        m = m.double()
    return job(m, Adam(m.parameters(), 4e-3), nets.lm_loss, d, batch=32, epochs=6, task="lm", seed=seed)


@case("A", ["unscaled_inputs", "lr_too_high"], LOSS, [*ROUGH, "dead_units", "saturated_units", "bad_init"])
def mul_raw_pixels_fast(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=700, scale="global" if fixed else None)
    if not fixed:
        on_all(d, lambda v: v * 16)
    m = nets.mlp([64, 64, 10])
    return job(m, SGD(m.parameters(), 0.05 if fixed else 0.5), CE(), d, batch=32, epochs=12, seed=seed)
