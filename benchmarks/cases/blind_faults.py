"""Faulty trainings written before the doctor was asked: how networks are optimised.

`python benchmarks/faultbench.py --blind [--prove]`; wiring lies in `blind_wiring.py`, data in `blind_data.py`,
healthy ones in `blind_healthy.py`. The first figures are those of a doctor that had never seen them
(`docs/log-doctor.md`).
"""

from __future__ import annotations

from typing import Any

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
    define,
    job,
    nets,
    nn,
    optim,
)

from benchmarks.cases.blind_sets import (
    Bag,
    Scaled,
    Twin,
    conv1d,
    counts,
    exact,
    explained,
    pairs,
    several_labels,
    steps_last,
)

BLIND: list[Any] = []
SCORE, LOSS = ("test_score", 1, 0.03), ("test_loss", -1, 0.05)
ROUGH = [*STUCK, *UNSTABLE]


def case(labels: list[Any], better: tuple[str, int, float] = SCORE, accept: Any = ()) -> Any:
    """Register a maker `f(seed, fixed) -> Job` under its own name."""

    def register(maker: Any) -> Any:
        BLIND.append(define(maker.__name__, labels, maker, accept=accept, better=better))
        return maker

    return register


@case(["overfitting"], ("test_loss", -1, 0.1), ["converged_early"])
def ovf_transformer_topics(seed: int, fixed: bool) -> Any:
    d = data.topics(seed, n=200, V=200, T=12, mix=0.85)
    m = nets.Transformer(200, 32, 4, 12, layers=1, heads=4)
    return job(m, AdamW(m.parameters(), 2e-3), CE(), d, batch=16, epochs=5 if fixed else 40, seed=seed)


@case(["overfitting"], LOSS, ["converged_early"])
def ovf_rmsprop_waves(seed: int, fixed: bool) -> Any:
    d = data.waves(seed, n=200, T=24, k=4, noise=1.6)
    m = nn.Sequential(nn.Flatten(), nets.mlp([24, 64, 4]))
    return job(
        m, optim.RMSprop(m.parameters(), 1e-3), CE(), d, batch=32, epochs=5 if fixed else 40, seed=seed
    )


@case(["underfitting"], ("test_score", 1, 0.15), ["plateau", "converged_early"])
def und_linear_spirals(seed: int, fixed: bool) -> Any:
    d = data.spirals(seed, turns=0.7)
    m = nets.mlp([2, 48, 48, 3], "tanh") if fixed else nn.Linear(2, 3)
    return job(m, SGD(m.parameters(), 0.1, momentum=0.9), CE(), d, batch=32, epochs=40, seed=seed)


@case(["underfitting"], ("test_score", 1, 0.15), ["plateau", "converged_early"])
def und_autoencoder_code1(seed: int, fixed: bool) -> Any:
    d = data.digits(seed)
    d.y, d.yv, d.yt, d.k = d.x, d.xv, d.xt, 0
    m = nets.mlp([64, 64, 16 if fixed else 1, 64, 64], "elu")
    o = AdamW(m.parameters(), 3e-3)
    return job(
        m, o, MSE(), d, batch=32, epochs=30, seed=seed, scheduler=optim.lr_scheduler.CosineAnnealingLR(o, 30)
    )


@case(["vanishing_gradient"], ("test_score", 1, 0.2), [*STUCK, "saturated_units", "overfitting"])
def van_rnn_first_token(seed: int, fixed: bool) -> Any:
    d = data.first_token(seed, n=500, T=8 if fixed else 60, k=4, noise=1.0)
    m = nets.SeqNet("rnn", 4, 32, 4)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=15, seed=seed)


@case([("vanishing_gradient", "bad_init")], ("test_score", 1, 0.3), [*STUCK, "bad_init", "lr_too_low"])
def van_deep_small_weights(seed: int, fixed: bool) -> Any:
    d = data.digits(seed)
    m = nets.mlp([64] + [48] * 10 + [10], "gelu")
    nets.he_(m) if fixed else nets.normal_(m, 0.05)
    return job(m, SGD(m.parameters(), 0.02, momentum=0.9), CE(), d, batch=32, epochs=12, seed=seed)


