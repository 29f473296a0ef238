"""Faulty trainings of our own, beside faultbench's dev part: other data, networks, optimizers and slips.

They test whether the rules hold where nobody tuned them. Each has a repaired twin and the measure that proves it:
`python benchmarks/faultbench.py --own [--prove]`. Networks and data are faultbench's (`../shared/faultbench`).
"""

from __future__ import annotations

import time
from typing import Any

from faultbench.lib import *  # noqa: F403
from faultbench.lib import (
    BCE,
    CE,
    MSE,
    SGD,
    STUCK,
    UNSTABLE,
    Adam,
    AdamW,
    F,
    TensorBatches,
    accuracy_prob,
    accuracy_round,
    data,
    define,
    job,
    make_loop,
    nets,
    nn,
    np,
    optim,
    torch,
)  # fmt: skip

OWN: list[Any] = []
SCORE, LOSS, VAL = ("test_score", 1, 0.03), ("test_loss", -1, 0.05), ("val_loss", -1, 0.05)


def case(labels: list[Any], better: tuple[str, int, float] = SCORE, accept: Any = ()) -> Any:
    """Register a maker `f(seed, fixed) -> Job` under its own name."""

    def register(maker: Any) -> Any:
        OWN.append(define(maker.__name__, labels, maker, accept=accept, better=better))
        return maker

    return register


def both(d: Any, change: Any) -> Any:
    """Apply a change to the inputs of all parts."""
    for a in ("x", "xv", "xt"):
        setattr(d, a, change(getattr(d, a)))
    return d


ALL_STUCK = [
    *STUCK,
    *UNSTABLE,
    "lr_too_low",
    "lr_too_high",
    "dead_units",
    "saturated_units",
    "vanishing_gradient",
]

# ---------------------------------------------------------------------------------------------- data


@case([("bad_features",)], accept=[*ALL_STUCK, "overfitting"])
def bft_constant(seed, fixed):
    d = data.friedman(seed, n=600, noise=0.5)
    if not fixed:
        both(d, lambda x: x * torch.tensor([0.0] * 4 + [1.0] * 6))
    m = nets.mlp([10, 64, 64, 1])
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=15, seed=seed)


@case([("bad_features",)], accept=[*ALL_STUCK, "overfitting", "unscaled_inputs"])
def bft_nan(seed, fixed):
    d = data.cancer(seed)
    if not fixed:
        d.x[5, 3] = float("nan")
        d.x[77, 9] = float("nan")
    m = nets.mlp([30, 32, 2])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case([("bad_features", "unscaled_inputs")], accept=[*ALL_STUCK, "overfitting"])
def bft_spikes(seed, fixed):
    d = data.friedman(seed, n=600, noise=0.5)
    if not fixed:
        g = torch.Generator().manual_seed(seed)
        for a in ("x", "xv"):
            x = getattr(d, a)
            x[torch.rand(len(x), generator=g) < 0.02] *= 500
    m = nets.mlp([10, 64, 1])
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=15, seed=seed)


@case([("bad_features",)], accept=[*ALL_STUCK, "overfitting"])
def bft_half_image(seed, fixed):
    d = data.digits(seed, image=True)
    if not fixed:
        for a in ("x", "xv", "xt"):
            getattr(d, a)[:, :, 3:] = 0.0
    m = nets.cnn(10, (8, 16))
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case([("bad_features", "unscaled_inputs")], accept=[*ALL_STUCK, "overfitting"])
def bft_code999(seed, fixed):
    d = data.wine(seed)
    if not fixed:
        g = torch.Generator().manual_seed(seed + 61)
        both(d, lambda x: torch.where(torch.rand(x.shape, generator=g) < 0.03, torch.tensor(999.0), x))
    m = nets.mlp([13, 32, 3])
    return job(m, SGD(m.parameters(), 0.05), CE(), d, batch=16, epochs=25, seed=seed)


@case(["unscaled_inputs"], accept=[*ALL_STUCK, "batch_too_small"])
def uns_cancer_raw(seed, fixed):
    d = data.cancer(seed, scale="std" if fixed else None)
    m = nets.mlp([30, 32, 2])
    return job(m, SGD(m.parameters(), 0.05), CE(), d, batch=32, epochs=20, seed=seed)


@case(["unscaled_inputs"], accept=[*ALL_STUCK, "bad_init"])
def uns_pixels255(seed, fixed):
    d = data.digits(seed, image=True)
    if not fixed:
        both(d, lambda x: x * 60 + 100)
    m = nets.cnn(10, (8, 16))
    return job(m, SGD(m.parameters(), 0.02, momentum=0.9), CE(), d, batch=32, epochs=10, seed=seed)


@case(["unscaled_inputs"], accept=[*ALL_STUCK])
def uns_one_column(seed, fixed):
    d = data.friedman(seed, n=500, noise=0.5)
    if not fixed:
        both(d, lambda x: x * torch.tensor([1.0] * 9 + [2000.0]))
    m = nets.mlp([10, 64, 1])
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=15, seed=seed)


@case(["unscaled_inputs"], accept=[*ALL_STUCK])
def uns_tiny(seed, fixed):
    d = data.digits(seed)
    if not fixed:
        both(d, lambda x: x * 1e-3)
    m = nets.mlp([64, 64, 10])
    return job(m, SGD(m.parameters(), 0.1), CE(), d, batch=32, epochs=12, seed=seed)


@case(["unscaled_targets"], accept=[*ALL_STUCK, "train_val_shift"])
def unt_diabetes_raw(seed, fixed):
    d = data.diabetes(seed, yscale=fixed)
    m = nets.mlp([10, 32, 1])
    return job(m, Adam(m.parameters(), 1e-3), MSE(), d, batch=32, epochs=30, seed=seed)


