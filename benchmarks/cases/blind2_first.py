"""A second set of faulty trainings written before the doctor was asked, half A: optimisation and networks.

`python benchmarks/faultbench.py --blind2 A [--prove]`; wiring and data of this half lie in
`blind2_first_data.py`, half B in `blind2_second.py` and `blind2_second_data.py`, healthy ones in
`blind2_sound.py`. Every case is a common loop on scikit-learn's data with one usual slip.
"""

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
    define,
    job,
    make_loop,
    nets,
    nn,
    optim,
)

from benchmarks.cases.blind_sets import steps_last

HALVES: dict[str, list[Any]] = {"A": [], "B": []}
SCORE, LOSS = ("test_score", 1, 0.05), ("test_loss", -1, 0.1)
ROUGH = [*STUCK, *UNSTABLE]


def case(half: str, labels: list[Any], better: tuple[str, int, float] = SCORE, accept: Any = ()) -> Any:
    """Register a maker `f(seed, fixed) -> Job` under its own name in one half."""

    def register(maker: Any) -> Any:
        HALVES[half].append(
            define("b2_" + maker.__name__, labels, maker, accept=accept, better=better if labels else None)
        )
        return maker

    return register


@case("A", ["overfitting"], ("test_loss", -1, 0.1), ["converged_early"])
def ovf_wide_hardclass(seed: int, fixed: bool) -> Any:
    d = data.hardclass(seed, n=150, d=40, inf=8)
    m = nets.mlp([40, 200, 2])
    return job(m, Adam(m.parameters(), 1e-3), CE(), d, batch=16, epochs=8 if fixed else 80, seed=seed)


@case("A", ["overfitting"], ("test_loss", -1, 0.03), ["converged_early"])
def ovf_sine_points(seed: int, fixed: bool) -> Any:
    d = data.sine(seed, n=40, noise=0.5, freq=1.0)
    m = nets.mlp([1, 64, 64, 1], "tanh")
    return job(m, Adam(m.parameters(), 5e-3), MSE(), d, batch=10, epochs=40 if fixed else 500, seed=seed)


@case("A", ["underfitting"], ("test_score", 1, 0.2), ["plateau", "converged_early", "bad_features"])
def und_linear_circles(seed: int, fixed: bool) -> Any:
    d = data.circles(seed)
    m = nets.mlp([2, 24, 2]) if fixed else nn.Linear(2, 2)
    return job(m, Adam(m.parameters(), 1e-2), CE(), d, batch=32, epochs=25, seed=seed)


@case("A", ["underfitting"], ("test_loss", -1, 0.15), ["plateau", "undertrained", "converged_early"])
def und_gru_two_units(seed: int, fixed: bool) -> Any:
    d = data.chars(seed, n=1200, T=20)
    m = nets.SeqNet("gru", 16, 32 if fixed else 2, d.k, every=True, vocab=d.k)
    o = Adam(m.parameters(), 5e-3)
    return job(m, o, nets.lm_loss, d, batch=32, epochs=12, task="lm", seed=seed)


@case("A", ["vanishing_gradient"], ("test_score", 1, 0.3), [*STUCK, "saturated_units", "bad_init"])
def van_deep_cnn_sigmoid(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, n=500, noise=0.2)
    m = nets.deep_cnn(4, 8, 8, norm="bn" if fixed else None, act="relu" if fixed else "sigmoid")
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=10, seed=seed)


@case("A", [("exploding_gradient", "bad_init")], ("test_score", 1, 0.2),
      [*ROUGH, "bad_init", "lr_too_high", "dead_units"])  # fmt: skip
def exp_normal_weights(seed: int, fixed: bool) -> Any:
    d = data.friedman(seed, n=500, noise=0.5)
    m = nets.mlp([10, 48, 48, 48, 48, 1])
    nets.he_(m) if fixed else nets.normal_(m, 0.6)
    return job(m, SGD(m.parameters(), 0.01), MSE(), d, batch=32, epochs=15, seed=seed)


@case("A", [("dead_units", "bad_init")], LOSS, ["bad_init", "vanishing_gradient", *STUCK])
def dead_second_layer_bias(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=800)
    m = nets.he_(nets.mlp([64, 64, 48, 10]))
    if not fixed:
        m[2].bias.data[4:] = -20.0
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case("A", ["dead_units", ("lr_too_high", "lr_schedule")], ("test_score", 1, 0.1),
      [*ROUGH, "lr_schedule", "vanishing_gradient", "bad_init"])  # fmt: skip
