"""Faulty trainings written before the doctor was asked: wiring of loss, loop and network, scales.

See `blind_faults.py`.
"""

from __future__ import annotations

from typing import Any

from faultbench.lib import (
    BCE,
    CE,
    MSE,
    SGD,
    STUCK,
    Adam,
    AdamW,
    accuracy,
    accuracy_round,
    data,
    job,
    make_loop,
    nets,
    nn,
    optim,
)

from benchmarks.cases.blind_faults import ROUGH, case
from benchmarks.cases.blind_sets import (
    Bag,
    Coded,
    Listed,
    codes,
    conv1d,
    exact,
    longs,
    several_labels,
    steps_last,
)


@case([("mode_misuse", "batchnorm_misuse")], ("test_loss", -1, 0.05), [*ROUGH, "batchnorm_misuse"])
def mode_train_in_eval(seed: int, fixed: bool) -> Any:
    d = data.waves(seed, n=400, T=32, k=4, noise=0.5)
    d.x, d.xv, d.xt = d.x * 5, d.xv * 5, d.xt * 5
    m = conv1d(4, (16, 24, 24), norm=True)
    loop = None if fixed else make_loop(train_mode=False)
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=10, seed=seed, loop=loop)


@case(["mode_misuse"], ("val_loss", -1, 0.05), ["underfitting", "oscillation"])
def mode_dropout_in_validation(seed: int, fixed: bool) -> Any:
    d = data.topics(seed, n=600, V=200, T=20, mix=0.6)
    m = nets.Transformer(200, 32, 4, 20, layers=1, heads=4, drop=0.4)
    m.head = nn.Sequential(nn.Dropout(0.5), m.head)
    loop = None if fixed else make_loop(eval_mode=False)
    return job(m, AdamW(m.parameters(), 2e-3), CE(), d, batch=32, epochs=6, seed=seed, loop=loop)


@case(["loss_mismatch"], ("test_score", 1, 0.01), [*STUCK, "lr_too_low", "saturated_units"])
def lss_softmax_lstm(seed: int, fixed: bool) -> Any:
    d = steps_last(data.waves(seed, n=400, T=24, k=4, noise=0.5))
    m = nn.Sequential(nets.SeqNet("lstm", 1, 32, 4), nn.Identity() if fixed else nn.Softmax(-1))
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=40 if fixed else 15, seed=seed)


@case(["loss_mismatch"], ("test_score", 1, 0.01), [*STUCK, "lr_too_low", "saturated_units"])
def lss_sigmoid_twice_labels(seed: int, fixed: bool) -> Any:
    d = several_labels(seed)
    m = nets.mlp([20, 64, 6], last=None if fixed else nn.Sigmoid())
    metric = exact if fixed else lambda o, y: exact(o - 0.5, y)
    return job(
        m, AdamW(m.parameters(), 3e-3), BCE(), d, batch=32, epochs=15, metric=metric, task="binary", seed=seed
    )


@case(["loss_mismatch"], ("test_score", 1, 0.2), [*STUCK])
def lss_broadcast_counts(seed: int, fixed: bool) -> Any:
    d = data.diabetes(seed, n=260)
    if not fixed:
        d.y, d.yv = d.y.flatten(), d.yv.flatten()
    m = nets.mlp([10, 24, 1], "gelu")
    o = optim.RMSprop(m.parameters(), 1e-3)
    import warnings

    def loss(out: Any, y: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return nn.functional.mse_loss(out, y)

    return job(m, o, loss, d, batch=32, epochs=15, seed=seed)


@case([("loss_mismatch", "lr_too_high")], ("test_score", 1, 0.1), [*ROUGH, "lr_too_high", "dead_units"])
def lss_sum_of_batch(seed: int, fixed: bool) -> Any:
    d = data.friedman(seed, n=500, noise=0.5)
    m = nets.mlp([10, 48, 1], "tanh")
    loss = MSE(reduction="mean" if fixed else "sum")
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), loss, d, batch=32, epochs=15, seed=seed)


@case(["loss_mismatch"], ("test_score", 1, 0.1), [*STUCK, "unscaled_targets"])
def lss_class_as_number(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, image=True)
    k = 10
    if not fixed:
        d.y, d.yv, d.yt, k = (
            d.y.float().reshape(-1, 1),
            d.yv.float().reshape(-1, 1),
            d.yt.float().reshape(-1, 1),
            1,
        )
    m = nets.cnn(k, (8, 16))
    metric = accuracy if fixed else accuracy_round
    return job(
        m,
        Adam(m.parameters(), 3e-3),
        CE() if fixed else MSE(),
        d,
        batch=32,
        epochs=10,
        metric=metric,
        seed=seed,
    )


