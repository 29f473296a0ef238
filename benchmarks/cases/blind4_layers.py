"""Fourth blind set: first weights, signal through depth, units, batch norm, modes (see `blind4_rates.py`)."""

from __future__ import annotations

import itertools
from typing import Any

from faultbench.lib import BCE, CE, MSE, SGD, STUCK, Adam, AdamW, F, data, job, make_loop, nets, nn, torch

from benchmarks.cases import blind3_sets
from benchmarks.cases import blind4_sets as sets
from benchmarks.cases.blind3_parts import Bag, cosine, written
from benchmarks.cases.blind4_parts import (
    LOSS,
    ROUGH,
    SCORE,
    Crossed,
    Encoder,
    Mixing,
    case,
    sliced,
)

FADES = [*STUCK, "saturated_units", "bad_init", "lr_too_low"]
BURSTS = [*ROUGH, "bad_init", "lr_too_high", "dead_units", "saturated_units"]
SILENT = [*STUCK, "bad_init", "vanishing_gradient"]


@case("A", ["vanishing_gradient"], ("test_score", 1, 0.2), FADES)
def van_softsign_stairs(seed: int, fixed: bool) -> Any:
    d = data.friedman(seed, 1500, noise=0.5)
    widths = [10, *[32] * 12, 1]
    act = nn.ReLU if fixed else nn.Softsign
    layers: list[Any] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), act()]
    m = nn.Sequential(*layers[:-1])
    if fixed:
        nets.he_(m)
    return job(m, SGD(m.parameters(), 0.02, momentum=0.5), MSE(), d, batch=25, epochs=14, seed=seed)


@case("B", ["vanishing_gradient"], ("test_score", 1, 0.2), FADES)
def van_sigmoid_u_bend(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, 600, k=4, noise=0.25)
    m = nets.deep_cnn(4, 10, 9, norm="bn" if fixed else None, act="relu" if fixed else "sigmoid")
    return job(m, AdamW(m.parameters(), 2e-3), CE(), d, batch=30, epochs=8, seed=seed)


@case("A", [("exploding_gradient", "bad_init", "lr_too_high")], ("test_score", 1, 0.15), BURSTS)
def exp_recurrent_gain(seed: int, fixed: bool) -> Any:
    d = sets.adding(seed, 900, 8)
    m = nets.SeqNet("rnn", 2, 24, 1, nonlin="relu")
    nn.init.eye_(m.rnn.weight_hh_l0)
    m.rnn.weight_hh_l0.data.mul_(0.98 if fixed else 2.5)
    o = SGD(m.parameters(), 0.01, momentum=0.9)
    s = cosine(o, 25) if fixed else None
    return job(m, o, MSE(), d, batch=25, epochs=25, seed=seed, clip=1.0 if fixed else None, scheduler=s)


@case("B", [("exploding_gradient", "bad_init")], ("test_score", 1, 0.15), BURSTS, "blatant")
def exp_ten_gelu_layers(seed: int, fixed: bool) -> Any:
    d = sets.mixture(seed, 800)
    m = nets.he_(nets.mlp([10, *[32] * 8, 6], "gelu"), 1.0 if fixed else 2.5)
    return job(m, SGD(m.parameters(), 0.02, momentum=0.8), CE(), d, batch=25, epochs=15, seed=seed)


@case("A", [("dead_units", "bad_init")], LOSS, SILENT)
def dead_hidden_of_a_bag(seed: int, fixed: bool) -> Any:
    d = data.topics(seed, 800, k=4, mix=0.7)
    m = nets.BagOfWords(200, 16, 4, hidden=48)
    if not fixed:
        m.head[0].bias.data[1:] = -5.0
    return job(m, SGD(m.parameters(), 0.3, momentum=0.5), CE(), d, batch=30, epochs=15, seed=seed)


@case("B", [("dead_units", "bad_init")], ("test_loss", -1, 0.05), SILENT, "subtle")
def dead_channels_after_the_norm(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, 600, k=6, noise=0.3)
    m = nets.cnn(6, (12, 12), norm="bn", hw=12)
    if not fixed:
        for layer in m:
            if isinstance(layer, nn.BatchNorm2d):
                layer.bias.data[2:] = -7.0
    return job(
        m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=10, seed=seed, loop=sliced()
    )


@case(
    "A", [("saturated_units", "bad_init")], SCORE, [*STUCK, "bad_init", "vanishing_gradient", "overfitting"]
)
def sat_lstm_gates_shut(seed: int, fixed: bool) -> Any:
    d = data.running_sign(seed, 600, T=14)
    m = nets.SeqNet("lstm", 1, 24, 2)
    if not fixed:
        m.rnn.weight_ih_l0.data.mul_(60)
        m.rnn.weight_hh_l0.data.mul_(60)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=30, epochs=12, seed=seed)


@case(
    "B", [("saturated_units", "bad_init")], SCORE, [*STUCK, "bad_init", "vanishing_gradient", "overfitting"]
)
def sat_hard_tanh_on_a_mixture(seed: int, fixed: bool) -> Any:
    d = sets.mixture(seed, 900)
    m = nn.Sequential(nn.Linear(10, 48), nn.Hardtanh(), nn.Linear(48, 48), nn.Hardtanh(), nn.Linear(48, 6))
    nets.xavier_(m, 1.0)
    if not fixed:
        m[0].weight.data.mul_(25)
        m[2].weight.data.mul_(25)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case("A", ["bad_init"], SCORE, [*STUCK, "converged_early", "vanishing_gradient", "params_not_trained"])