@case(["unscaled_targets"], accept=[*ALL_STUCK, "bad_init"])
def unt_millions(seed, fixed):
    d = data.friedman(seed, n=500, noise=0.5)
    if not fixed:
        d.y, d.yv, d.yt = (v * 3e5 for v in (d.y, d.yv, d.yt))
    m = nets.mlp([10, 64, 1])
    return job(m, SGD(m.parameters(), 0.05), MSE(), d, batch=32, epochs=15, seed=seed)


@case(["unscaled_targets"], accept=[*ALL_STUCK, "weight_decay_misuse"])
def unt_year(seed, fixed):
    d = data.friedman(seed, n=500, noise=0.5)
    if not fixed:
        d.y, d.yv, d.yt = (v * 10 + 1990 for v in (d.y, d.yv, d.yt))
    m = nets.mlp([10, 64, 64, 1])
    return job(m, Adam(m.parameters(), 1e-3), nn.SmoothL1Loss(), d, batch=32, epochs=15, seed=seed)


@case(["leakage"], ("optimism", -1, 0.05), ["overfitting", "converged_early"])
def lkg_duplicates(seed, fixed):
    d = data.digits(seed, n=150, noise=6.0)
    if not fixed:
        k = len(d.xv) // 2
        d.xv[:k], d.yv[:k] = d.x[torch.arange(k) % 150], d.y[torch.arange(k) % 150]
    m = nets.mlp([64, 128, 10])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=30, seed=seed)


@case(["leakage"], ("optimism", -1, 0.05), ["overfitting", "converged_early"])
def lkg_near_copies(seed, fixed):
    d = data.hardclass(seed, n=300, d=40, inf=8, nv=200)
    if not fixed:
        i = torch.arange(150)
        d.xv[:150], d.yv[:150] = d.x[i] + 0.02 * torch.randn(150, 40), d.y[i]
    m = nets.mlp([40, 128, 2])
    return job(m, Adam(m.parameters(), 1e-3), CE(), d, batch=32, epochs=10, seed=seed)


@case(["leakage"], ("optimism", -1, 0.05), ["overfitting", "converged_early"])
def lkg_column(seed, fixed):
    d = data.hardclass(seed, n=400, d=20, inf=4, nv=200, flip=0.2)
    if not fixed:
        d.x[:, 7] = 2 * d.y - 1 + 0.1 * torch.randn(len(d.y))
        d.xv[:, 7] = 2 * d.yv - 1 + 0.1 * torch.randn(len(d.yv))
    m = nets.mlp([20, 32, 2])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=15, seed=seed)


@case(["train_val_shift"], ("val_loss", -1, 0.05), ["overfitting", "unscaled_inputs"])
def shf_val_unscaled(seed, fixed):
    d = data.wine(seed)
    if not fixed:
        d.xv = d.xv * 3 + 1
    m = nets.mlp([13, 32, 3])
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=16, epochs=20, seed=seed)


@case(["train_val_shift"], ("val_loss", -1, 0.05), ["overfitting", "class_imbalance"])
def shf_unseen_class(seed, fixed):
    d = data.digits(seed)
    if not fixed:
        keep = d.y != 7
        d.x, d.y = d.x[keep], d.y[keep]
    m = nets.mlp([64, 64, 10])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case(["train_val_shift"], ("val_loss", -1, 0.05), ["overfitting", "bad_features"])
def shf_noisy_camera(seed, fixed):
    d = data.digits(seed, image=True)
    if not fixed:
        d.xv = 0.4 * d.xv + 0.8 * torch.randn(d.xv.shape, generator=torch.Generator().manual_seed(seed))
    m = nets.cnn(10, (8, 16))
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=10, seed=seed)


@case([("shuffled_labels", "label_noise")], accept=[*STUCK, "label_noise", "overfitting"])
def shl_digits(seed, fixed):
    d = data.digits(seed)
    if not fixed:
        d.y, d.yv = data.permute(d.y, seed), data.permute(d.yv, seed + 1)
    m = nets.mlp([64, 128, 10])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=20, seed=seed)


@case([("shuffled_labels", "label_noise")], accept=[*STUCK, "label_noise", "overfitting"])
def shl_topics(seed, fixed):
    d = data.topics(seed)
    if not fixed:
        d.y, d.yv = data.permute(d.y, seed), data.permute(d.yv, seed + 1)
    m = nets.BagOfWords(200, 24, 4, hidden=32)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=20, seed=seed)


@case([("shuffled_labels", "label_noise")], accept=[*STUCK, "label_noise", "overfitting"])
def shl_cancer_train_only(seed, fixed):
    d = data.cancer(seed)
    if not fixed:
        d.y = data.permute(d.y, seed)
    m = nets.mlp([30, 64, 2])
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=25, seed=seed)


