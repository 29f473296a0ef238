"""Eighth blind set, first half: norms, units and initial weights.

Every fault is proved by a twin that does clearly better (`python benchmarks/faultbench.py --blind8 A --prove`).
"""

from __future__ import annotations

from typing import Any

from faultbench.lib import CE, SGD, STUCK, UNSTABLE, Adam, AdamW, data, job, nets, nn, optim

from benchmarks.cases.blind8_parts import case

Lambda = optim.lr_scheduler.LambdaLR
SILENT = ["bad_init", "underfitting", "undertrained", "vanishing_gradient"]
BURST = [*UNSTABLE, *STUCK, "lr_schedule", "vanishing_gradient"]
BLOWN = [*UNSTABLE, "bad_init", "dead_units", "lr_too_high"]


@case("A", [("batchnorm_misuse", "batch_too_small")], ("test_score", 1, 0.03), [*UNSTABLE, "batch_too_small",
      "launch_bound", "undertrained", "lr_too_high"])  # fmt: skip
def bn_batch2_table(seed: int, fixed: bool) -> Any:
    """Normalise by batches of two in a net over twenty columns."""
    d = data.hardclass(seed, n=300, d=20, inf=8, k=4, sep=2.0)
    m = nets.mlp([20, 48, 48, 4], "gelu", norm="bn")
    o = SGD(m.parameters(), 0.03)
    return job(m, o, CE(), d, batch=30 if fixed else 2, epochs=15 if fixed else 5, seed=seed)


@case("A", ["batchnorm_misuse"], ("test_score", 1, 0.03), ["mode_misuse", "overfitting", "train_val_shift",
      "oscillation"])  # fmt: skip
def bn_momentum_of_tensorflow(seed: int, fixed: bool) -> Any:
    """Set the momentum of the norms to 0.001, TensorFlow's 0.999 turned round: the running statistics lag."""
    d = data.digits(seed, n=700, image=True)
    m = nets.cnn(10, (8, 16), norm="bn", momentum=0.1 if fixed else 0.001)
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=5, seed=seed)


@case("A", [("dead_units", "bad_init")], ("test_loss", -1, 0.1), SILENT, "subtle")
def dead_mlp_restore(seed: int, fixed: bool) -> Any:
    """Restore all but six units of each hidden layer with bias -8."""
    d = data.digits(seed, n=800)
    m = nets.mlp([64, 32, 32, 10])
    for layer in (m[0], m[2]):
        layer.bias.data[6:] = 0.0 if fixed else -8.0
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=12, seed=seed)


@case("A", [("dead_units", "bad_init")], ("test_loss", -1, 0.1), SILENT, "subtle")
def dead_norm_shift(seed: int, fixed: bool) -> Any:
    """Load the shifts of the norms of another net: most channels get -6 and stay below zero."""
    d = data.waves(seed, n=600, T=32, k=5, noise=0.7)
    m = nn.Sequential(
        nn.Conv1d(1, 16, 5, stride=2), nn.BatchNorm1d(16), nn.ReLU(),
        nn.Conv1d(16, 16, 5, stride=2), nn.BatchNorm1d(16), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, 5),
    )  # fmt: skip
    for norm in (m[1], m[4]):
        norm.bias.data[3:] = 0.0 if fixed else -6.0
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=12, seed=seed)


@case("A", ["dead_units", ("lr_too_high", "lr_schedule")], ("test_score", 1, 0.1), BURST)
def dead_burst_cnn(seed: int, fixed: bool) -> Any:
    """Start a CNN by ten steps at thirty times its rate."""
    d = data.shapes(seed, n=600, noise=0.3, k=4)
    m = nets.cnn(4, (12, 24), hw=12)
    o = SGD(m.parameters(), 0.05, momentum=0.5)
    s = Lambda(o, lambda t: 1.0 if fixed or t >= 10 else 30.0)
    return job(m, o, CE(), d, batch=32, epochs=14, seed=seed, scheduler=s, sched_per="batch")


