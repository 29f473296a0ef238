"""Half B of the second blind set: optimisation and networks (see `blind2_first.py`)."""

from __future__ import annotations

from typing import Any

from faultbench.lib import (
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
)

from benchmarks.cases.blind2_first import LOSS, ROUGH, case
from benchmarks.cases.blind_sets import steps_last


@case("B", ["overfitting"], ("test_loss", -1, 0.1), ["converged_early"])
def ovf_cnn_few_images(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, n=150, noise=0.5)
    m = nets.cnn(4, (16, 32), hw=12)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=16, epochs=9 if fixed else 45, seed=seed)


@case("B", ["underfitting"], ("test_score", 1, 0.1), ["plateau", "converged_early"])
def und_linear_friedman(seed: int, fixed: bool) -> Any:
    d = data.friedman(seed, n=600, noise=0.3)
    m = nets.mlp([10, 48, 1]) if fixed else nn.Linear(10, 1)
    return job(m, Adam(m.parameters(), 1e-2), MSE(), d, batch=32, epochs=25, seed=seed)


@case("B", ["underfitting"], ("test_score", 1, 0.1), ["plateau", "converged_early", "dead_units"])
def und_narrow_spirals(seed: int, fixed: bool) -> Any:
    d = data.spirals(seed, turns=0.7)
    m = nets.mlp([2, 64 if fixed else 3, 64 if fixed else 3, 3])
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=40, seed=seed)


@case("B", [("vanishing_gradient", "bad_init")], ("test_score", 1, 0.3), [*STUCK, "bad_init", "lr_too_low"])
def van_tanh_small_gain(seed: int, fixed: bool) -> Any:
    d = data.waves(seed, n=500, T=24, k=4, noise=0.4)
    m = nn.Sequential(
        nn.Flatten(), nets.xavier_(nets.mlp([24] + [40] * 8 + [4], "tanh"), 1.3 if fixed else 0.3)
    )
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=15, seed=seed)


@case("B", [("exploding_gradient", "bad_init", "lr_too_high")], ("test_score", 1, 0.15),
      [*ROUGH, "bad_init", "lr_too_high", "dead_units"])  # fmt: skip
def exp_branches_times_four(seed: int, fixed: bool) -> Any:
    d = data.friedman(seed, n=500, noise=0.5)
    m = nets.resmlp(10, 32, 1, 8, norm=False, scale=0.3 if fixed else 6.0)
    return job(m, SGD(m.parameters(), 0.02), MSE(), d, batch=32, epochs=15, seed=seed)


@case("B", [("dead_units", "bad_init")], LOSS, ["bad_init", "vanishing_gradient", *STUCK])
def dead_most_units_spirals(seed: int, fixed: bool) -> Any:
    d = data.spirals(seed, turns=0.8)
    m = nets.mlp([2, 64, 64, 3])
    if not fixed:
        m[0].bias.data[4:] = -15.0
        m[2].bias.data[5:] = -15.0
    return job(m, SGD(m.parameters(), 0.1, momentum=0.9), CE(), d, batch=32, epochs=25, seed=seed)


@case("B", [("saturated_units", "bad_init")], ("test_score", 1, 0.1),
      [*STUCK, "bad_init", "vanishing_gradient", "overfitting"])  # fmt: skip
def sat_cnn_tanh(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=800, image=True)
    m = nets.cnn(10, (8, 16), act="tanh")
    if not fixed:
        m[0].weight.data *= 60
        m[3].weight.data *= 60
    return job(m, SGD(m.parameters(), 0.05), CE(), d, batch=32, epochs=30 if fixed else 10, seed=seed)


@case("B", ["bad_init"], ("test_loss", -1, 0.3), [*ROUGH, "lr_too_low", "overfitting", "saturated_units"])
def ini_head_x100(seed: int, fixed: bool) -> Any:
    d = data.digits(seed)
    m = nets.mlp([64, 64, 10], "tanh")
    if not fixed:
        m[-1].weight.data *= 100
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case("B", ["bad_init"], ("test_score", 1, 0.1), [*STUCK, "converged_early", "vanishing_gradient"])
def ini_equal_units_circles(seed: int, fixed: bool) -> Any:
    d = data.circles(seed, noise=0.1)
    m = nets.mlp([2, 24, 24, 2], "tanh")
    if not fixed:
        nets.const_(m, 0.1)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=20, seed=seed)


