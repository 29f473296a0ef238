"""Seventh blind set, first half: layers, starts, modes, and parameters that are left out."""

from __future__ import annotations

import copy
from typing import Any

from faultbench.lib import CE, MSE, SGD, STUCK, UNSTABLE, Adam, data, job, make_loop, nets, nn

from benchmarks.cases.blind7_parts import Stack, case, every


@case("A", [("batchnorm_misuse", "batch_too_small")], ("val_loss", -1, 0.1), [*UNSTABLE, "mode_misuse",
      "batch_too_small", "overfitting", "train_val_shift"])  # fmt: skip
def bn_momentum_of_another_library(seed: int, fixed: bool) -> Any:
    """Write momentum=0.99 as elsewhere: here it means that the running statistics are those of the last batch."""
    d = data.digits(seed, n=500)
    m = nets.mlp([64, 64, 64, 10], norm="bn")
    for layer in m:
        if isinstance(layer, nn.BatchNorm1d):
            layer.momentum = 0.1 if fixed else 0.99
    return job(m, SGD(m.parameters(), 0.05), CE(), d, batch=10, epochs=10, seed=seed, drop_last=True)


@case("A", ["dead_units", "lr_too_high"], ("test_score", 1, 0.1), [*UNSTABLE, *STUCK, "lr_too_high",
      "vanishing_gradient"])  # fmt: skip
def dead_by_rmsprop(seed: int, fixed: bool) -> Any:
    """Start RMSprop at 0.05: its first steps push most units below zero for good."""
    from torch.optim import RMSprop

    d = data.digits(seed, n=700)
    m = nets.mlp([64, 64, 64, 10])
    return job(m, RMSprop(m.parameters(), 1e-3 if fixed else 0.05), CE(), d, batch=32, epochs=12, seed=seed)


@case(
    "A",
    [("dead_units", "bad_init")],
    ("test_loss", -1, 0.03),
    [*STUCK, "bad_init", "vanishing_gradient"],
    "subtle",
)
def dead_under_a_threshold(seed: int, fixed: bool) -> Any:
    """Set the threshold of a sparse code to 0.5, which few of its units ever reach."""
    d = data.digits(seed, n=700)
    d.y, d.yv, d.yt, d.k = d.x, d.xv, d.xt, 0
    code = nn.Threshold(0.0 if fixed else 0.5, 0.0)
    m = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 24), code, nn.Linear(24, 48), nn.ReLU(),
                      nn.Linear(48, 64))  # fmt: skip
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=15, seed=seed)


@case("A", [("exploding_gradient", "bad_init")], ("test_score", 1, 0.2), [*UNSTABLE, *STUCK, "bad_init", "dead_units",
      "lr_too_high"])  # fmt: skip
def exp_branches_without_norm(seed: int, fixed: bool) -> Any:
    """Add twenty branches, each as large as its input, and normalise nothing."""
    d = data.digits(seed, n=600)
    m = nets.resmlp(64, 32, 10, 20, norm=fixed)
    if not fixed:
        nets.he_(m)
    return job(m, SGD(m.parameters(), 0.02), CE(), d, batch=32, epochs=8, seed=seed)


@case("A", ["bad_init"], ("test_score", 1, 0.3), [*STUCK, "converged_early", "vanishing_gradient", "dead_units",
      "params_not_trained"], "blatant")  # fmt: skip
def ini_kernels_of_zeros(seed: int, fixed: bool) -> Any:
    """Set all kernels, weights and biases to zero."""
    d = data.digits(seed, n=600, image=True)
    m = nets.cnn(10, (8, 16))
    if not fixed:
        nets.const_(m, 0.0)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=8, seed=seed)


@case(
    "A",
    [("bad_init", "vanishing_gradient")],
    ("test_score", 1, 0.3),
    [*STUCK, "vanishing_gradient", "lr_too_low"],
)
def ini_thousandths(seed: int, fixed: bool) -> Any:
    """Draw the weights of five layers with a deviation of 0.01."""
    d = data.friedman(seed, n=500, noise=0.5)
    m = nets.mlp([10, 48, 48, 48, 48, 1])
    if not fixed:
        nets.normal_(m, 0.01)
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), MSE(), d, batch=32, epochs=15, seed=seed)


