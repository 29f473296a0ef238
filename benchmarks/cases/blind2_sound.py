"""Healthy trainings of the second blind set: they look suspicious and are sound (see `blind2_first.py`)."""

from __future__ import annotations

from typing import Any

from faultbench.lib import CE, MSE, SGD, Adam, AdamW, data, job, nets, optim, torch

from benchmarks.cases.blind2_first import case

cosine, one = optim.lr_scheduler.CosineAnnealingLR, optim.lr_scheduler.OneCycleLR


@case("A", [])
def ok_diabetes_noisy(seed: int, fixed: bool) -> Any:
    d = data.diabetes(seed)
    m = nets.mlp([10, 8, 1], "tanh")
    o = AdamW(m.parameters(), 1e-2, weight_decay=0.5)
    return job(m, o, MSE(), d, batch=16, epochs=14, seed=seed, scheduler=cosine(o, 14))


@case("A", [])
def ok_digits_batch8(seed: int, fixed: bool) -> Any:
    d = data.digits(seed)
    m = nets.mlp([64, 48, 10])
    o = SGD(m.parameters(), 0.03, momentum=0.5)
    return job(m, o, CE(), d, batch=8, epochs=12, seed=seed, scheduler=cosine(o, 12))


@case("A", [])
def ok_friedman_onecycle(seed: int, fixed: bool) -> Any:
    d = data.friedman(seed, n=900, noise=0.5)
    m = nets.mlp([10, 64, 64, 1], "gelu")
    o = AdamW(m.parameters(), 1e-3, weight_decay=0.05)
    s = one(o, 1e-2, total_steps=29 * 25 + 1)
    return job(m, o, MSE(), d, batch=32, epochs=25, seed=seed, scheduler=s, sched_per="batch")


@case("A", [])
def ok_sine_noise_floor(seed: int, fixed: bool) -> Any:
    d = data.sine(seed, n=500, noise=0.5, freq=1.0)
    m = nets.mlp([1, 24, 1], "tanh")
    o = Adam(m.parameters(), 2e-2)
    return job(m, o, MSE(), d, batch=16, epochs=20, seed=seed, scheduler=cosine(o, 20))


@case("A", [])
def ok_lstm_first_token(seed: int, fixed: bool) -> Any:
    d = data.first_token(seed, n=700, T=6, k=3, noise=0.5)
    m = nets.SeqNet("lstm", 3, 24, 3)
    o = Adam(m.parameters(), 2e-2)
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed, clip=1.0, scheduler=cosine(o, 10))


@case("A", [])
def ok_iris_tiny(seed: int, fixed: bool) -> Any:
    d = data.iris(seed)
    m = nets.mlp([4, 12, 3])
    o = Adam(m.parameters(), 3e-2)
    return job(m, o, CE(), d, batch=16, epochs=30, seed=seed, scheduler=cosine(o, 30))


@case("A", [])
def ok_residual_scaled(seed: int, fixed: bool) -> Any:
    d = data.digits(seed)
    m = nets.resmlp(64, 48, 10, 8, scale=0.3)
    o = AdamW(m.parameters(), 2e-3, weight_decay=0.05)
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed, scheduler=cosine(o, 10))


@case("A", [])
def ok_shapes_augmented(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, n=900, noise=0.2)

    def rolled(x: Any, g: Any) -> Any:
        a, b = torch.randint(-1, 2, (2,), generator=g).tolist()
        return torch.roll(x, (a, b), (2, 3)) + 0.1 * torch.randn(x.shape, generator=g)

    m = nets.cnn(4, (8, 16), hw=12, norm="gn", drop=0.2)
    o = AdamW(m.parameters(), 5e-3)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed, transform=rolled, scheduler=cosine(o, 12))


@case("B", [])
def ok_moons_restarts(seed: int, fixed: bool) -> Any:
    d = data.moons(seed, n=600, noise=0.2)
    m = nets.mlp([2, 32, 32, 2], "gelu")
    o = AdamW(m.parameters(), 1e-2, weight_decay=0.1)
    s = optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 6)
    return job(m, o, CE(), d, batch=32, epochs=18, seed=seed, scheduler=s)


@case("B", [])
def ok_lm_warmup(seed: int, fixed: bool) -> Any:
    d = data.chars(seed, n=1600, T=20)
    m = nets.Transformer(d.k, 32, d.k, 20, layers=1, heads=4, lm=True)
    o = AdamW(m.parameters(), 8e-3, weight_decay=0.1)
    s = one(o, 8e-3, total_steps=50 * 8 + 1, pct_start=0.1)
    return job(
        m, o, nets.lm_loss, d, batch=32, epochs=8, task="lm", seed=seed, scheduler=s, sched_per="batch"
    )


@case("B", [])
def ok_cnn_bn_batch16(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, n=800, noise=0.25)
    m = nets.cnn(4, (8, 16), hw=12, norm="bn")
    o = SGD(m.parameters(), 0.03, momentum=0.9, weight_decay=1e-3)
    return job(m, o, CE(), d, batch=16, epochs=10, seed=seed, scheduler=cosine(o, 10))


@case("B", [])
def ok_clipped_rnn(seed: int, fixed: bool) -> Any:
    d = data.running_sign(seed, n=800, T=16)
    m = nets.SeqNet("gru", 1, 24, 2)
    o = Adam(m.parameters(), 1e-2)
    return job(m, o, CE(), d, batch=32, epochs=15, seed=seed, clip=0.25, scheduler=cosine(o, 15))


@case("B", [])
def ok_series_forecast(seed: int, fixed: bool) -> Any:
    d = data.series(seed, n=800, T=12)
    m = nets.mlp([12, 24, 1], "tanh")
    o = AdamW(m.parameters(), 5e-3, weight_decay=0.05)
    return job(m, o, MSE(), d, batch=32, epochs=20, seed=seed, scheduler=cosine(o, 20))


@case("B", [])
def ok_bag_dropout(seed: int, fixed: bool) -> Any:
    d = data.topics(seed, n=800, V=150, T=20, mix=0.4)
    m = nets.BagOfWords(150, 24, 4, hidden=48, drop=0.5)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=7, seed=seed)


@case("B", [])
def ok_wide_digits(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=1100)
    m = nets.mlp([64, 400, 10])
    o = SGD(m.parameters(), 0.1, momentum=0.9)
    return job(m, o, CE(), d, batch=64, epochs=10, seed=seed, scheduler=cosine(o, 10))
