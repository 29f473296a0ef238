"""Seventh blind set, first half: sound trainings, some of which look odd at first (see `blind7_first_rates.py`).

No standard remedy (another rate, batch or decay, more epochs) betters their score by more than 0.02.
"""

from __future__ import annotations

from typing import Any

from faultbench.lib import CE, MSE, SGD, Adam, AdamW, data, job, nets, nn, optim, torch

from benchmarks.cases.blind7_parts import case, conv1d, cosine, every, mean_r2, normal_nll


@case("A", [], severity="plain")
def ok_linear(seed: int, fixed: bool) -> Any:
    """Regress linearly by SGD."""
    d = data.linreg(seed, n=400, d=12)
    m = nn.Linear(12, 1)
    return job(m, SGD(m.parameters(), 0.02), MSE(), d, batch=25, epochs=25, seed=seed)


@case("A", [], severity="plain")
def ok_waves_conv(seed: int, fixed: bool) -> Any:
    """Tell waves apart by convolutions over time."""
    d = data.waves(seed, n=700, T=40, k=4, noise=0.4)
    m = conv1d(4, 12)
    o = Adam(m.parameters(), 5e-3)
    return job(m, o, CE(), d, batch=32, epochs=16, seed=seed, scheduler=cosine(o, 16))


@case("A", [], severity="plain")
def ok_forecast(seed: int, fixed: bool) -> Any:
    """Forecast a series from sixteen steps."""
    d = data.series(seed, n=700, T=16)
    m = nets.mlp([16, 32, 1], "gelu")
    o = AdamW(m.parameters(), 4e-3, weight_decay=0.05)
    return job(m, o, MSE(), d, batch=32, epochs=15, seed=seed, scheduler=cosine(o, 15))


@case("A", [], severity="plain")
def ok_wine(seed: int, fixed: bool) -> Any:
    """Tell three wines apart from a hundred rows."""
    d = data.wine(seed)
    m = nets.mlp([13, 24, 3], "tanh")
    return job(m, SGD(m.parameters(), 0.1, weight_decay=1e-3), CE(), d, batch=20, epochs=25, seed=seed)


@case("A", [], severity="plain")
def ok_spirals(seed: int, fixed: bool) -> Any:
    """Tell three spirals apart."""
    d = data.spirals(seed, n=700, noise=0.03)
    m = nets.mlp([2, 64, 64, 3], "tanh")
    o = Adam(m.parameters(), 1e-2)
    return job(m, o, CE(), d, batch=32, epochs=50, seed=seed, scheduler=cosine(o, 50))


@case("A", [], severity="tricky")
def ok_fixed_order(seed: int, fixed: bool) -> Any:
    """Do not shuffle rows that are in random order already."""
    d = data.digits(seed, n=1000)
    m = nets.mlp([64, 64, 10], "elu")
    o = SGD(m.parameters(), 0.1, momentum=0.5)
    return job(m, o, CE(), d, batch=25, epochs=14, seed=seed, shuffle=False, scheduler=cosine(o, 14))


@case("A", [], severity="tricky")
def ok_head_of_zeros(seed: int, fixed: bool) -> Any:
    """Start the last layer at zero, so that the first gradients reach it alone."""
    d = data.digits(seed, n=900, image=True)
    m = nets.cnn(10, (12, 24))
    nets.const_(m[-1:], 0.0)
    o = Adam(m.parameters(), 4e-3)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed, scheduler=cosine(o, 12))


@case("A", [], severity="tricky")
def ok_validation_of_thirty(seed: int, fixed: bool) -> Any:
    """Validate on thirty rows: one of them is three points of the score."""
    d = data.cancer(seed, nv=30)
    m = nets.mlp([30, 16, 2])
    o = AdamW(m.parameters(), 5e-3, weight_decay=0.1)
    return job(m, o, CE(), d, batch=32, epochs=25, seed=seed, scheduler=cosine(o, 25))