@case("B", ["lr_too_high"], ("test_score", 1, 0.1), [*ROUGH, "saturated_units", "dead_units"])
def lrh_transformer_topics(seed: int, fixed: bool) -> Any:
    d = data.topics(seed, n=500, V=150, T=14, mix=0.5)
    m = nets.Transformer(150, 32, 4, 14, layers=2, heads=4)
    return job(m, AdamW(m.parameters(), 1e-3 if fixed else 0.2), CE(), d, batch=32, epochs=7, seed=seed)


@case("B", ["lr_too_high"], ("test_score", 1, 0.1), [*ROUGH])
def lrh_linear_sgd(seed: int, fixed: bool) -> Any:
    d = data.linreg(seed)
    m = nn.Linear(8, 1)
    return job(m, SGD(m.parameters(), 0.03 if fixed else 0.75), MSE(), d, batch=32, epochs=25, seed=seed)


@case("B", ["lr_too_high"], ("test_loss", -1, 0.03), [*UNSTABLE, "overfitting", "dead_units"])
def lrh_series_adam_subtle(seed: int, fixed: bool) -> Any:
    d = data.series(seed, n=600, T=12)
    m = nets.mlp([12, 48, 48, 1])
    return job(m, Adam(m.parameters(), 1e-3 if fixed else 0.15), MSE(), d, batch=32, epochs=20, seed=seed)


@case("B", ["lr_too_low"], ("test_score", 1, 0.05), [*STUCK])
def lrl_moons_rmsprop(seed: int, fixed: bool) -> Any:
    d = data.moons(seed, noise=0.15)
    m = nets.mlp([2, 32, 32, 2])
    o = optim.RMSprop(m.parameters(), 3e-3 if fixed else 1e-5)
    return job(m, o, CE(), d, batch=32, epochs=25, seed=seed)


@case("B", ["lr_too_low"], ("test_loss", -1, 0.1), [*STUCK])
def lrl_friedman_momentum_subtle(seed: int, fixed: bool) -> Any:
    d = data.friedman(seed, n=600, noise=0.5)
    m = nets.mlp([10, 64, 64, 1])
    o = SGD(m.parameters(), 0.03 if fixed else 6e-4, momentum=0.9)
    return job(m, o, MSE(), d, batch=32, epochs=20, seed=seed)


@case("B", ["lr_schedule"], ("test_score", 1, 0.1), [*STUCK, "lr_too_low"])
def sch_warmup_of_epochs(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, n=600, noise=0.3)
    m = nets.cnn(4, (8, 16), hw=12)
    o = SGD(m.parameters(), 0.05, momentum=0.9)
    s = optim.lr_scheduler.LambdaLR(o, lambda t: min(1.0, (t + 1) / (2 if fixed else 1000)))
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed, scheduler=s)


@case("B", [("batch_too_small", "lr_too_high")], ("test_score", 1, 0.03),
      [*UNSTABLE, "lr_too_high", "dead_units", "launch_bound"])  # fmt: skip
def bts_series_b1(seed: int, fixed: bool) -> Any:
    d = data.series(seed, n=400, T=12)
    m = nets.mlp([12, 32, 1], "tanh")
    o = SGD(m.parameters(), 0.06)
    return job(m, o, MSE(), d, batch=32 if fixed else 1, epochs=30 if fixed else 6, seed=seed)


@case("B", [("batch_too_large", "undertrained")], ("test_score", 1, 0.1), [*STUCK, "lr_too_low"])
def btl_friedman_whole(seed: int, fixed: bool) -> Any:
    d = data.friedman(seed, n=600, noise=0.5)
    m = nets.mlp([10, 64, 64, 1], "elu")
    return job(m, AdamW(m.parameters(), 1e-3), MSE(), d, batch=32 if fixed else 600, epochs=20, seed=seed)