def dead_adam_first_epoch(seed: int, fixed: bool) -> Any:
    d = data.friedman(seed, n=500, noise=0.5)
    m = nets.mlp([10, 32, 32, 1])
    o = Adam(m.parameters(), 3e-3)
    s = optim.lr_scheduler.LambdaLR(o, lambda t: 1.0 if fixed or t >= 16 else 300.0)
    return job(m, o, MSE(), d, batch=32, epochs=20, seed=seed, scheduler=s, sched_per="batch")


@case("A", [("saturated_units", "bad_init")], ("test_score", 1, 0.1),
      [*STUCK, "bad_init", "vanishing_gradient"])  # fmt: skip
def sat_sigmoid_bias(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=800)
    m = nets.xavier_(nets.mlp([64, 48, 48, 10], "sigmoid"))
    if not fixed:
        m[0].bias.data[:] = 12.0
        m[2].bias.data[:] = -10.0
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case(
    "A", ["bad_init"], ("test_score", 1, 0.4), [*STUCK, "vanishing_gradient", "dead_units", "converged_early"]
)
def ini_zero_digits(seed: int, fixed: bool) -> Any:
    d = data.digits(seed)
    m = nets.mlp([64, 64, 10])
    if not fixed:
        nets.const_(m, 0.0)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case(
    "A",
    [("bad_init", "vanishing_gradient")],
    ("test_score", 1, 0.2),
    [*STUCK, "vanishing_gradient", "lr_too_low"],
)
def ini_tiny_cnn(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=800, image=True)
    m = nets.cnn(10, (12, 24))
    if not fixed:
        nets.normal_(m, 0.002)
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=8, seed=seed)


@case("A", ["lr_too_high"], ("test_score", 1, 0.2), [*ROUGH, "dead_units"])
def lrh_shapes_momentum(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, n=600, noise=0.3)
    m = nets.cnn(4, (8, 16), hw=12)
    o = SGD(m.parameters(), 0.03 if fixed else 0.6, momentum=0.9)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed)


@case(
    "A", ["lr_too_high"], ("test_loss", -1, 0.1), [*UNSTABLE, "overfitting", "dead_units", "saturated_units"]
)
def lrh_adam_digits_subtle(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=800)
    m = nets.mlp([64, 64, 64, 10])
    return job(m, Adam(m.parameters(), 2e-3 if fixed else 0.05), CE(), d, batch=32, epochs=15, seed=seed)