@case(
    [("exploding_gradient", "bad_init")],
    ("test_score", 1, 0.15),
    [*ROUGH, "bad_init", "lr_too_high", "dead_units"],
)
def exp_rnn_gain(seed: int, fixed: bool) -> Any:
    d = data.running_sign(seed, n=600, T=20)
    m = Scaled(1.0 if fixed else 3.0, 2)
    return job(
        m, SGD(m.parameters(), 0.05), CE(), d, batch=32, epochs=12, seed=seed, clip=1.0 if fixed else None
    )


@case([("exploding_gradient", "bad_init", "lr_too_high")], ("test_score", 1, 0.15),
      [*ROUGH, "bad_init", "lr_too_high", "dead_units"])  # fmt: skip
def exp_residual_without_norm(seed: int, fixed: bool) -> Any:
    d = data.digits(seed)
    m = nets.resmlp(64, 64, 10, 10, norm=fixed)
    if not fixed:
        nets.he_(m, 1.3)
    return job(m, SGD(m.parameters(), 0.02), CE(), d, batch=32, epochs=10, seed=seed)


@case([("dead_units", "bad_init")], ("test_loss", -1, 0.1), ["bad_init", *STUCK, "vanishing_gradient"])
def dead_conv1d_bias(seed: int, fixed: bool) -> Any:
    d = data.waves(seed, n=500, T=32, k=4, noise=0.5)
    m = conv1d(4, (16, 24))
    if not fixed:
        m[0].bias.data[3:] = -8.0
        m[3].bias.data[5:] = -8.0
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case([("dead_units", "bad_init")], ("test_score", 1, 0.1), ["bad_init", *STUCK, "vanishing_gradient"])
def dead_negative_weights(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, scale=None)
    for a in ("x", "xv", "xt"):
        setattr(d, a, getattr(d, a) / 16)
    m = nets.mlp([64, 96, 48, 10])
    if not fixed:
        m[0].weight.data -= 0.1
    return job(m, SGD(m.parameters(), 0.1, momentum=0.5), CE(), d, batch=32, epochs=15, seed=seed)


@case(
    [("saturated_units", "bad_init")],
    ("test_score", 1, 0.1),
    [*STUCK, "bad_init", "vanishing_gradient", "overfitting"],
)
def sat_conv1d_sigmoid(seed: int, fixed: bool) -> Any:
    d = data.waves(seed, n=500, T=32, k=4, noise=0.5)
    m = conv1d(4, (16, 24), act=nn.Tanh)
    if not fixed:
        for layer in (m[0], m[3]):
            layer.weight.data *= 40
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=15, seed=seed)


@case([("saturated_units", "unscaled_inputs"), ("unscaled_inputs", "saturated_units")], ("test_score", 1, 0.05),
      [*STUCK, "vanishing_gradient", "lr_too_low"])  # fmt: skip
def sat_sigmoid_raw_cancer(seed: int, fixed: bool) -> Any:
    d = data.cancer(seed, scale="std" if fixed else None)
    m = nets.mlp([30, 32, 16, 2], "sigmoid")
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=16, epochs=20, seed=seed)


@case(["bad_init"], ("test_score", 1, 0.15), [*STUCK, "converged_early"])
def ini_constant_autoencoder(seed: int, fixed: bool) -> Any:
    d = data.digits(seed)
    d.y, d.yv, d.yt, d.k = d.x, d.xv, d.xt, 0
    m = nets.mlp([64, 32, 64], "tanh")
    if not fixed:
        nets.const_(m, 0.02)
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case(["bad_init"], ("test_loss", -1, 0.3), [*ROUGH, "lr_too_low", "overfitting", "saturated_units"])
def ini_lstm_head_x60(seed: int, fixed: bool) -> Any:
    d = steps_last(data.waves(seed, n=400, T=24, k=5, noise=0.5))
    m = nets.SeqNet("lstm", 1, 32, 5)
    if not fixed:
        m.head.weight.data *= 150
    return job(m, AdamW(m.parameters(), 5e-3), CE(), d, batch=32, epochs=15, seed=seed)


