"""Healthy trainings written before the doctor was asked, on which it must stay silent (see `blind_faults.py`)."""

from __future__ import annotations

from typing import Any

from faultbench.lib import BCE, CE, MSE, SGD, Adam, AdamW, data, job, make_loop, nets, nn, optim, torch

from benchmarks.cases.blind_faults import case
from benchmarks.cases.blind_sets import (
    Bag,
    Coded,
    Twin,
    codes,
    conv1d,
    counts,
    exact,
    explained,
    grades,
    longs,
    pairs,
    several_labels,
    steps_last,
)

cosine, step, one = (
    optim.lr_scheduler.CosineAnnealingLR,
    optim.lr_scheduler.StepLR,
    optim.lr_scheduler.OneCycleLR,
)


@case([])
def ok_lstm_waves(seed: int, fixed: bool) -> Any:
    d = steps_last(data.waves(seed, n=900, T=24, k=3, noise=0.3))
    m = nets.SeqNet("lstm", 1, 48, 3)
    o = Adam(m.parameters(), 1e-2)
    return job(m, o, CE(), d, batch=16, epochs=22, seed=seed, clip=1.0, scheduler=cosine(o, 22))


@case([])
def ok_transformer_topics(seed: int, fixed: bool) -> Any:
    d = data.topics(seed, n=800, V=150, T=16, mix=0.4)
    m = nets.Transformer(150, 24, 4, 16, layers=1, heads=4, drop=0.1)
    o = AdamW(m.parameters(), 2e-3)
    return job(m, o, CE(), d, batch=32, epochs=5, seed=seed, scheduler=cosine(o, 5))


@case([])
def ok_conv1d_rmsprop(seed: int, fixed: bool) -> Any:
    d = data.waves(seed, n=700, T=32, k=4, noise=0.4)
    m = conv1d(4)
    o = optim.RMSprop(m.parameters(), 2e-3)
    return job(m, o, CE(), d, batch=32, epochs=16, seed=seed, scheduler=step(o, 6, 0.3))


@case([])
def ok_several_labels(seed: int, fixed: bool) -> Any:
    d = several_labels(seed, n=1500)
    m = nets.mlp([20, 48, 6])
    o = AdamW(m.parameters(), 1e-3, weight_decay=0.05)
    s = one(o, 8e-3, total_steps=47 * 12 + 1)
    return job(
        m,
        o,
        BCE(),
        d,
        batch=32,
        epochs=12,
        metric=exact,
        task="binary",
        seed=seed,
        scheduler=s,
        sched_per="batch",
    )


@case([])
def ok_grades(seed: int, fixed: bool) -> Any:
    d = grades(seed, n=900)
    m = nets.mlp([10, 32, 4], "gelu")
    o = AdamW(m.parameters(), 1e-2, weight_decay=0.05)
    return job(
        m, o, BCE(), d, batch=32, epochs=22, metric=exact, task="binary", seed=seed, scheduler=cosine(o, 22)
    )


@case([])
def ok_counts(seed: int, fixed: bool) -> Any:
    d = counts(seed, n=1200)
    m = nets.mlp([6, 64, 1], "tanh")
    o = AdamW(m.parameters(), 1.5e-2, weight_decay=0.05)
    return job(
        m,
        o,
        nn.PoissonNLLLoss(),
        d,
        batch=16,
        epochs=24,
        metric=explained,
        seed=seed,
        scheduler=cosine(o, 24),
    )


@case([])
def ok_codes(seed: int, fixed: bool) -> Any:
    d = longs(codes(seed, n=2500))
    m = Coded()
    o = AdamW(m.parameters(), 5e-3, weight_decay=0.1)
    return job(m, o, MSE(), d, batch=32, epochs=14, seed=seed, scheduler=cosine(o, 14))


@case([])
def ok_siamese(seed: int, fixed: bool) -> Any:
    d = pairs(seed, n=1500)
    m = Twin()
    o = AdamW(m.parameters(), 3e-3, weight_decay=0.05)
    return job(m, o, BCE(), d, batch=32, epochs=10, task="binary", seed=seed, scheduler=cosine(o, 10))


@case([])
def ok_tied_lm(seed: int, fixed: bool) -> Any:
    d = data.chars(seed, n=2000, T=20)
    m = nets.Transformer(d.k, 32, d.k, 20, layers=1, heads=4, lm=True)
    m.head.weight = m.emb.weight
    o = AdamW(m.parameters(), 8e-3, weight_decay=0.1)
    return job(m, o, nets.lm_loss, d, batch=16, epochs=7, task="lm", seed=seed, scheduler=cosine(o, 7))


@case([])
def ok_cnn_momentum_steps(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, image=True)
    m = nets.cnn(10, (12, 24), norm="bn")
    o = SGD(m.parameters(), 0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed, scheduler=step(o, 4, 0.2))


@case([])
def ok_bag_adagrad(seed: int, fixed: bool) -> Any:
    d = data.topics(seed, n=800, V=150, T=20, mix=0.4)
    m = Bag(150, 24, 4)
    return job(m, optim.Adagrad(m.parameters(), 0.03), CE(), d, batch=32, epochs=8, seed=seed)


@case([])
def ok_denoising(seed: int, fixed: bool) -> Any:
    d = data.digits(seed)
    d.y, d.yv, d.yt, d.k = d.x, d.xv, d.xt, 0
    m = nets.mlp([64, 64, 20, 64, 64], "elu")
    o = Adam(m.parameters(), 8e-3)
    noisy = lambda x, g: x + 0.3 * torch.randn(x.shape, generator=g)  # noqa: E731
    return job(m, o, MSE(), d, batch=32, epochs=25, seed=seed, scheduler=cosine(o, 25), transform=noisy)


@case([])
def ok_huber(seed: int, fixed: bool) -> Any:
    d = data.friedman(seed, n=900, noise=0.5)
    m = nets.mlp([10, 48, 1], norm="ln")
    o = AdamW(m.parameters(), 5e-3)
    return job(m, o, nn.HuberLoss(), d, batch=32, epochs=20, seed=seed, scheduler=cosine(o, 20))


@case([])
def ok_weighted_classes(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, n=1800, noise=0.2, k=3)
    d = data.imbalance(d, {0: 350, 1: 350, 2: 60}, seed)
    m = nets.cnn(3, (12, 24), hw=12)
    w = torch.tensor([1.0, 1.0, 4.0])
    o = Adam(m.parameters(), 5e-3)
    return job(m, o, CE(weight=w), d, batch=32, epochs=16, seed=seed, scheduler=cosine(o, 16))


@case([])
def ok_gru_accumulated(seed: int, fixed: bool) -> Any:
    d = data.running_sign(seed, n=1000, T=12)
    m = nets.SeqNet("gru", 1, 24, 2)
    o = Adam(m.parameters(), 1e-2)
    return job(
        m, o, CE(), d, batch=8, epochs=14, seed=seed, loop=make_loop(zero_every=4), scheduler=cosine(o, 14)
    )


@case([])
def ok_residual_warmup(seed: int, fixed: bool) -> Any:
    d = data.digits(seed)
    m = nets.resmlp(64, 48, 10, 4)
    o = SGD(m.parameters(), 0.05, momentum=0.9)
    s = optim.lr_scheduler.SequentialLR(
        o, [optim.lr_scheduler.LinearLR(o, 0.1, 1.0, 32), cosine(o, 32 * 10)], milestones=[32]
    )
    return job(m, o, CE(), d, batch=32, epochs=11, seed=seed, scheduler=s, sched_per="batch")