@case(["loss_mismatch"], ("test_loss", -1, 0.3), [*STUCK, "lr_too_low", "vanishing_gradient"])
def lss_softmax_over_batch(seed: int, fixed: bool) -> Any:
    d = data.wine(seed)
    m = nets.mlp([13, 24, 3], last=nn.LogSoftmax(1 if fixed else 0))
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), nn.NLLLoss(), d, batch=16, epochs=20, seed=seed)


@case(
    ["missing_zero_grad"], ("test_score", 1, 0.05), [*ROUGH, "lr_too_high", "dead_units", "saturated_units"]
)
def zgr_gru_sgd(seed: int, fixed: bool) -> Any:
    d = steps_last(data.waves(seed, n=400, T=24, k=4, noise=0.5))
    m = nets.SeqNet("gru", 1, 32, 4)
    loop = None if fixed else make_loop(zero_grad=False)
    return job(m, SGD(m.parameters(), 0.2, momentum=0.9), CE(), d, batch=32, epochs=30, seed=seed, loop=loop)


@case(["missing_zero_grad"], ("test_loss", -1, 0.02), [*ROUGH, "lr_too_high", "dead_units", "overfitting"])
def zgr_adamw_labels(seed: int, fixed: bool) -> Any:
    d = several_labels(seed)
    m = nets.mlp([20, 64, 6], "tanh")
    loop = None if fixed else make_loop(zero_grad=False)
    o = AdamW(m.parameters(), 5e-3)
    return job(m, o, BCE(), d, batch=32, epochs=12, metric=exact, task="binary", seed=seed, loop=loop)


@case(["params_not_trained"], ("test_score", 1, 0.03), [*STUCK, "overfitting"])
def pnt_plain_list(seed: int, fixed: bool) -> Any:
    d = data.digits(seed)
    m = Listed(64, 24, 10, fixed)
    return job(m, AdamW(m.parameters(), 2e-3), CE(), d, batch=32, epochs=10, seed=seed)


@case(["params_not_trained"], ("test_score", 1, 0.1), [*STUCK, "overfitting"])
def pnt_detached_bag(seed: int, fixed: bool) -> Any:
    d = data.topics(seed, n=600, V=150, T=20, mix=0.4)
    m = Bag(150, 16, 4, detach=not fixed)
    return job(m, optim.Adagrad(m.parameters(), 0.05), CE(), d, batch=32, epochs=15, seed=seed)


@case(["unscaled_inputs"], ("test_score", 1, 0.1), [*ROUGH, "dead_units", "lr_too_high", "lr_too_low"])
def uns_one_column(seed: int, fixed: bool) -> Any:
    d = data.friedman(seed, n=600, noise=0.5)
    if not fixed:
        for a in ("x", "xv", "xt"):
            getattr(d, a)[:, 7] = getattr(d, a)[:, 7] * 3000 + 20000
    m = nets.mlp([10, 48, 1], "tanh")
    return job(m, AdamW(m.parameters(), 1e-2), MSE(), d, batch=32, epochs=40, seed=seed)


@case(
    ["unscaled_inputs"],
    ("test_score", 1, 0.1),
    [*ROUGH, "dead_units", "lr_too_high", "lr_too_low", "saturated_units", "vanishing_gradient"],
)
def uns_signal_raw_gru(seed: int, fixed: bool) -> Any:
    d = steps_last(data.waves(seed, n=400, T=24, k=4, noise=0.5))
    if not fixed:
        d.x, d.xv, d.xt = d.x * 400 + 2000, d.xv * 400 + 2000, d.xt * 400 + 2000
    m = nets.SeqNet("gru", 1, 32, 4)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=15, seed=seed)


@case(["unscaled_targets"], ("test_score", 1, 0.15), [*ROUGH, "lr_too_low", "lr_too_high", "dead_units"])
def unt_prices(seed: int, fixed: bool) -> Any:
    d = longs(codes(seed))
    if not fixed:
        d.y, d.yv, d.yt = d.y * 9e4 + 3e5, d.yv * 9e4 + 3e5, d.yt * 9e4 + 3e5
    m = Coded()
    return job(m, Adam(m.parameters(), 5e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case(["unscaled_targets"], ("test_score", 1, 0.1), [*ROUGH, "lr_too_high", "dead_units"])
def unt_scale_sgd(seed: int, fixed: bool) -> Any:
    d = data.friedman(seed, n=500, noise=0.5)
    if not fixed:
        d.y, d.yv, d.yt = d.y * 150, d.yv * 150, d.yt * 150
    m = nets.mlp([10, 48, 1])
    return job(m, SGD(m.parameters(), 0.02, momentum=0.9), MSE(), d, batch=32, epochs=20, seed=seed)