@case(["label_noise"], LOSS, ["overfitting", "converged_early", "plateau", "underfitting"])
def lbn_digits25(seed, fixed):
    d = data.digits(seed)
    if not fixed:
        d.y, d.yv = data.flip_labels(d.y, 0.25, 10, seed), data.flip_labels(d.yv, 0.25, 10, seed + 1)
    m = nets.mlp([64, 64, 10])
    return job(m, Adam(m.parameters(), 1e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case(["label_noise"], LOSS, ["overfitting", "converged_early", "plateau", "underfitting"])
def lbn_moons15(seed, fixed):
    d = data.moons(seed, n=600, noise=0.12)
    if not fixed:
        d.y, d.yv = data.flip_labels(d.y, 0.15, 2, seed), data.flip_labels(d.yv, 0.15, 2, seed + 1)
    m = nets.mlp([2, 32, 32, 2], "tanh")
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=25, seed=seed)


@case(["label_noise"], LOSS, ["overfitting", "converged_early", "plateau", "underfitting"])
def lbn_digits_train_only(seed, fixed):
    d = data.digits(seed)
    if not fixed:
        d.y = data.flip_labels(d.y, 0.2, 10, seed)
    m = nets.mlp([64, 128, 10])
    return job(m, SGD(m.parameters(), 0.1), CE(), d, batch=32, epochs=25, seed=seed)


@case(["label_noise"], LOSS, ["overfitting", "converged_early", "plateau", "underfitting"])
def lbn_cancer_binary(seed, fixed):
    d = data.binary(data.cancer(seed))
    if not fixed:
        d.y = (
            d.y - (torch.rand(d.y.shape, generator=torch.Generator().manual_seed(seed)) < 0.15).float()
        ).abs()
    m = nets.mlp([30, 32, 1])
    return job(m, Adam(m.parameters(), 2e-3), BCE(), d, batch=32, epochs=20, task="binary", seed=seed)


@case(["class_imbalance"], ("test_bal", 1, 0.03), ["undertrained", "underfitting", "overfitting"])
def imb_digits(seed, fixed):
    d = data.digits(seed, n=1400, noise=4.0, nv=200)
    d = data.imbalance(d, {0: 130, 1: 130, 2: 130, 3: 5, 4: 130, 5: 130, 6: 130, 7: 130, 8: 5, 9: 130}, seed)
    m = nets.mlp([64, 64, 10])
    w = torch.ones(10)
    w[[3, 8]] = 25.0
    return job(
        m, Adam(m.parameters(), 1e-3), CE(weight=w if fixed else None), d, batch=32, epochs=10, seed=seed
    )


@case(["class_imbalance"], ("test_bal", 1, 0.03), ["undertrained", "underfitting", "overfitting"])
def imb_binary(seed, fixed):
    d = data.hardclass(seed, n=2000, d=10, inf=4, nv=900, sep=0.8)
    d = data.imbalance(d, {0: 900, 1: 35}, seed)
    d = data.binary(d)
    m = nets.mlp([10, 32, 1])
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(25.0)) if fixed else BCE()
    return job(m, Adam(m.parameters(), 2e-3), loss, d, batch=32, epochs=12, task="binary", seed=seed)


@case(
    ["unshuffled_data"], accept=[*UNSTABLE, "undertrained", "train_val_shift", "lr_too_high", "overfitting"]
)
def ush_cnn(seed, fixed):
    d = data.sort_by_label(data.shapes(seed, n=600, noise=0.3))
    m = nets.cnn(4, (8, 16), hw=12)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=8, seed=seed, shuffle=fixed)


@case(
    ["unshuffled_data"], accept=[*UNSTABLE, "undertrained", "train_val_shift", "lr_too_high", "overfitting"]
)
def ush_binary(seed, fixed):
    d = data.sort_by_label(data.hardclass(seed, n=400, d=20, inf=6, nv=200))
    m = nets.mlp([20, 32, 2])
    return job(m, SGD(m.parameters(), 0.1), CE(), d, batch=16, epochs=8, seed=seed, shuffle=fixed)


# ------------------------------------------------------------------------------------- wiring and modes


class Hidden(nn.Module):
    def __init__(self, listed):
        super().__init__()
        layers = [nn.Linear(2, 32), nn.Linear(32, 32)]
        self.layers = nn.ModuleList(layers) if listed else layers
        self.head = nn.Linear(32, 3)

    def forward(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.head(x)


@case(["params_not_trained"], accept=ALL_STUCK)
def pnt_plain_list(seed, fixed):
    m = Hidden(fixed)
    return job(m, Adam(m.parameters(), 5e-3), CE(), data.spirals(seed), batch=32, epochs=20, seed=seed)


class Detached(nn.Module):
    def __init__(self, cut):
        super().__init__()
        self.body, self.head, self.cut = nets.cnn(16, (8, 16), hw=12), nn.Linear(16, 6), cut

    def forward(self, x):
        h = torch.relu(self.body(x))
        return self.head(h.detach() if self.cut else h)


@case(["params_not_trained"], accept=[*ALL_STUCK, "overfitting"])
def pnt_detach(seed, fixed):
    m = Detached(not fixed)
    d = data.shapes(seed, n=600, noise=0.3, k=6)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case(["params_not_trained"], accept=[*ALL_STUCK, "overfitting"])
def pnt_head_replaced(seed, fixed):
    d = data.digits(seed)
    m = nets.mlp([64, 64, 10])
    o = SGD(m.parameters(), 0.05)
    m[-1] = nn.Linear(64, 10)
    if fixed:
        o = SGD(m.parameters(), 0.05)
    return job(m, o, CE(), d, batch=32, epochs=5, seed=seed)


@case(["params_not_trained"], accept=[*ALL_STUCK, "overfitting"])
def pnt_embedding(seed, fixed):
    d = data.topics(seed, V=200)
    m = nets.BagOfWords(200, 16, 4)
    if not fixed:
        m.emb.weight.requires_grad_(False)
    o = Adam([p for p in m.parameters() if p.requires_grad], 1e-2)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed)


@case(["missing_zero_grad"], LOSS, [*UNSTABLE, *STUCK, "lr_too_high", "dead_units", "overfitting"])
def zgr_mlp_sgd(seed, fixed):
    m = nets.mlp([64, 64, 10])
    loop = None if fixed else make_loop(zero_grad=False)
    return job(
        m, SGD(m.parameters(), 0.05), CE(), data.digits(seed), batch=32, epochs=10, seed=seed, loop=loop
    )