@case(["lr_too_high"], ("test_loss", -1, 0.2), [*ROUGH, "saturated_units"])
def lrh_lstm_chars(seed: int, fixed: bool) -> Any:
    d = data.chars(seed, n=400, T=20)
    m = nets.SeqNet("lstm", 16, 48, d.k, every=True, vocab=d.k)
    o = Adam(m.parameters(), 1e-2 if fixed else 0.3)
    return job(m, o, nets.lm_loss, d, batch=32, epochs=8, task="lm", seed=seed)


@case(["lr_too_high"], ("test_score", 1, 0.1), [*ROUGH, "dead_units"])
def lrh_conv1d_momentum(seed: int, fixed: bool) -> Any:
    d = data.waves(seed, n=500, T=32, k=4, noise=0.5)
    m = conv1d(4)
    return job(
        m, SGD(m.parameters(), 0.05 if fixed else 1.0, momentum=0.95), CE(), d, batch=32, epochs=15, seed=seed
    )


@case(["lr_too_high"], ("test_score", 1, 0.03), [*ROUGH, "overfitting", "dead_units"])
def lrh_rmsprop_subtle(seed: int, fixed: bool) -> Any:
    d = data.friedman(seed, n=500, noise=0.5)
    m = nets.mlp([10, 64, 64, 1], "gelu")
    return job(
        m, optim.RMSprop(m.parameters(), 1e-3 if fixed else 0.03), MSE(), d, batch=32, epochs=25, seed=seed
    )


@case(["lr_too_high"], ("test_loss", -1, 0.05), [*ROUGH, "overfitting", "dead_units"])
def lrh_siamese(seed: int, fixed: bool) -> Any:
    d = pairs(seed)
    m = Twin()
    o = AdamW(m.parameters(), 2e-3 if fixed else 0.1)
    return job(m, o, BCE(), d, batch=32, epochs=10, task="binary", seed=seed)


@case(["lr_too_low"], ("test_score", 1, 0.05), [*STUCK])
def lrl_adagrad_labels(seed: int, fixed: bool) -> Any:
    d = several_labels(seed)
    m = nets.mlp([20, 64, 6])
    o = optim.Adagrad(m.parameters(), 0.03 if fixed else 3e-4)
    return job(m, o, BCE(), d, batch=32, epochs=15, metric=exact, task="binary", seed=seed)


@case(["lr_too_low"], ("test_score", 1, 0.1), [*STUCK])
def lrl_poisson_sgd(seed: int, fixed: bool) -> Any:
    d = counts(seed)
    m = nets.mlp([6, 32, 32, 1], "tanh")
    o = SGD(m.parameters(), 0.02 if fixed else 2e-4, momentum=0.9)
    return job(m, o, nn.PoissonNLLLoss(), d, batch=32, epochs=20, metric=explained, seed=seed)


@case(["lr_too_low"], ("test_loss", -1, 0.15), [*STUCK])
def lrl_transformer_subtle(seed: int, fixed: bool) -> Any:
    d = data.chars(seed, n=500, T=20)
    m = nets.Transformer(d.k, 32, d.k, 20, layers=2, heads=4, lm=True)
    o = AdamW(m.parameters(), 4e-3 if fixed else 2e-4)
    return job(m, o, nets.lm_loss, d, batch=16, epochs=7, task="lm", seed=seed)


@case(["lr_schedule"], ("test_score", 1, 0.1), [*STUCK, "lr_too_low"])
def sch_warmup_endless(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, image=True)
    m = nets.cnn(10, (8, 16), norm="bn")
    o = SGD(m.parameters(), 0.05, momentum=0.9)
    s = optim.lr_scheduler.LambdaLR(o, lambda t: min(1.0, (t + 1) / (60 if fixed else 80_000)))
    return job(m, o, CE(), d, batch=32, epochs=8, seed=seed, scheduler=s, sched_per="batch")


@case(["lr_schedule"], ("test_loss", -1, 0.1), [*STUCK, "lr_too_low"])
def sch_exponential_early(seed: int, fixed: bool) -> Any:
    d = data.chars(seed, n=400, T=20)
    m = nets.SeqNet("gru", 16, 48, d.k, every=True, vocab=d.k)
    o = AdamW(m.parameters(), 5e-3)
    s = optim.lr_scheduler.ExponentialLR(o, 0.9 if fixed else 0.3)
    return job(m, o, nets.lm_loss, d, batch=16, epochs=12, task="lm", seed=seed, scheduler=s)