@case("A", ["lr_too_low"], ("test_score", 1, 0.2), [*STUCK])
def lrl_shapes_sgd(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, n=600, noise=0.3)
    m = nets.cnn(4, (12, 24), hw=12)
    return job(m, SGD(m.parameters(), 0.1 if fixed else 1e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case("A", ["lr_too_low"], ("test_loss", -1, 0.2), [*STUCK])
def lrl_lstm_chars_subtle(seed: int, fixed: bool) -> Any:
    d = data.chars(seed, n=600, T=20)
    m = nets.SeqNet("lstm", 16, 48, d.k, every=True, vocab=d.k)
    o = Adam(m.parameters(), 1e-2 if fixed else 5e-4)
    return job(m, o, nets.lm_loss, d, batch=32, epochs=10, task="lm", seed=seed)


@case("A", ["lr_schedule"], ("test_score", 1, 0.05), [*STUCK, "lr_too_low"])
def sch_milestones_early(seed: int, fixed: bool) -> Any:
    d = data.digits(seed)
    m = nets.mlp([64, 64, 64, 10])
    o = SGD(m.parameters(), 0.03)
    s = optim.lr_scheduler.MultiStepLR(o, [14, 18] if fixed else [1, 3], 0.1)
    return job(m, o, CE(), d, batch=32, epochs=20, seed=seed, scheduler=s)


@case("A", ["lr_schedule"], ("test_score", 1, 0.05), [*STUCK, "lr_too_low"])
def sch_linear_decay_early(seed: int, fixed: bool) -> Any:
    d = data.waves(seed, n=500, T=24, k=4, noise=0.5)
    m = nn.Sequential(nn.Flatten(), nets.mlp([24, 64, 4], "tanh"))
    o = Adam(m.parameters(), 5e-3)
    total = 16 * 25 if fixed else 16 * 2

    def rate(t: int) -> float:
        return max(0.0, 1 - t / total)

    s = optim.lr_scheduler.LambdaLR(o, rate)
    return job(m, o, CE(), d, batch=32, epochs=25, seed=seed, scheduler=s, sched_per="batch")


@case("A", [("batch_too_small", "lr_too_high")], ("test_score", 1, 0.03),
      [*UNSTABLE, "lr_too_high", "dead_units", "launch_bound"])  # fmt: skip
def bts_digits_b2(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=500)
    m = nets.mlp([64, 48, 10])
    o = SGD(m.parameters(), 0.12)
    return job(m, o, CE(), d, batch=32 if fixed else 1, epochs=30 if fixed else 6, seed=seed)


@case("A", [("batch_too_large", "undertrained")], ("test_score", 1, 0.05), [*STUCK, "lr_too_low"])
def btl_digits_whole(seed: int, fixed: bool) -> Any:
    d = data.digits(seed)
    m = nets.mlp([64, 64, 64, 10])
    return job(m, Adam(m.parameters(), 1e-3), CE(), d, batch=32 if fixed else 1000, epochs=15, seed=seed)


@case("A", [("batchnorm_misuse", "mode_misuse")], ("test_loss", -1, 0.05),
      ["overfitting", "mode_misuse", "oscillation", "train_val_shift", "lr_too_high"])  # fmt: skip
def bn_momentum_one(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=400)
    m = nets.mlp([64, 64, 64, 10], norm="bn")
    for layer in m:
        if isinstance(layer, nn.BatchNorm1d):
            layer.momentum = 0.1 if fixed else 1.0
    return job(m, SGD(m.parameters(), 0.05), CE(), d, batch=8, epochs=10, seed=seed, drop_last=True)


@case("A", ["undertrained"], ("test_score", 1, 0.1), ["lr_too_low", "underfitting", "batch_too_large"])
def utr_gru_waves(seed: int, fixed: bool) -> Any:
    d = steps_last(data.waves(seed, n=500, T=24, k=4, noise=0.5))
    m = nets.SeqNet("gru", 1, 32, 4)
    return job(m, Adam(m.parameters(), 4e-3), CE(), d, batch=32, epochs=25 if fixed else 4, seed=seed)


@case("A", [("weight_decay_misuse", "underfitting")], ("test_loss", -1, 0.2), [*STUCK])
def wdm_sgd_digits(seed: int, fixed: bool) -> Any:
    d = data.digits(seed)
    m = nets.mlp([64, 64, 10])
    o = SGD(m.parameters(), 0.1, momentum=0.9, weight_decay=1e-4 if fixed else 0.03)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed)


@case("A", [("mode_misuse", "batchnorm_misuse")], ("val_loss", -1, 0.1),
      ["batchnorm_misuse", "overfitting", "train_val_shift", "oscillation"])  # fmt: skip
def mode_no_eval_small_val(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, n=600, noise=0.25)
    m = nets.cnn(4, (8, 16), hw=12, norm="bn")
    loop = None if fixed else make_loop(eval_mode=False)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=10, seed=seed, val_batch=3, loop=loop)


@case(
    "A", ["lr_too_high", "loss_mismatch"], ("test_score", 1, 0.05), [*ROUGH, "saturated_units", "dead_units"]
)
def mul_softmax_fast(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=500)
    m = nets.mlp([64, 32, 10], last=None if fixed else nn.Softmax(-1))
    return job(m, SGD(m.parameters(), 0.1 if fixed else 15.0), CE(), d, batch=20, epochs=15, seed=seed)


@case("A", ["unscaled_targets", "undertrained"], ("test_score", 1, 0.2), [*ROUGH, "lr_too_low"])
def mul_diabetes_few_epochs(seed: int, fixed: bool) -> Any:
    d = data.diabetes(seed, yscale=fixed)
    m = nets.mlp([10, 32, 1])
    o = AdamW(m.parameters(), 3e-3)
    return job(m, o, MSE(), d, batch=32, epochs=15 if fixed else 6, seed=seed)