@case("A", [], severity="tricky")
def ok_sixteen_branches(seed: int, fixed: bool) -> Any:
    """Train a net of 33 layers with skips and norms."""
    d = data.digits(seed, n=900)
    m = nets.resmlp(64, 32, 10, 16)
    o = AdamW(m.parameters(), 2e-3, weight_decay=0.05)
    return job(m, o, CE(), d, batch=50, epochs=10, seed=seed, scheduler=cosine(o, 10))


@case("A", [], severity="tricky")
def ok_groups_of_channels(seed: int, fixed: bool) -> Any:
    """Use batches of eight, which group norm does not mind."""
    d = data.shapes(seed, n=700, noise=0.2, k=4)
    m = nets.cnn(4, (8, 16), norm="gn", hw=12)
    o = Adam(m.parameters(), 2e-3)
    return job(m, o, CE(), d, batch=8, epochs=7, seed=seed, scheduler=cosine(o, 7))


@case("A", [], severity="tricky")
def ok_loss_below_zero(seed: int, fixed: bool) -> Any:
    """Learn mean and deviation by the normal likelihood, whose loss falls below zero."""
    d = data.friedman(seed, n=900, noise=0.5)
    m = nets.mlp([10, 48, 48, 2], "gelu")
    o = AdamW(m.parameters(), 4e-3, weight_decay=0.1)
    return job(
        m, o, normal_nll, d, batch=32, epochs=20, metric=mean_r2, seed=seed, clip=5.0, scheduler=cosine(o, 20)
    )


@case("A", [], severity="tricky")
def ok_always_clipped(seed: int, fixed: bool) -> Any:
    """Clip the gradient to a norm of 0.1 in every step, before Adam scales it again."""
    d = data.waves(seed, n=600, T=24, k=4, noise=0.4)
    every(d, lambda v: v.transpose(1, 2).contiguous())
    m = nets.SeqNet("lstm", 1, 32, 4)
    o = Adam(m.parameters(), 8e-3)
    return job(m, o, CE(), d, batch=25, epochs=20, seed=seed, clip=0.1, scheduler=cosine(o, 20))


@case("A", [], severity="tricky")
def ok_outliers_under_huber(seed: int, fixed: bool) -> Any:
    """Regress targets with a few far ones by Huber's loss, which bears them."""
    d = data.linreg(seed, n=600, d=8, noise=0.4)
    g = torch.Generator().manual_seed(seed + 5)
    d.y = d.y + 8.0 * torch.randn(d.y.shape, generator=g) * (torch.rand(d.y.shape, generator=g) < 0.03)
    m = nets.mlp([8, 24, 1])
    o = AdamW(m.parameters(), 5e-3, weight_decay=0.05)
    return job(m, o, nn.HuberLoss(), d, batch=25, epochs=16, seed=seed, scheduler=cosine(o, 16))


@case("A", [], severity="tricky")
def ok_summed_loss(seed: int, fixed: bool) -> Any:
    """Sum the loss over the batch, at a rate that was chosen for the sum."""
    d = data.binary(data.moons(seed, n=600, noise=0.15))
    m = nets.mlp([2, 32, 32, 1])
    loss = nn.BCEWithLogitsLoss(reduction="sum")
    o = SGD(m.parameters(), 0.01, momentum=0.9)
    return job(m, o, loss, d, batch=25, epochs=25, task="binary", seed=seed, scheduler=cosine(o, 25))


@case("A", [], severity="tricky")
def ok_one_high_cycle(seed: int, fixed: bool) -> Any:
    """Let the rate rise to 0.3 and fall again within one cycle: the loss swells in the middle."""
    d = data.digits(seed, n=1000)
    m = nets.mlp([64, 64, 10], norm="bn")
    o = SGD(m.parameters(), 0.3, momentum=0.9)
    s = optim.lr_scheduler.OneCycleLR(o, 0.3, total_steps=2 * 12 * 20 + 8)
    every(d, lambda v: v.clamp(-3, 3))
    return job(m, o, CE(), d, batch=50, epochs=12, seed=seed, scheduler=s, sched_per="batch")