@case(["missing_zero_grad"], LOSS, [*UNSTABLE, *STUCK, "lr_too_high", "dead_units", "overfitting"])
def zgr_regression(seed, fixed):
    m = nets.mlp([10, 32, 1], "tanh")
    loop = None if fixed else make_loop(zero_grad=False)
    return job(
        m, SGD(m.parameters(), 0.02), MSE(), data.friedman(seed), batch=32, epochs=15, seed=seed, loop=loop
    )


@case(
    ["mode_misuse"],
    VAL,
    ["batchnorm_misuse", "train_val_shift", "overfitting", "underfitting", "undertrained"],
)
def mode_val_dropout(seed, fixed):
    m = nets.mlp([64, 64, 64, 10], drop=0.5)
    loop = None if fixed else make_loop(eval_mode=False)
    return job(
        m, Adam(m.parameters(), 2e-3), CE(), data.digits(seed), batch=32, epochs=15, seed=seed, loop=loop
    )


@case(
    [("mode_misuse", "batchnorm_misuse")],
    SCORE,
    ["batchnorm_misuse", *ALL_STUCK, "bad_init", "exploding_gradient"],
)
def mode_train_in_eval(seed, fixed):
    d = data.digits(seed, image=True)
    m = nets.deep_cnn(10, 8, 10, norm="bn")
    loop = None if fixed else make_loop(train_mode=False)
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=16, seed=seed, loop=loop)


@case(["mode_misuse", "overfitting"], LOSS, ["converged_early"])
def mode_dropout_off(seed, fixed):
    d = data.hardclass(seed, n=150, d=60, inf=8)
    m = nets.mlp([60, 256, 256, 2], drop=0.6)
    loop = None if fixed else make_loop(train_mode=False)
    return job(
        m, Adam(m.parameters(), 1e-3), CE(), d, batch=16, epochs=5 if fixed else 20, seed=seed, loop=loop
    )


@case(["batchnorm_misuse"], LOSS, ["undertrained", "overfitting", "train_val_shift", "mode_misuse"])
def bn_momentum_tiny(seed, fixed):
    d = data.digits(seed, image=True)
    m = nets.cnn(10, (8, 16), norm="bn", momentum=0.1 if fixed else 0.001)
    return job(m, SGD(m.parameters(), 0.05), CE(), d, batch=32, epochs=8, seed=seed)


@case(["batchnorm_misuse"], LOSS, [*UNSTABLE, "train_val_shift", "mode_misuse"])
def bn_momentum_keras(seed, fixed):
    d = data.digits(seed, n=500)
    m = nets.mlp([64, 64, 64, 10], norm="bn")
    for layer in m:
        if isinstance(layer, nn.BatchNorm1d):
            layer.momentum = 0.1 if fixed else 0.99
    return job(m, SGD(m.parameters(), 0.1), CE(), d, batch=16, epochs=10, seed=seed)


@case(
    [("batchnorm_misuse", "batch_too_small")],
    LOSS,
    [*UNSTABLE, *STUCK, "batch_too_small", "lr_too_high", "launch_bound"],
)
def bn_batch3(seed, fixed):
    d = data.wine(seed)
    m = nets.mlp([13, 32, 32, 3], norm="bn")
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=20 if fixed else 3, epochs=20 if fixed else 8, seed=seed,
               drop_last=True)  # fmt: skip


# ------------------------------------------------------------------------------------------ loss and output


@case(["loss_mismatch"], LOSS, ALL_STUCK)
def lss_double_softmax(seed, fixed):
    m = nets.mlp([64, 64, 10], last=None if fixed else nn.Softmax(-1))
    return job(m, Adam(m.parameters(), 1e-3), CE(), data.digits(seed), batch=32, epochs=12, seed=seed)


@case(["loss_mismatch"], LOSS, ALL_STUCK)
def lss_double_sigmoid(seed, fixed):
    d = data.binary(data.cancer(seed))
    m = nets.mlp([30, 32, 1], last=None if fixed else nn.Sigmoid())
    return job(m, Adam(m.parameters(), 2e-3), BCE(), d, batch=32, epochs=15, task="binary", seed=seed)


@case(["loss_mismatch"], SCORE, [*ALL_STUCK, "unscaled_targets"])
def lss_mse_class_index(seed, fixed):
    d = data.digits(seed)
    if fixed:
        m = nets.mlp([64, 64, 10])
        return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=15, seed=seed)
    for a in ("y", "yv", "yt"):
        setattr(d, a, getattr(d, a).float().reshape(-1, 1))
    m = nets.mlp([64, 64, 1])
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=15, seed=seed, metric=accuracy_round)


@case(["loss_mismatch"], SCORE, [*ALL_STUCK, "shuffled_labels"])
def lss_broadcast(seed, fixed):
    d = data.friedman(seed, noise=0.5)
    if not fixed:
        d.y, d.yv, d.yt = (v.reshape(-1) for v in (d.y, d.yv, d.yt))
    m = nets.mlp([10, 64, 1])
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case(["loss_mismatch"], SCORE, [*ALL_STUCK, "exploding_gradient", "overfitting"])
def lss_sign(seed, fixed):
    m = nets.mlp([64, 64, 10])
    loss = CE() if fixed else (lambda o, y: -F.cross_entropy(o, y))
    return job(m, SGD(m.parameters(), 0.05), loss, data.digits(seed), batch=32, epochs=8, seed=seed)


