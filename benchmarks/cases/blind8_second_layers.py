"""Eighth blind set, second half: layers, rates and wiring (siblings of pnt_, sat_, sch_, van_, wdm_ and zgr_)."""

from __future__ import annotations

from typing import Any

from faultbench.core import TensorBatches
from faultbench.lib import CE, MSE, SGD, STUCK, UNSTABLE, Adam, AdamW, data, job, make_loop, nets, nn, optim

from benchmarks.cases.blind8_parts import case
from benchmarks.cases.blind8_second_parts import ClearsFirst, Parted, Towers, steps_first

UNLEARNT = [*STUCK, "overfitting"]


@case("B", ["params_not_trained"], ("test_score", 1, 0.1), UNLEARNT)
def pnt_frozen_gru(seed: int, fixed: bool) -> Any:
    """Leave requires_grad=False on a fresh GRU and its embedding."""
    d = data.topics(seed, n=500, k=4, T=16, mix=0.4)
    m = nets.SeqNet("gru", 16, 24, 4, vocab=200)
    if not fixed:
        for p in [*m.emb.parameters(), *m.rnn.parameters()]:
            p.requires_grad_(False)
    o = Adam([p for p in m.parameters() if p.requires_grad], 5e-3)
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed)


@case("B", ["params_not_trained"], ("test_score", 1, 0.1), UNLEARNT)
def pnt_detached_body(seed: int, fixed: bool) -> Any:
    """Detach the features of a fresh body before the head."""
    d = data.shapes(seed, n=600, noise=0.3)
    layers = list(nets.cnn(4, (8, 16), hw=12))
    m = Parted(nn.Sequential(*layers[:-1]), layers[-1], not fixed)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case("B", ["params_not_trained"], ("test_score", 1, 0.1), UNLEARNT)
def pnt_last_layer_only(seed: int, fixed: bool) -> Any:
    """Give the optimizer the last layer of a regression net alone."""
    d = data.friedman(seed, n=500, noise=0.5)
    m = nets.mlp([10, 32, 32, 1])
    return job(m, Adam((m if fixed else m[-1]).parameters(), 3e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case("B", ["params_not_trained"], ("test_score", 1, 0.1), UNLEARNT)
def pnt_towers_in_a_list(seed: int, fixed: bool) -> Any:
    """Keep the bodies in a plain list, so that parameters() holds only the head."""
    d = data.hardclass(seed, n=1000, d=12, inf=9, k=4, sep=1.5)
    m = Towers(4, 6, 4, fixed)
    return job(m, Adam(m.parameters(), 8e-3), CE(), d, batch=32, epochs=20, seed=seed)


FLAT = [*STUCK, "bad_init", "vanishing_gradient", "overfitting"]


@case("B", [("saturated_units", "bad_init")], ("test_score", 1, 0.05), FLAT)
def sat_sigmoid_bigw(seed: int, fixed: bool) -> Any:
    """Start sigmoid units with weights sixty times too large."""
    d = data.waves(seed, n=700, T=24, k=3, noise=0.4)
    m = nets.xavier_(nets.mlp([24, 48, 48, 3], "sigmoid", flat=True), 1.0 if fixed else 60.0)
    if not fixed:
        nets.xavier_(m[-1:])
    return job(m, Adam(m.parameters(), 1e-2), CE(), d, batch=32, epochs=20, seed=seed)


@case("B", [("saturated_units", "bad_init")], ("test_score", 1, 0.05), FLAT)
def sat_tanh_bias(seed: int, fixed: bool) -> Any:
    """Start the biases of tanh units at plus or minus two and a half."""
    d = data.cancer(seed)
    m = nets.xavier_(nets.mlp([30, 48, 48, 2], "tanh"))
    if not fixed:
        for layer in (m[0], m[2]):
            layer.bias.data[::2], layer.bias.data[1::2] = 2.5, -2.5
    return job(m, SGD(m.parameters(), 0.05), CE(), d, batch=32, epochs=15, seed=seed)


@case("B", ["lr_schedule"], ("test_score", 1, 0.1), [*STUCK, "lr_too_low"], "blatant")
def sch_exponential_every_batch(seed: int, fixed: bool) -> Any:
    """Step ExponentialLR(0.85) after every batch in place of every epoch."""
    d = steps_first(data.waves(seed, n=500, T=24, k=4, noise=0.4))
    m = nets.SeqNet("gru", 1, 32, 4)
    o = Adam(m.parameters(), 1e-2)
    s = optim.lr_scheduler.ExponentialLR(o, 0.85)
    per = "epoch" if fixed else "batch"
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed, scheduler=s, sched_per=per)


@case("B", ["lr_schedule"], ("test_score", 1, 0.1), [*STUCK, "lr_too_low"], "blatant")
def sch_warmup_in_epochs(seed: int, fixed: bool) -> Any:
    """Step a warm-up of a thousand steps once an epoch: the rate never arrives."""
    d = data.friedman(seed, n=500, noise=0.5)
    m = nets.mlp([10, 64, 64, 1])
    o = SGD(m.parameters(), 0.02)
    s = optim.lr_scheduler.LambdaLR(o, lambda t: min(1.0, (t + 1) / 1000))
    per = "batch" if fixed else "epoch"
    return job(m, o, MSE(), d, batch=8, epochs=20, seed=seed, scheduler=s, sched_per=per)


@case("B", ["vanishing_gradient"], ("test_score", 1, 0.5), [*STUCK, "saturated_units", "bad_init"], "blatant")
def van_sigmoid7_waves(seed: int, fixed: bool) -> Any:
    """Stack seven sigmoid layers over a series."""
    d = data.waves(seed, n=700, T=24, k=4, noise=0.3)
    m = nets.mlp([24] + [64] * 7 + [4], "relu" if fixed else "sigmoid", flat=True)
    if fixed:
        nets.he_(m)
    return job(m, SGD(m.parameters(), 0.05), CE(), d, batch=32, epochs=15, seed=seed)


@case("B", ["vanishing_gradient"], ("test_score", 1, 0.5), [*STUCK, "dead_units", "bad_init"], "blatant")
def van_plain_cnn14(seed: int, fixed: bool) -> Any:
    """Stack fourteen plain convolutions without norms or skips: the default weights shrink signal and gradient."""
    d = data.shapes(seed, n=600, noise=0.2)
    m = nets.deep_cnn(4, 8, 14, norm="bn" if fixed else None)
    o = SGD(m.parameters(), 0.05, momentum=0.9)
    s = optim.lr_scheduler.CosineAnnealingLR(o, 12)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed, scheduler=s)