@case("B", [("batchnorm_misuse", "batch_too_small")], ("test_score", 1, 0.02),
      [*UNSTABLE, "batch_too_small", "launch_bound", "undertrained", "lr_too_high"])  # fmt: skip
def bn_batch2_hardclass(seed: int, fixed: bool) -> Any:
    d = data.hardclass(seed, n=400, d=20, inf=8, sep=1.5)
    m = nets.mlp([20, 48, 48, 2], norm="bn")
    o = Adam(m.parameters(), 2e-3)
    return job(m, o, CE(), d, batch=32 if fixed else 2, epochs=15 if fixed else 4, seed=seed)


@case("B", ["mode_misuse", "overfitting"], ("test_loss", -1, 0.15), ["converged_early"])
def mode_dropout_lost(seed: int, fixed: bool) -> Any:
    d = data.hardclass(seed, n=250, d=50, inf=8, k=3)
    m = nets.mlp([50, 200, 200, 3], "gelu", drop=0.6)
    loop = None if fixed else make_loop(back_to_train=False)
    return job(
        m, Adam(m.parameters(), 1e-3), CE(), d, batch=16, epochs=5 if fixed else 20, seed=seed, loop=loop
    )


@case("B", [("mode_misuse", "batchnorm_misuse")], ("val_loss", -1, 0.05),
      ["batchnorm_misuse", "overfitting", "train_val_shift", "oscillation", "underfitting"])  # fmt: skip
def mode_dropout_on_in_val(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=800)
    m = nets.mlp([64, 96, 96, 10], drop=0.5)
    loop = None if fixed else make_loop(eval_mode=False)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=12, seed=seed, loop=loop)


@case("B", ["undertrained"], ("test_score", 1, 0.1), ["lr_too_low", "underfitting", "batch_too_large"])
def utr_shapes(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, n=600, noise=0.35)
    m = nets.cnn(4, (8, 16), hw=12)
    return job(m, Adam(m.parameters(), 1.5e-3), CE(), d, batch=32, epochs=20 if fixed else 3, seed=seed)


@case("B", [("weight_decay_misuse", "underfitting")], ("test_loss", -1, 0.2), [*STUCK])
def wdm_gru_chars(seed: int, fixed: bool) -> Any:
    d = data.chars(seed, n=600, T=20)
    m = nets.SeqNet("gru", 16, 48, d.k, every=True, vocab=d.k)
    o = AdamW(m.parameters(), 8e-3, weight_decay=0.01 if fixed else 12.0)
    return job(m, o, nets.lm_loss, d, batch=32, epochs=10, task="lm", seed=seed)


@case("B", ["vanishing_gradient", "lr_too_low"], ("test_score", 1, 0.4),
      [*STUCK, "saturated_units", "bad_init"])  # fmt: skip
def mul_sigmoid_deep_slow(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=800)
    m = nets.mlp([64] + [40] * 6 + [10], "relu" if fixed else "sigmoid")
    if fixed:
        nets.he_(m)
    return job(m, SGD(m.parameters(), 0.05 if fixed else 1e-4), CE(), d, batch=32, epochs=12, seed=seed)


@case(
    "B",
    ["unscaled_targets", "lr_too_high"],
    ("test_score", 1, 0.2),
    [*ROUGH, "dead_units", "exploding_gradient"],
)
def mul_diabetes_sgd(seed: int, fixed: bool) -> Any:
    d = data.diabetes(seed, yscale=fixed)
    m = nets.mlp([10, 24, 1])
    return job(m, SGD(m.parameters(), 0.02 if fixed else 0.1), MSE(), d, batch=32, epochs=15, seed=seed)


@case("B", ["params_not_trained"], ("test_score", 1, 0.1), [*STUCK, "overfitting"])
def pnt_lstm_frozen(seed: int, fixed: bool) -> Any:
    d = steps_last(data.waves(seed, n=500, T=24, k=4, noise=0.4))
    m = nets.SeqNet("lstm", 1, 32, 4)
    if not fixed:
        m.rnn.requires_grad_(False)
    o = Adam([p for p in m.parameters() if p.requires_grad], 8e-3)
    return job(m, o, CE(), d, batch=32, epochs=25, seed=seed)