def ini_all_weights_zero_in_the_middle(seed: int, fixed: bool) -> Any:
    d = sets.intents(seed, 1100)
    m = Bag(800, 32, 12)
    if not fixed:
        nn.init.zeros_(m.hidden.weight)
        nn.init.zeros_(m.head.weight)
        nn.init.zeros_(m.hidden.bias)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=10, seed=seed)


@case(
    "A",
    ["bad_init"],
    LOSS,
    [*ROUGH, "exploding_gradient", "lr_too_low", "undertrained", "overfitting"],
    "subtle",
)
def ini_loud_head_of_a_mixer(seed: int, fixed: bool) -> Any:
    d = blind3_sets.spoken(seed, 700)
    m = Mixing(20, 16, 10)
    if not fixed:
        nn.init.normal_(m.head.weight, 0, 8.0)
    return job(m, Adam(m.parameters(), 4e-3), CE(), d, batch=32, epochs=16, seed=seed)


@case("B", ["bad_init"], SCORE, [*STUCK, "converged_early"])
def ini_graph_of_equal_messages(seed: int, fixed: bool) -> Any:
    d = data.friedman(seed, 600, noise=0.5)
    m = nets.mlp([10, 48, 48, 1], "elu")
    if not fixed:
        nets.const_(m, 0.05)
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=30, epochs=25, seed=seed)


@case("B", ["bad_init"], LOSS, [*ROUGH, "lr_too_low", "undertrained", "overfitting", "lr_too_high"])
def ini_clicks_from_n01_times_three(seed: int, fixed: bool) -> Any:
    d = sets.clicks(seed, 2000)
    m = Crossed(std=0.3 if fixed else 4.0)
    return job(m, Adam(m.parameters(), 1.5e-2), BCE(), d, batch=50, epochs=8, task="binary", seed=seed)


@case("A", [("batchnorm_misuse", "batch_too_small")], ("test_loss", -1, 0.1), [*ROUGH, "batch_too_small", "launch_bound",
      "undertrained", "lr_too_high", "mode_misuse", "train_val_shift"])  # fmt: skip
def bn_hourglass_on_single_pictures(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, 400)
    m = nets.mlp([64, 48, 48, 10], norm="bn")
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=40 if fixed else 3, epochs=14 if fixed else 5, seed=seed,
               drop_last=True)  # fmt: skip


@case("B", [("batchnorm_misuse", "mode_misuse")], ("val_loss", -1, 0.1), [*ROUGH, "train_val_shift", "mode_misuse",
      "overfitting", "unscaled_inputs"])  # fmt: skip
def bn_momentum_zero(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, 600, k=4, noise=0.25)
    m = nets.cnn(4, (12, 24), norm="bn", hw=12, momentum=0.1 if fixed else 0.0)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=30, epochs=8, seed=seed)


class Leaky(nn.Module):
    """A classifier whose dropout is a function call that may forget the mode."""

    def __init__(self, d: int, h: int, k: int, heed: bool) -> None:
        super().__init__()
        self.a, self.b, self.c, self.heed = nn.Linear(d, h), nn.Linear(h, h), nn.Linear(h, k), heed

    def forward(self, x: Any) -> Any:
        for layer in (self.a, self.b):
            x = F.dropout(torch.relu(layer(x)), 0.6, training=self.training if self.heed else True)
        return self.c(x)


@case("A", ["mode_misuse"], ("val_loss", -1, 0.03), ["underfitting", "oscillation", "undertrained"], "subtle")
def mode_dropout_function_always_on(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, 800)
    m = Leaky(64, 64, 10, fixed)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case("B", [("mode_misuse", "batchnorm_misuse")], ("test_loss", -1, 0.01), [*ROUGH, "batchnorm_misuse", "lr_too_high",
      "train_val_shift", "unscaled_inputs"])  # fmt: skip
def mode_eval_before_the_loop(seed: int, fixed: bool) -> Any:
    d = sets.traffic(seed, 700)
    sets.inputs(d, lambda v: v * 6 + 5)
    m = nets.mlp([6, 64, 64, 1], norm="bn")
    return job(m, SGD(m.parameters(), 0.02), MSE(), d, batch=32, epochs=15, seed=seed,
               loop=None if fixed else make_loop(train_mode=False))  # fmt: skip


@case("B", ["mode_misuse"], ("val_loss", -1, 0.01), ["underfitting", "oscillation"])
def mode_validation_of_an_encoder_in_training(seed: int, fixed: bool) -> Any:
    d = data.topics(seed, 700, k=4, mix=0.75)
    m = Encoder(200, 24, 4, 20, drop=0.5)
    return job(
        m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=8, seed=seed, loop=written(set_eval=fixed)
    )


@case("A", [("saturated_units", "unscaled_inputs"), ("unscaled_inputs", "saturated_units")], SCORE, [*STUCK, "bad_init",
      "vanishing_gradient", "overfitting", "lr_too_low"])  # fmt: skip
def sat_tanh_on_raw_wine(seed: int, fixed: bool) -> Any:
    d = data.wine(seed, scale="std" if fixed else None)
    m = nets.mlp([13, 24, 24, 3], "tanh")
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=20, epochs=25, seed=seed)


@case("B", [("vanishing_gradient", "bad_init")], ("test_score", 1, 0.2), [*FADES, "bad_init"])
def van_pixels_from_tiny_weights(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, 700)
    m = nets.normal_(nets.mlp([64, 48, 48, 48, 48, 10], "tanh"), 0.15 if fixed else 0.01)
    return job(m, SGD(m.parameters(), 0.1), CE(), d, batch=32, epochs=12, seed=seed)
