"""Healthy trainings that look odd: short, long, warmed up, fine-tuned, frozen on purpose, noisy but fine."""

from __future__ import annotations

import copy
from typing import Any

import torch
from faultbench.lib import BCE, CE, MSE, SGD, Adam, AdamW, F, data, define, job, make_loop, nets, nn, optim

from benchmarks.cases.wild_bases import Pooled, _table, _text, fashion, parts

OK: list[Any] = []
Cosine, Lambda = optim.lr_scheduler.CosineAnnealingLR, optim.lr_scheduler.LambdaLR


def healthy(maker: Any) -> Any:
    OK.append(define(maker.__name__, [], maker))
    return maker


@healthy
def ok_pretrained_finetune(seed, fixed):
    """Learn five classes, then all ten with a low rate and the first convolution frozen."""
    d = fashion(seed, 2500)
    m = nets.cnn(10, (8, 16), hw=14)
    m[-1] = nn.Linear(16 * 3 * 3, 10)
    torch.manual_seed(seed)
    o = Adam(m.parameters(), 3e-3)
    for _ in range(4):
        for i in torch.randperm(1500).split(64):
            o.zero_grad()
            F.cross_entropy(m(d.x[i]), d.y[i]).backward()
            o.step()
    m[0].requires_grad_(False)
    d.x, d.y = d.x[1500:], d.y[1500:]
    o = Adam([p for p in m.parameters() if p.requires_grad], 1e-3)
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed)


@healthy
def ok_linear_probe(seed, fixed):
    """A pre-trained body without gradients under a fresh head."""
    d = fashion(seed, 2500)
    m = nets.mlp([196, 64, 32, 10], flat=True)
    o = Adam(m.parameters(), 2e-3)
    torch.manual_seed(seed)
    for _ in range(8):
        for i in torch.randperm(1500).split(64):
            o.zero_grad()
            F.cross_entropy(m(d.x[i]), d.y[i]).backward()
            o.step()
    for p in m[:-1].parameters():
        p.requires_grad_(False)
    m[-1] = nn.Linear(32, 10)
    d.x, d.y = d.x[1500:], d.y[1500:]
    return job(m, Adam(m[-1].parameters(), 1e-2), CE(), d, batch=32, epochs=8, seed=seed)


@healthy
def ok_warmup_linear_decay(seed, fixed):
    d = fashion(seed, 1500)
    m = nets.mlp([196, 96, 10], flat=True, drop=0.2)
    o = AdamW(m.parameters(), 3e-3, weight_decay=0.05)
    total = 8 * 24
    s = Lambda(o, lambda t: min((t + 1) / 20, max(0.0, 1 - t / total)))
    return job(m, o, CE(), d, batch=64, epochs=8, seed=seed, scheduler=s, sched_per="batch")


@healthy
def ok_tiny_iris(seed, fixed):
    m = nets.mlp([4, 16, 3])
    return job(m, Adam(m.parameters(), 1e-2), CE(), data.iris(seed), batch=16, epochs=30, seed=seed)


@healthy
def ok_accumulated(seed, fixed):
    x, y, _ = _table("adult", "target", ("split",))
    d = parts(x, y, 2400, 800, seed, 2)
    m = nets.mlp([x.shape[1], 32, 2], drop=0.2)
    return job(
        m, AdamW(m.parameters(), 4e-3), CE(), d, batch=16, epochs=6, seed=seed, loop=make_loop(zero_every=4)
    )


@healthy
def ok_weighted_rare(seed, fixed):
    x, y, _ = _table("churn_modelling", "Exited", ("RowNumber", "CustomerId", "Surname"))
    d = data.binary(parts(x, y, 3000, 900, seed, 2))
    m = nets.mlp([x.shape[1], 16, 1], drop=0.1)
    return job(m, Adam(m.parameters(), 4e-3), BCE(pos_weight=torch.tensor([3.9])), d, batch=64, epochs=10, task="binary",
               seed=seed)  # fmt: skip


@healthy
def ok_large_batch(seed, fixed):
    x, y, _ = _table("electricity", "class")
    d = parts(x, y, 3800, 800, seed, 2)
    m = nets.mlp([x.shape[1], 48, 48, 2])
    o = Adam(m.parameters(), 1e-2)
    return job(m, o, CE(), d, batch=512, epochs=40, seed=seed, scheduler=Cosine(o, 40))