@case("A", ["mode_misuse", "overfitting"], ("test_loss", -1, 0.04), ["converged_early"], "subtle")
def mode_train_never_called(seed: int, fixed: bool) -> Any:
    """Call model.eval() after loading the net and never train(): the dropout does nothing."""
    d = data.topics(seed, n=160, V=200, T=14, mix=0.6)
    m = nets.BagOfWords(200, 48, 4, hidden=96, drop=0.8)
    loop = None if fixed else make_loop(train_mode=False)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=16, epochs=50, seed=seed, loop=loop)


@case("A", [("mode_misuse", "batchnorm_misuse")], ("test_loss", -1, 0.05), [*UNSTABLE, "batchnorm_misuse",
      "overfitting", "lr_too_high", "exploding_gradient"])  # fmt: skip
def mode_norm_frozen_by_validation(seed: int, fixed: bool) -> Any:
    """Leave the net in eval() after the first validation: its norms keep the statistics of the first epoch."""
    d = data.shapes(seed, n=500, noise=0.3, k=5)
    m = nets.deep_cnn(5, 12, 8, norm="bn")
    loop = None if fixed else make_loop(back_to_train=False)
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=25, epochs=8, seed=seed, loop=loop)


@case("A", ["params_not_trained"], ("test_score", 1, 0.3), [*STUCK, "converged_early"], "blatant")
def pnt_optimiser_of_a_copy(seed: int, fixed: bool) -> Any:
    """Give the optimiser the parameters of a copy, made to keep the best weights."""
    d = data.topics(seed, n=500, V=150, T=16)
    m = nets.BagOfWords(150, 24, 4, hidden=24)
    learns = m if fixed else copy.deepcopy(m)
    return job(m, Adam(learns.parameters(), 4e-3), CE(), d, batch=25, epochs=12, seed=seed)


@case("A", ["params_not_trained"], ("test_score", 1, 0.05), [*STUCK, "overfitting"])
def pnt_layers_in_a_list(seed: int, fixed: bool) -> Any:
    """Keep the hidden layers in a Python list, where parameters() does not find them."""
    d = data.friedman(seed, n=600, noise=0.3)
    m = Stack(10, 24, 3, fixed)
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case("A", [("saturated_units", "bad_init")], ("test_score", 1, 0.05), [*STUCK, *UNSTABLE, "bad_init",
      "vanishing_gradient", "overfitting"])  # fmt: skip
def sat_recurrent_weights(seed: int, fixed: bool) -> Any:
    """Start a tanh recurrence with weights of deviation 2: every state is at plus or minus one."""
    d = data.running_sign(seed, n=600, T=12)
    m = nets.SeqNet("rnn", 1, 24, 2)
    if not fixed:
        nn.init.normal_(m.rnn.weight_hh_l0, 0, 2.0)
        nn.init.normal_(m.rnn.weight_ih_l0, 0, 2.0)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=25, epochs=12, seed=seed, clip=1.0)


@case("A", ["vanishing_gradient"], ("test_score", 1, 0.3), [*STUCK, "bad_init", "dead_units"], "blatant")
def van_sixteen_convolutions(seed: int, fixed: bool) -> Any:
    """Stack sixteen convolutions without skips or norms at PyTorch's default start."""
    d = data.shapes(seed, n=400, noise=0.25, k=4)
    m = nets.deep_cnn(4, 8, 16, norm="bn" if fixed else None)
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=25, epochs=8, seed=seed)


@case("A", ["missing_zero_grad"], ("test_score", 1, 0.05), [*UNSTABLE, "lr_too_high", "dead_units", "undertrained",
      "saturated_units"])  # fmt: skip
def zgr_series_sgd(seed: int, fixed: bool) -> Any:
    """Forget zero_grad() in a forecast by SGD: each step follows the sum of all gradients so far."""
    d = data.series(seed, n=500, T=12)
    m = nets.mlp([12, 32, 1], "tanh")
    loop = None if fixed else make_loop(zero_grad=False)
    every(d, lambda v: v / 1.2)
    return job(m, SGD(m.parameters(), 0.02), MSE(), d, batch=25, epochs=12, seed=seed, loop=loop)