@case(["lr_schedule"], ("test_score", 1, 0.05), [*STUCK, "lr_too_low"])
def sch_onecycle_wrong_total(seed: int, fixed: bool) -> Any:
    d = data.friedman(seed, n=600, noise=0.5)
    m = nets.mlp([10, 64, 64, 1])
    o = Adam(m.parameters(), 1e-3)
    total = 19 * 15 if fixed else 19 * 15 * 32
    s = optim.lr_scheduler.OneCycleLR(o, 8e-3, total_steps=total + 1)
    return job(m, o, MSE(), d, batch=32, epochs=15, seed=seed, scheduler=s, sched_per="batch")


@case(
    [("batch_too_small", "lr_too_high")],
    ("test_score", 1, 0.05),
    [*UNSTABLE, "lr_too_high", "dead_units", "launch_bound"],
)
def bts_conv1d_b1(seed: int, fixed: bool) -> Any:
    d = data.waves(seed, n=300, T=24, k=4, noise=0.8)
    m = conv1d(4, (12, 24))
    o = SGD(m.parameters(), 0.05, momentum=0.9)
    return job(m, o, CE(), d, batch=32 if fixed else 1, epochs=40 if fixed else 5, seed=seed)


@case([("batch_too_large", "undertrained")], ("test_score", 1, 0.05), [*STUCK, "lr_too_low"])
def btl_labels(seed: int, fixed: bool) -> Any:
    d = several_labels(seed, n=800)
    m = nets.mlp([20, 64, 64, 6])
    o = Adam(m.parameters(), 1e-3)
    return job(m, o, BCE(), d, batch=16 if fixed else 800, epochs=15, metric=exact, task="binary", seed=seed)


@case(
    [("batchnorm_misuse", "mode_misuse")],
    ("test_score", 1, 0.1),
    ["overfitting", "mode_misuse", "train_val_shift", "oscillation"],
)
def bn_momentum_tiny(seed: int, fixed: bool) -> Any:
    d = data.waves(seed, n=400, T=32, k=4, noise=0.5)
    d.x, d.xv, d.xt = d.x * 2 + 2, d.xv * 2 + 2, d.xt * 2 + 2
    m = conv1d(4, (16, 24), norm=True, m=0.1 if fixed else 0.0005)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case([("weight_decay_misuse", "underfitting")], ("test_loss", -1, 0.1), [*STUCK])
def wdm_bag_sgd(seed: int, fixed: bool) -> Any:
    d = data.topics(seed, n=600, V=150, T=20, mix=0.4)
    m = Bag(150, 24, 4)
    o = SGD(m.parameters(), 0.3, momentum=0.9, weight_decay=1e-5 if fixed else 0.03)
    return job(m, o, CE(), d, batch=32, epochs=20, seed=seed)


@case([("weight_decay_misuse", "underfitting")], ("test_loss", -1, 0.1), [*STUCK])
def wdm_adam_l2(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, image=True)
    m = nets.cnn(10, (8, 16))
    o = Adam(m.parameters(), 3e-3, weight_decay=0.0 if fixed else 0.15)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed)


@case(["undertrained"], ("test_loss", -1, 0.15), ["lr_too_low", "underfitting", "batch_too_large"])
def utr_transformer_lm(seed: int, fixed: bool) -> Any:
    d = data.chars(seed, n=1500, T=20)
    m = nets.Transformer(d.k, 32, d.k, 20, layers=1, heads=4, lm=True)
    o = AdamW(m.parameters(), 3e-3)
    return job(m, o, nets.lm_loss, d, batch=32, epochs=12 if fixed else 1, task="lm", seed=seed)


@case(["undertrained"], ("test_score", 1, 0.05), ["lr_too_low", "underfitting", "batch_too_large"])
def utr_conv1d(seed: int, fixed: bool) -> Any:
    d = data.waves(seed, n=500, T=32, k=5, noise=0.8)
    m = conv1d(5)
    o = SGD(m.parameters(), 0.01, momentum=0.9)
    return job(m, o, CE(), d, batch=32, epochs=40 if fixed else 5, seed=seed)