@case([("loss_mismatch", "lr_too_high")], SCORE, [*ALL_STUCK, "exploding_gradient", "lr_too_high"])
def lss_sum(seed, fixed):
    m = nets.mlp([10, 64, 1])
    loss = MSE(reduction="mean" if fixed else "sum")
    return job(m, SGD(m.parameters(), 0.05), loss, data.friedman(seed), batch=64, epochs=12, seed=seed)


@case(["loss_mismatch"], SCORE, [*ALL_STUCK, "unscaled_targets"])
def lss_sigmoid_range(seed, fixed):
    m = nets.mlp([10, 64, 1], last=None if fixed else nn.Sigmoid())
    return job(
        m, Adam(m.parameters(), 3e-3), MSE(), data.friedman(seed, noise=0.5), batch=32, epochs=20, seed=seed
    )


@case(["loss_mismatch"], LOSS, ALL_STUCK)
def lss_relu_logits(seed, fixed):
    m = nets.mlp([64, 32, 10], last=None if fixed else nn.ReLU())
    return job(m, Adam(m.parameters(), 1e-3), CE(), data.digits(seed), batch=32, epochs=12, seed=seed)


@case(["loss_mismatch"], LOSS, [*ALL_STUCK, "mode_misuse"])
def lss_softmax_dim0_inside(seed, fixed):
    m = nets.mlp([64, 64, 10], last=nn.Softmax(1 if fixed else 0))
    loss = lambda o, y: F.nll_loss((o + 1e-9).log(), y)  # noqa: E731
    return job(m, Adam(m.parameters(), 2e-3), loss, data.digits(seed), batch=32, epochs=10, seed=seed)


@case(["loss_mismatch"], SCORE, ALL_STUCK)
def lss_tanh_out(seed, fixed):
    d = data.series(seed, n=500, T=12, amp=3.0)
    m = nets.mlp([12, 48, 1], last=None if fixed else nn.Tanh())
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case(["loss_mismatch"], SCORE, ALL_STUCK)
def lss_mse_sigmoid(seed, fixed):
    d = data.binary(data.hardclass(seed, n=500, d=20, inf=10, nv=300))
    nets_last = nn.Sigmoid()
    m = nets.he_(nets.mlp([20, 64, 64, 1], last=nets_last), 1.0 if fixed else 3.0)
    loss = nn.BCELoss() if fixed else MSE()
    return job(
        m,
        SGD(m.parameters(), 0.02),
        loss,
        d,
        batch=32,
        epochs=60 if fixed else 15,
        task="binary",
        metric=accuracy_prob,
        seed=seed,
    )


# -------------------------------------------------------------------------------- initial state and units


@case(["bad_init"], SCORE, [*ALL_STUCK, "params_not_trained", "converged_early"])
def ini_zeros(seed, fixed):
    m = nets.mlp([64, 64, 10])
    if not fixed:
        nets.const_(m, 0.0)
    return job(m, Adam(m.parameters(), 2e-3), CE(), data.digits(seed), batch=32, epochs=10, seed=seed)


@case(["bad_init"], SCORE, [*ALL_STUCK, "exploding_gradient", "undertrained", "overfitting"])
def ini_huge_mlp(seed, fixed):
    m = nets.normal_(nets.mlp([64, 64, 64, 10]), 0.12 if fixed else 1.0)
    return job(m, Adam(m.parameters(), 1e-3), CE(), data.digits(seed), batch=32, epochs=10, seed=seed)


@case([("bad_init", "vanishing_gradient")], SCORE, [*ALL_STUCK, "vanishing_gradient"])
def ini_tiny(seed, fixed):
    m = nets.mlp([64, 64, 64, 64, 64, 10])
    if not fixed:
        nets.normal_(m, 0.005)
    return job(
        m, SGD(m.parameters(), 0.05), CE(), data.digits(seed), batch=32, epochs=30 if fixed else 12, seed=seed
    )


@case(["bad_init"], SCORE, [*ALL_STUCK, "converged_early"])
def ini_constant_cnn(seed, fixed):
    m = nets.cnn(4, (8, 16), hw=12)
    if not fixed:
        nets.const_(m, 0.05)
    d = data.shapes(seed, n=500, noise=0.3)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=8, seed=seed)


@case([("vanishing_gradient", "bad_init")], SCORE, [*ALL_STUCK, "bad_init"])
def van_tanh_small(seed, fixed):
    m = nets.xavier_(nets.mlp([64] + [48] * 9 + [10], "tanh"), 1.0 if fixed else 0.3)
    return job(m, SGD(m.parameters(), 0.05), CE(), data.digits(seed), batch=32, epochs=12, seed=seed)


@case(["vanishing_gradient"], SCORE, [*ALL_STUCK, "bad_init"])
def van_sigmoid_adam(seed, fixed):
    m = nets.mlp([13] + [32] * 8 + [3], "relu" if fixed else "sigmoid")
    return job(m, Adam(m.parameters(), 1e-3), CE(), data.wine(seed), batch=16, epochs=25, seed=seed)


@case(["vanishing_gradient"], SCORE, ALL_STUCK)
def van_rnn_long(seed, fixed):
    d = data.first_token(seed, n=600, T=40, noise=0.3)
    m = nets.SeqNet("rnn", 4, 32, 4)
    if fixed:  # a recurrent matrix that keeps what it holds
        nn.init.orthogonal_(m.rnn.weight_hh_l0)
    else:
        m.rnn.weight_hh_l0.data.mul_(0.2)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=10, seed=seed, clip=1.0)


@case([("vanishing_gradient", "bad_init")], SCORE, [*ALL_STUCK, "bad_init"])
def van_deep_cnn(seed, fixed):
    d = data.shapes(seed, n=500, noise=0.3)
    m = nets.deep_cnn(4, 8, 14, norm="bn" if fixed else None)
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=8, seed=seed)