DECAYED = [("weight_decay_misuse", "underfitting")]


@case("B", DECAYED, ("test_score", 1, 0.05), [*STUCK])
def wdm_cnn(seed: int, fixed: bool) -> Any:
    """Set the decay of AdamW to 20 on a CNN."""
    d = data.shapes(seed, n=600, noise=0.3)
    m = nets.cnn(4, (8, 16), hw=12)
    o = AdamW(m.parameters(), 3e-3, weight_decay=0.01 if fixed else 20.0)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed)


@case("B", DECAYED, ("test_score", 1, 0.05), [*STUCK])
def wdm_norms(seed: int, fixed: bool) -> Any:
    """Give the decay to the wrong group: the norms are decayed by 30, and the weights not at all."""
    d = data.friedman(seed, n=500, noise=0.5)
    m = nets.resmlp(10, 32, 1, 2)
    norms = [p for layer in m.modules() if isinstance(layer, nn.LayerNorm) for p in layer.parameters()]
    known = {id(p) for p in norms}
    groups = [
        {"params": norms, "weight_decay": 0.0 if fixed else 30.0},
        {"params": [p for p in m.parameters() if id(p) not in known], "weight_decay": 0.0},
    ]
    return job(m, AdamW(groups, 3e-3), MSE(), d, batch=32, epochs=15, seed=seed)


@case(
    "B",
    ["missing_zero_grad"],
    ("test_loss", -1, 0.05),
    [*UNSTABLE, "lr_too_high", "dead_units", "undertrained"],
)
def zgr_gru_adam(seed: int, fixed: bool) -> Any:
    """Forget zero_grad in the loop of a GRU."""
    d = steps_first(data.waves(seed, n=500, T=24, k=4, noise=0.4))
    m = nets.SeqNet("gru", 1, 32, 4)
    loop = None if fixed else make_loop(zero_grad=False)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=12, seed=seed, loop=loop)


@case(
    "B",
    ["missing_zero_grad"],
    ("test_loss", -1, 0.05),
    [*UNSTABLE, "lr_too_high", "dead_units", "undertrained"],
)
def zgr_once_an_epoch(seed: int, fixed: bool) -> Any:
    """Call zero_grad before the loop over the batches in place of inside it."""
    d = data.digits(seed, n=1000)
    m = nets.mlp([64, 64, 64, 10])
    o = Adam(m.parameters(), 4e-3)
    if fixed:
        return job(m, o, CE(), d, batch=32, epochs=12, seed=seed)
    b = ClearsFirst(TensorBatches(d.x, d.y, 32, True, seed), o)
    loop = make_loop(zero_grad=False)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed, loader=b, loop=loop)
