"""Fifth blind set, second author: healthy sequences, regressions, special losses (see `blind5_second_loss.py`)."""

from __future__ import annotations

from typing import Any

from faultbench.lib import CE, MSE, SGD, Adam, AdamW, data, job, nets, nn, optim, torch

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases.blind3_parts import centre, cosine, spread
from benchmarks.cases.blind5_parts import case


@case([], severity="tricky")
def ok_gru_series_in_order(seed: int, fixed: bool) -> Any:
    """Forecast a series with its windows in time order, which does no harm."""
    d = sets.inputs(data.series(seed, n=700, T=12), lambda x: x[..., None])
    m = nets.SeqNet("gru", 1, 24, 1)
    o = Adam(m.parameters(), 5e-3)
    return job(m, o, MSE(), d, batch=32, epochs=20, seed=seed, shuffle=False, scheduler=cosine(o, 20))


@case([], severity="tricky")
def ok_negative_loss(seed: int, fixed: bool) -> Any:
    """Predict mean and spread by the Gaussian likelihood: the loss falls below zero, as it may."""
    d = data.friedman(seed, n=1500, noise=1.0)
    m = nets.mlp([10, 32, 2])
    o = AdamW(m.parameters(), 8e-3, weight_decay=0.1)
    return job(m, o, spread, d, batch=32, epochs=30, metric=centre, seed=seed, scheduler=cosine(o, 30))


@case([], severity="tricky")
def ok_huber_outliers(seed: int, fixed: bool) -> Any:
    """Fit targets of which three in a hundred lie far out, by Huber's loss."""
    d = data.friedman(seed, n=800, noise=0.5)
    far = torch.rand(len(d.y), generator=torch.Generator().manual_seed(seed + 79)) < 0.03
    d.y[far] += 6.0
    m = nets.mlp([10, 64, 1])
    o = Adam(m.parameters(), 5e-3)
    return job(m, o, nn.SmoothL1Loss(), d, batch=32, epochs=50, seed=seed, scheduler=cosine(o, 50))


@case([], severity="plain")
def ok_denoising_autoencoder(seed: int, fixed: bool) -> Any:
    """Clean noisy digits: noise is drawn anew for each batch, the target is the clean image."""
    d = data.digits(seed)
    d.y, d.yv, d.yt, d.k = d.x, d.xv, d.xt, 0
    noise = torch.Generator().manual_seed(seed + 83)
    d.xv, d.xt = (x + 0.5 * torch.randn(x.shape, generator=noise) for x in (d.xv, d.xt))

    def noisy(x: Any, g: Any) -> Any:
        return x + 0.5 * torch.randn(x.shape, generator=g)

    m = nets.mlp([64, 96, 24, 96, 64])
    o = Adam(m.parameters(), 3e-3)
    return job(m, o, MSE(), d, batch=32, epochs=30, seed=seed, transform=noisy, scheduler=cosine(o, 30))


@case([], severity="tricky")
def ok_noise_floor(seed: int, fixed: bool) -> Any:
    """Fit a line through noise twice as strong as the signal: the error stops far from zero, and must."""
    d = data.linreg(seed, n=600, noise=4.0)
    m = nn.Linear(8, 1)
    o = SGD(m.parameters(), 0.02)
    return job(m, o, MSE(), d, batch=32, epochs=15, seed=seed, scheduler=cosine(o, 15))


@case([], severity="plain")
def ok_transformer_topics(seed: int, fixed: bool) -> Any:
    """Tell topics by a pre-norm transformer with warm-up."""
    d = data.topics(seed, n=900, V=150, mix=0.55)
    m = nets.Transformer(150, 32, 4, 20, layers=1, heads=4, drop=0.2)
    o = AdamW(m.parameters(), 3e-3, weight_decay=0.1)
    s = optim.lr_scheduler.OneCycleLR(o, 3e-3, epochs=5, steps_per_epoch=29)
    return job(m, o, CE(), d, batch=32, epochs=5, seed=seed, scheduler=s, sched_per="batch", clip=1.0)


@case([], severity="tricky")
def ok_margin_wine(seed: int, fixed: bool) -> Any:
    """Learn by a multi-class hinge loss: it gets to zero on most rows, whose gradients vanish."""
    d = data.wine(seed)
    m = nets.mlp([13, 24, 3])
    o = AdamW(m.parameters(), 5e-3, weight_decay=0.1)
    return job(m, o, nn.MultiMarginLoss(), d, batch=20, epochs=12, seed=seed)