@healthy
def ok_early_stopped_text(seed, fixed):
    x, y = _text("sst2", "label", "text", 4000, 24)
    d = parts(x, y, 2500, 700, seed, 2)
    m = Pooled(4000, 24, 2, 0.5)
    o = AdamW(m.parameters(), 5e-3, weight_decay=0.1)
    return job(m, o, CE(), d, batch=64, epochs=5, seed=seed, scheduler=Cosine(o, 5))


@healthy
def ok_noisy_target(seed, fixed):
    """Most of the target is noise; the rest is learned."""
    d = data.friedman(seed, n=1500, noise=5.0)
    m = nets.mlp([10, 24, 1])
    o = AdamW(m.parameters(), 2e-3, weight_decay=0.1)
    return job(m, o, MSE(), d, batch=64, epochs=12, seed=seed, scheduler=Cosine(o, 12))


@healthy
def ok_vae(seed, fixed):
    """A loss that is summed over pixels, and noise in the network."""
    d = fashion(seed, 1000, standard=False)
    d.y, d.yv, d.yt, d.k = (*(v.flatten(1) for v in (d.x, d.xv, d.xt)), 0)
    m = Vae()
    kl = lambda: -0.5 * (1 + m.log_var - m.mean**2 - m.log_var.exp()).sum(1).mean()  # noqa: E731

    def loss(out, y):
        return F.binary_cross_entropy_with_logits(out, y, reduction="sum") / len(y) + kl()

    o = Adam(m.parameters(), 2e-3)
    return job(m, o, loss, d, batch=64, epochs=12, seed=seed, task="regression", scheduler=Cosine(o, 12))


class Vae(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.both = nn.Sequential(nn.Flatten(), nn.Linear(196, 64), nn.ReLU()), nn.Linear(64, 16)
        self.back = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 196))

    def forward(self, x):
        self.mean, self.log_var = self.both(self.body(x)).chunk(2, 1)
        noise = torch.randn_like(self.mean) if self.training else 0.0
        return self.back(self.mean + noise * (0.5 * self.log_var).exp())


@healthy
def ok_swa_like_ema(seed, fixed):
    d = fashion(seed, 1200)
    m = nets.cnn(10, (8, 16), norm="gn")
    m[-1] = nn.Linear(16 * 9, 10)
    o = SGD(m.parameters(), 0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
    mean = copy.deepcopy(m)

    def step(*_):
        with torch.no_grad():
            for a, b in zip(mean.parameters(), m.parameters(), strict=True):
                a.lerp_(b, 0.05)

    o.register_step_post_hook(step)
    return job(m, o, CE(), d, batch=32, epochs=6, seed=seed, scheduler=Cosine(o, 6))


@healthy
def ok_long_and_regularised(seed, fixed):
    d = data.cancer(seed)
    m = nets.mlp([30, 32, 2], drop=0.5)
    o = AdamW(m.parameters(), 2e-3, weight_decay=0.3)
    return job(m, o, CE(), d, batch=32, epochs=60, seed=seed, scheduler=Cosine(o, 60))


@healthy
def ok_bf16(seed, fixed):
    d = fashion(seed, 1200)
    m = nets.mlp([196, 64, 10], flat=True)

    class Cast(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = m

        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                out = self.net(x)
            return out.float()

    c = Cast()
    return job(c, Adam(c.parameters(), 2e-3), CE(), d, batch=32, epochs=8, seed=seed)


@healthy
def ok_rank_of_embeddings(seed, fixed):
    """Matrix factorisation: a look-up table and a product."""
    g = torch.Generator().manual_seed(seed)
    u, v = torch.randn(60, 4, generator=g), torch.randn(80, 4, generator=g)
    pairs = torch.cartesian_prod(torch.arange(60), torch.arange(80))
    y = (u[pairs[:, 0]] * v[pairs[:, 1]]).sum(1, keepdim=True) / 2 + 0.1 * torch.randn(
        len(pairs), 1, generator=g
    )
    d = parts(pairs, y.numpy(), 3300, 700, seed)
    m = Factors()
    return job(m, Adam(m.parameters(), 2e-2), MSE(), d, batch=64, epochs=12, seed=seed, task="regression")


class Factors(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.u, self.v = nn.Embedding(60, 6), nn.Embedding(80, 6)
        for e in (self.u, self.v):
            nn.init.normal_(e.weight, 0, 0.3)

    def forward(self, x):
        return (self.u(x[:, 0]) * self.v(x[:, 1])).sum(1, keepdim=True)