@case("A", ["dead_units", ("lr_too_high", "lr_schedule")], ("test_score", 1, 0.1), BURST)
def dead_typo_in_steps(seed: int, fixed: bool) -> Any:
    """Write 1.5 for 0.05 in a table of rates: one epoch of it leaves few units alive."""
    d = data.digits(seed, n=900)
    m = nets.mlp([64, 96, 96, 10])
    rates = {0: 0.1, 3: 0.05 if fixed else 1.5, 4: 0.05}
    o = SGD(m.parameters(), 1.0)
    s = Lambda(o, lambda t: rates[max(k for k in rates if k <= t)])
    return job(m, o, CE(), d, batch=32, epochs=14, seed=seed, scheduler=s)


@case("A", [("exploding_gradient", "bad_init")], ("test_score", 1, 0.25), BLOWN, "blatant")
def exp_mlp_gain(seed: int, fixed: bool) -> Any:
    """Draw the weights of five layers at three times He's deviation."""
    d = data.hardclass(seed, n=500, d=20, inf=8, k=4, sep=2.0)
    m = nets.he_(nets.mlp([20, 48, 48, 48, 48, 4]), 1.0 if fixed else 3.0)
    return job(m, SGD(m.parameters(), 0.02, momentum=0.9), CE(), d, batch=32, epochs=12, seed=seed)


@case("A", [("exploding_gradient", "bad_init")], ("test_score", 1, 0.25), BLOWN, "blatant")
def exp_rnn_recurrent(seed: int, fixed: bool) -> Any:
    """Start the recurrence of a ReLU RNN at twice the identity: 20 steps multiply it."""
    d = data.running_sign(seed, n=600, T=20)
    m = nets.SeqNet("rnn", 1, 24, 2, nonlin="relu")
    nn.init.eye_(m.rnn.weight_hh_l0)
    m.rnn.weight_hh_l0.data.mul_(1.0 if fixed else 2.0)
    return job(m, SGD(m.parameters(), 0.005), CE(), d, batch=32, epochs=14, seed=seed)


@case("A", ["bad_init"], ("test_loss", -1, 0.3), ["exploding_gradient", "undertrained", "lr_too_low", "plateau",
      "underfitting"])  # fmt: skip
def ini_embed_big_gru(seed: int, fixed: bool) -> Any:
    """Draw the vectors of a GRU language model, tied to its head, at deviation 3."""
    d = data.chars(seed, n=500, T=20)
    m = nets.SeqNet("gru", 40, 40, d.k, every=True, vocab=d.k)
    nn.init.normal_(m.emb.weight, 0, 0.1 if fixed else 3.0)
    m.head.weight = m.emb.weight
    return job(m, AdamW(m.parameters(), 3e-3), nets.lm_loss, d, batch=16, epochs=8, task="lm", seed=seed)


@case("A", ["bad_init"], ("test_loss", -1, 0.3), ["exploding_gradient", "undertrained", "lr_too_low", "plateau",
      "underfitting"])  # fmt: skip
def ini_wide_normal(seed: int, fixed: bool) -> Any:
    """Draw all weights of an MLP at deviation 0.5, whatever their fan-in."""
    d = data.digits(seed, n=800)
    m = nets.mlp([64, 64, 64, 10], "gelu")
    if not fixed:
        nets.normal_(m, 0.5)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case("A", ["bad_init"], ("test_score", 1, 0.2), [*STUCK, "converged_early"])
def ini_symmetric_circles(seed: int, fixed: bool) -> Any:
    """Set all weights to 0.3 in a net that must enclose a circle."""
    d = data.circles(seed, noise=0.08)
    m = nets.mlp([2, 16, 2], "tanh")
    if not fixed:
        nets.const_(m, 0.3)
    return job(m, Adam(m.parameters(), 1e-2), CE(), d, batch=32, epochs=30, seed=seed)


@case("A", ["bad_init"], ("test_score", 1, 0.2), [*STUCK, "converged_early"])
def ini_zeros_moons(seed: int, fixed: bool) -> Any:
    """Set all weights and biases to zero: only the last bias learns."""
    d = data.moons(seed, noise=0.15)
    m = nets.mlp([2, 24, 2], "tanh")
    if not fixed:
        nets.const_(m, 0.0)
    return job(m, Adam(m.parameters(), 1e-2), CE(), d, batch=25, epochs=30, seed=seed)