@case(
    [("exploding_gradient", "bad_init")], SCORE, [*ALL_STUCK, "bad_init", "unscaled_targets", "overfitting"]
)
def exp_mlp_gain(seed, fixed):
    m = nets.he_(nets.mlp([10, 64, 64, 64, 64, 1]), 1.0 if fixed else 3.0)
    return job(m, SGD(m.parameters(), 0.01), MSE(), data.friedman(seed), batch=32, epochs=12, seed=seed)


@case([("exploding_gradient", "lr_too_high")], SCORE, [*ALL_STUCK, "bad_init", "overfitting"])
def exp_rnn(seed, fixed):
    d = data.running_sign(seed, n=600, T=30)
    m = nets.SeqNet("rnn", 1, 32, 2, nonlin="relu")
    nn.init.orthogonal_(m.rnn.weight_hh_l0, 1.0 if fixed else 1.8)
    o = Adam(m.parameters(), 3e-3) if fixed else SGD(m.parameters(), 0.02)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed, clip=1.0 if fixed else None)


@case([("exploding_gradient", "lr_too_high")], SCORE, [*ALL_STUCK, "bad_init", "overfitting"])
def exp_res_no_norm(seed, fixed):
    d = data.digits(seed)
    m = nets.resmlp(64, 64, 10, 12, norm=fixed, scale=1.0 if fixed else 4.0)
    return job(m, SGD(m.parameters(), 0.05), CE(), d, batch=32, epochs=8, seed=seed)


@case([("dead_units", "bad_init")], LOSS, [*ALL_STUCK, "bad_init"])
def dead_bias(seed, fixed):
    m = nets.mlp([64, 96, 96, 10])
    if not fixed:
        m[2].bias.data[:80] = -8.0
    return job(m, SGD(m.parameters(), 0.05), CE(), data.digits(seed), batch=32, epochs=12, seed=seed)


@case(["dead_units", ("lr_too_high",)], SCORE, [*UNSTABLE, *STUCK, "vanishing_gradient"])
def dead_adam_rate(seed, fixed):
    d = data.shapes(seed, n=500, noise=0.3)
    m = nets.cnn(4, (12, 24), hw=12)
    return job(m, Adam(m.parameters(), 3e-3 if fixed else 0.15), CE(), d, batch=32, epochs=10, seed=seed)


@case(
    [("saturated_units", "unscaled_inputs")],
    SCORE,
    [*ALL_STUCK, "unscaled_inputs", "bad_init", "overfitting"],
)
def sat_inputs(seed, fixed):
    d = data.digits(seed)
    if not fixed:
        both(d, lambda x: x * 200)
    m = nets.mlp([64, 48, 48, 10], "tanh")
    return job(m, SGD(m.parameters(), 0.05), CE(), d, batch=32, epochs=15, seed=seed)


@case([("saturated_units", "bad_init")], SCORE, [*ALL_STUCK, "bad_init", "overfitting"])
def sat_sigmoid_bigw(seed, fixed):
    m = nets.xavier_(nets.mlp([64, 64, 64, 10], "sigmoid"), 2.0 if fixed else 40.0)
    if not fixed:
        nets.xavier_(m[-1:])
    return job(m, Adam(m.parameters(), 1e-3), CE(), data.digits(seed), batch=32, epochs=12, seed=seed)


# ------------------------------------------------------------------------- rate, schedule, batch, decay


@case(["lr_too_high"], SCORE, [*UNSTABLE, *STUCK, "dead_units", "overfitting"])
def lrh_adam_mlp(seed, fixed):
    m = nets.mlp([64, 64, 64, 10])
    return job(
        m,
        Adam(m.parameters(), 1e-3 if fixed else 0.1),
        CE(),
        data.digits(seed),
        batch=32,
        epochs=12,
        seed=seed,
    )


@case(["lr_too_high"], SCORE, [*UNSTABLE, *STUCK, "dead_units", "overfitting"])
def lrh_cnn_momentum(seed, fixed):
    d = data.shapes(seed, n=600, noise=0.3)
    m = nets.cnn(4, (8, 16), hw=12)
    return job(
        m, SGD(m.parameters(), 0.02 if fixed else 0.4, momentum=0.9), CE(), d, batch=32, epochs=10, seed=seed
    )


@case(["lr_too_high"], LOSS, [*UNSTABLE, *STUCK, "overfitting", "saturated_units"])
def lrh_transformer(seed, fixed):
    d = data.topics(seed, n=500)
    m = nets.Transformer(200, 32, 4, 20)
    return job(m, Adam(m.parameters(), 1e-3 if fixed else 0.05), CE(), d, batch=32, epochs=10, seed=seed)


@case(["lr_too_high"], LOSS, [*UNSTABLE, *STUCK, "overfitting", "saturated_units", "dead_units"])
def lrh_lm(seed, fixed):
    d = data.chars(seed, n=500, T=24)
    m = nets.SeqNet("gru", 24, 48, d.k, every=True, vocab=d.k)
    return job(
        m,
        Adam(m.parameters(), 5e-3 if fixed else 0.1),
        nets.lm_loss,
        d,
        batch=16,
        epochs=6,
        task="lm",
        seed=seed,
    )


@case(["lr_too_high"], SCORE, [*UNSTABLE, *STUCK, "dead_units", "bad_init", "unscaled_targets"])
def lrh_linear(seed, fixed):
    m = nn.Linear(8, 1)
    return job(
        m,
        SGD(m.parameters(), 0.03 if fixed else 0.6),
        MSE(),
        data.linreg(seed),
        batch=8,
        epochs=15,
        seed=seed,
    )


@case(["lr_too_low"], SCORE, STUCK)
def lrl_cnn_sgd(seed, fixed):
    d = data.digits(seed, image=True)
    m = nets.cnn(10, (8, 16))
    return job(m, SGD(m.parameters(), 0.1 if fixed else 1e-3), CE(), d, batch=32, epochs=10, seed=seed)


@case(["lr_too_low"], SCORE, STUCK)
def lrl_transformer(seed, fixed):
    d = data.topics(seed, n=500)
    m = nets.Transformer(200, 32, 4, 20)
    return job(m, AdamW(m.parameters(), 2e-3 if fixed else 1e-5), CE(), d, batch=32, epochs=10, seed=seed)


@case(["lr_too_low"], LOSS, STUCK)
def lrl_lm(seed, fixed):
    d = data.chars(seed, n=600, T=24)
    m = nets.SeqNet("gru", 24, 48, d.k, every=True, vocab=d.k)
    return job(
        m,
        Adam(m.parameters(), 5e-3 if fixed else 1e-4),
        nets.lm_loss,
        d,
        batch=16,
        epochs=6,
        task="lm",
        seed=seed,
    )


@case(["lr_too_low"], SCORE, STUCK)
def lrl_friedman_adam(seed, fixed):
    m = nets.mlp([10, 64, 64, 1])
    return job(
        m,
        Adam(m.parameters(), 3e-3 if fixed else 3e-5),
        MSE(),
        data.friedman(seed),
        batch=32,
        epochs=20,
        seed=seed,
    )


@case(["lr_schedule"], SCORE, [*STUCK, "lr_too_low"])
def sch_warmup_endless(seed, fixed):
    m = nets.mlp([64, 64, 10])
    o = SGD(m.parameters(), 0.1)
    s = optim.lr_scheduler.LambdaLR(o, lambda t: min(1.0, (t + 1) / (30 if fixed else 20000)))
    return job(m, o, CE(), data.digits(seed), batch=32, epochs=10, seed=seed, scheduler=s, sched_per="batch")


@case(["lr_schedule"], SCORE, [*STUCK, "lr_too_low"])
def sch_exponential(seed, fixed):
    m = nets.mlp([10, 64, 64, 1])
    o = Adam(m.parameters(), 2e-3)
    s = optim.lr_scheduler.ExponentialLR(o, 0.9 if fixed else 0.2)
    return job(m, o, MSE(), data.friedman(seed, noise=0.5), batch=32, epochs=20, seed=seed, scheduler=s)


@case(["lr_schedule"], LOSS, [*UNSTABLE, *STUCK, "lr_too_high", "overfitting"])
def sch_cosine_bounces(seed, fixed):
    m = nets.mlp([10, 64, 64, 1])
    o = SGD(m.parameters(), 0.3)
    s = optim.lr_scheduler.CosineAnnealingLR(o, 20 if fixed else 3)
    return job(
        m,
        o,
        MSE(),
        data.friedman(seed, noise=0.5),
        batch=16,
        epochs=20 if fixed else 18,
        seed=seed,
        scheduler=s,
    )


@case(["lr_schedule"], SCORE, [*STUCK, "lr_too_low"])
def sch_milestones_early(seed, fixed):
    d = data.shapes(seed, n=500, noise=0.3)
    m = nets.cnn(4, (8, 16), hw=12)
    o = SGD(m.parameters(), 0.02, momentum=0.9)
    s = optim.lr_scheduler.MultiStepLR(o, [9, 11] if fixed else [1, 2, 3], 0.1)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed, scheduler=s)


@case(
    [("batch_too_small", "lr_too_high")],
    LOSS,
    [*UNSTABLE, *STUCK, "lr_too_high", "dead_units", "launch_bound"],
)
def bts_digits_b1(seed, fixed):
    d = data.digits(seed, n=400)
    m = nets.mlp([64, 32, 10])
    return job(
        m, SGD(m.parameters(), 0.2), CE(), d, batch=32 if fixed else 1, epochs=20 if fixed else 4, seed=seed
    )


@case([("batch_too_large", "undertrained")], SCORE, [*STUCK, "lr_too_low"])
def btl_digits(seed, fixed):
    m = nets.mlp([64, 64, 10])
    return job(
        m,
        SGD(m.parameters(), 0.1),
        CE(),
        data.digits(seed),
        batch=32 if fixed else 1000,
        epochs=15,
        seed=seed,
    )


@case([("batch_too_large", "undertrained")], SCORE, [*STUCK, "lr_too_low"])
def btl_regression(seed, fixed):
    m = nets.mlp([10, 64, 64, 1])
    d = data.friedman(seed, n=600, noise=0.5)
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32 if fixed else 300, epochs=15, seed=seed)


@case([("weight_decay_misuse", "underfitting")], SCORE, STUCK)
def wdm_adamw(seed, fixed):
    m = nets.mlp([64, 64, 10])
    o = AdamW(m.parameters(), 2e-3, weight_decay=0.01 if fixed else 30.0)
    return job(m, o, CE(), data.digits(seed), batch=32, epochs=12, seed=seed)


@case([("weight_decay_misuse", "underfitting")], SCORE, [*STUCK, "vanishing_gradient"])
def wdm_sgd_l2(seed, fixed):
    d = data.shapes(seed, n=600, noise=0.3)
    m = nets.cnn(4, (8, 16), hw=12)
    o = SGD(m.parameters(), 0.05, momentum=0.9, weight_decay=1e-4 if fixed else 0.2)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed)


@case([("weight_decay_misuse", "underfitting")], SCORE, STUCK)
def wdm_adam_l2(seed, fixed):
    m = nets.mlp([10, 64, 64, 1])
    o = Adam(m.parameters(), 2e-3, weight_decay=1e-5 if fixed else 1.0)
    return job(m, o, MSE(), data.friedman(seed, noise=0.5), batch=32, epochs=20, seed=seed)


# -------------------------------------------------------------------- budget, generalisation, capacity, compute


@case(["undertrained"], SCORE, ["lr_too_low", "underfitting", "batch_too_large"])
def utr_cnn(seed, fixed):
    d = data.shapes(seed, n=500, noise=0.35)
    m = nets.cnn(4, (8, 16), hw=12)
    return job(m, Adam(m.parameters(), 1e-3), CE(), d, batch=32, epochs=25 if fixed else 4, seed=seed)


@case(["undertrained"], LOSS, ["lr_too_low", "underfitting", "batch_too_large"])
def utr_lm(seed, fixed):
    d = data.chars(seed, n=500, T=24)
    m = nets.SeqNet("lstm", 24, 64, d.k, every=True, vocab=d.k)
    return job(
        m,
        Adam(m.parameters(), 3e-3),
        nets.lm_loss,
        d,
        batch=16,
        epochs=12 if fixed else 3,
        task="lm",
        seed=seed,
    )


@case(["undertrained"], SCORE, ["lr_too_low", "underfitting", "batch_too_large"])
def utr_spirals(seed, fixed):
    m = nets.mlp([2, 48, 48, 3])
    return job(
        m,
        Adam(m.parameters(), 2e-3),
        CE(),
        data.spirals(seed),
        batch=32,
        epochs=60 if fixed else 8,
        seed=seed,
    )


@case(["overfitting"], LOSS, ["converged_early"])
def ovf_hardclass(seed, fixed):
    d = data.hardclass(seed, n=120, d=60, inf=8)
    m = nets.mlp([60, 128, 2])
    return job(m, Adam(m.parameters(), 1e-3), CE(), d, batch=16, epochs=6 if fixed else 50, seed=seed)


@case(["overfitting"], LOSS, ["converged_early"])
def ovf_cnn_few(seed, fixed):
    d = data.shapes(seed, n=120, noise=0.5)
    m = nets.cnn(4, (16, 32), hw=12)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=16, epochs=15 if fixed else 60, seed=seed)


@case(["overfitting"], LOSS, ["converged_early"])
def ovf_sine(seed, fixed):
    d = data.sine(seed, n=20, noise=0.6, freq=1.0)
    m = nets.mlp([1, 128, 128, 1])
    o = AdamW(m.parameters(), 3e-3, weight_decay=0.0)
    return job(m, o, MSE(), d, batch=8, epochs=25 if fixed else 300, seed=seed)


@case(["overfitting"], LOSS, ["converged_early"])
def ovf_topics(seed, fixed):
    d = data.topics(seed, n=150, V=300, mix=0.85)
    m = nets.BagOfWords(300, 48, 4, hidden=64)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=16, epochs=8 if fixed else 40, seed=seed)


@case(["underfitting"], SCORE, ["plateau", "converged_early"])
def und_linear_circles(seed, fixed):
    m = nets.mlp([2, 32, 2]) if fixed else nn.Linear(2, 2)
    return job(m, Adam(m.parameters(), 1e-2), CE(), data.circles(seed), batch=32, epochs=20, seed=seed)


@case(["underfitting"], SCORE, ["plateau", "converged_early"])
def und_linear_friedman(seed, fixed):
    m = nets.mlp([10, 64, 64, 1]) if fixed else nn.Linear(10, 1)
    return job(
        m, Adam(m.parameters(), 5e-3), MSE(), data.friedman(seed, noise=0.5), batch=32, epochs=40, seed=seed
    )


@case(["underfitting"], SCORE, ["plateau", "converged_early", "dead_units"])
def und_narrow_spirals(seed, fixed):
    m = nets.mlp([2, 48 if fixed else 3, 48 if fixed else 3, 3])
    return job(m, Adam(m.parameters(), 1e-2), CE(), data.spirals(seed), batch=32, epochs=60, seed=seed)


@case(["underfitting"], SCORE, ["plateau", "undertrained", "mode_misuse"])
def und_dropout_wine(seed, fixed):
    m = nets.mlp([10, 64, 64, 1], drop=0.0 if fixed else 0.9)
    return job(
        m, Adam(m.parameters(), 3e-3), MSE(), data.friedman(seed, noise=0.5), batch=32, epochs=25, seed=seed
    )


class Sleepy(torch.utils.data.Dataset):
    def __init__(self, x, y, wait):
        self.x, self.y, self.wait = x, y, wait

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        time.sleep(self.wait)
        return self.x[i], self.y[i]


@case(["input_bound"], ("wall_us_per_sample", -1, 100), ["launch_bound", "undertrained"])
def cmp_sleepy(seed, fixed):
    d = data.digits(seed, n=400)
    m = nets.mlp([64, 64, 10])
    loader = None if fixed else torch.utils.data.DataLoader(Sleepy(d.x, d.y, 3e-4), 32, shuffle=True)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=5, seed=seed, loader=loader)


@case(["wrong_dtype"], ("us_per_sample", -1, 5), ["launch_bound"])
def cmp_float64_cnn(seed, fixed):
    d = data.shapes(seed, n=400)
    m = nets.cnn(4, (16, 32), hw=12)
    if not fixed:
        m = m.double()
        both(d, lambda x: x.double())
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=20, seed=seed)


assert np is not None and TensorBatches is not None
