"""Healthy trainings of our own: nothing ails them, though much looks as if it did.

The doctor must stay silent on each (`python benchmarks/faultbench.py --own`).
"""

from __future__ import annotations

from typing import Any

from faultbench.lib import (
    BCE,
    CE,
    MSE,
    SGD,
    Adam,
    AdamW,
    F,
    TensorBatches,
    balanced_accuracy,
    data,
    job,
    make_loop,
    nets,
    nn,
    optim,
    torch,
)  # fmt: skip

from benchmarks.cases.own_faults import case

healthy: Any = case([])
Cosine, Lambda = optim.lr_scheduler.CosineAnnealingLR, optim.lr_scheduler.LambdaLR


@healthy
def ok_transformer_topics(seed, fixed):
    m = nets.Transformer(200, 32, 4, 20, drop=0.1)
    o = AdamW(m.parameters(), 2e-3, weight_decay=0.01)
    d = data.topics(seed, n=1200)
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed, scheduler=Cosine(o, 10))


@healthy
def ok_transformer_lm(seed, fixed):
    d = data.chars(seed, n=1600, T=24)
    m = nets.Transformer(d.k, 48, d.k, 24, lm=True)
    o = AdamW(m.parameters(), 4e-3, weight_decay=0.1)
    s = Lambda(o, lambda t: min(1.0, (t + 1) / 25) * max(0.02, 1 - t / 300))
    return job(
        m,
        o,
        nets.lm_loss,
        d,
        batch=32,
        epochs=6,
        task="lm",
        seed=seed,
        scheduler=s,
        sched_per="batch",
        clip=1.0,
    )


@healthy
def ok_resmlp(seed, fixed):
    m = nets.resmlp(64, 48, 10, 6)
    return job(m, Adam(m.parameters(), 1e-3), CE(), data.digits(seed), batch=32, epochs=10, seed=seed)


@healthy
def ok_cnn_bn(seed, fixed):
    d = data.digits(seed, image=True)
    m = nets.cnn(10, (8, 16), norm="bn")
    o = SGD(m.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    return job(m, o, CE(), d, batch=64, epochs=12, seed=seed, scheduler=Cosine(o, 12))


def jitter(x, gen):
    return torch.roll(x, int(torch.randint(-1, 2, (1,), generator=gen)), -1)


@healthy
def ok_cnn_augment(seed, fixed):
    d = data.shapes(seed, n=1000, noise=0.25)
    m = nets.cnn(4, (12, 24), hw=12)
    o = Adam(m.parameters(), 4e-3)
    return job(m, o, CE(), d, batch=32, epochs=14, seed=seed, transform=jitter, scheduler=Cosine(o, 14))


@healthy
def ok_deep_bn(seed, fixed):
    d = data.digits(seed, image=True)
    m = nets.deep_cnn(10, 8, 8, norm="bn")
    o = Adam(m.parameters(), 5e-3)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed, scheduler=Cosine(o, 12))


@healthy
def ok_lstm_waves(seed, fixed):
    d = data.waves(seed, n=600, T=24, noise=0.3)
    for a in ("x", "xv", "xt"):
        setattr(d, a, getattr(d, a).transpose(1, 2).contiguous())
    m = nets.SeqNet("lstm", 1, 32, 4)
    o = Adam(m.parameters(), 5e-3)
    return job(m, o, CE(), d, batch=32, epochs=20, seed=seed, clip=1.0, scheduler=Cosine(o, 20))


@healthy
def ok_conv1d_waves(seed, fixed):
    d = data.waves(seed, n=600, noise=0.4)
    m = nn.Sequential(nn.Conv1d(1, 16, 7, padding=3), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(16, 16, 5, padding=2),
                      nn.ReLU(), nn.AdaptiveMaxPool1d(4), nn.Flatten(), nn.Linear(64, 4))  # fmt: skip
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=15, seed=seed)


@healthy
def ok_wine(seed, fixed):
    m = nets.mlp([13, 32, 3])
    return job(
        m, SGD(m.parameters(), 0.1, momentum=0.9), CE(), data.wine(seed), batch=16, epochs=20, seed=seed
    )


@healthy
def ok_iris(seed, fixed):
    m = nets.mlp([4, 16, 3], "tanh")
    return job(m, Adam(m.parameters(), 1e-2), CE(), data.iris(seed), batch=16, epochs=20, seed=seed)


@healthy
def ok_cancer_binary(seed, fixed):
    d = data.binary(data.cancer(seed))
    m = nets.mlp([30, 16, 1])
    o = AdamW(m.parameters(), 3e-3, weight_decay=0.1)
    return job(m, o, BCE(), d, batch=32, epochs=12, task="binary", seed=seed)


@healthy
def ok_logistic(seed, fixed):
    m = nn.Linear(30, 2)
    return job(m, SGD(m.parameters(), 0.1), CE(), data.cancer(seed), batch=32, epochs=15, seed=seed)


@healthy
def ok_linreg(seed, fixed):
    m = nn.Linear(8, 1)
    return job(m, SGD(m.parameters(), 0.03), MSE(), data.linreg(seed), batch=32, epochs=15, seed=seed)


@healthy
def ok_sine(seed, fixed):
    m = nets.mlp([1, 48, 48, 1], "tanh")
    o = Adam(m.parameters(), 1e-2)
    return job(
        m,
        o,
        MSE(),
        data.sine(seed, n=400, noise=0.1),
        batch=32,
        epochs=40,
        seed=seed,
        scheduler=Cosine(o, 40),
    )


@healthy
def ok_series_in_order(seed, fixed):
    m = nets.mlp([16, 32, 1])
    d = data.series(seed)
    return job(m, Adam(m.parameters(), 5e-3), MSE(), d, batch=32, epochs=25, seed=seed, shuffle=False)


@healthy
def ok_friedman_noisy(seed, fixed):
    m = nets.mlp([10, 32, 1])
    o = AdamW(m.parameters(), 5e-3, weight_decay=0.05)
    d = data.friedman(seed, n=2000, noise=3.0)
    return job(m, o, MSE(), d, batch=64, epochs=10, seed=seed, scheduler=Cosine(o, 10))


@healthy
def ok_overlapping_classes(seed, fixed):
    d = data.blobs(seed, k=3, n=900, std=4.0, dim=2)
    m = nets.mlp([2, 24, 3])
    o = Adam(m.parameters(), 5e-3)
    return job(m, o, CE(), d, batch=32, epochs=15, seed=seed, scheduler=Cosine(o, 15))


@healthy
def ok_moons_noisy(seed, fixed):
    m = nets.mlp([2, 24, 2])
    o = Adam(m.parameters(), 1e-2)
    d = data.moons(seed, n=800, noise=0.35)
    return job(m, o, CE(), d, batch=32, epochs=15, seed=seed, scheduler=Cosine(o, 15))


@healthy
def ok_circles(seed, fixed):
    m = nets.mlp([2, 32, 2])
    return job(m, Adam(m.parameters(), 1e-2), CE(), data.circles(seed), batch=32, epochs=20, seed=seed)


@healthy
def ok_spirals(seed, fixed):
    m = nets.mlp([2, 64, 64, 3])
    return job(m, Adam(m.parameters(), 5e-3), CE(), data.spirals(seed, n=900), batch=32, epochs=40, seed=seed)


@healthy
def ok_xor_discrete(seed, fixed):
    m = nets.mlp([2, 24, 2], "tanh")
    return job(m, Adam(m.parameters(), 2e-2), CE(), data.xor(seed, noise=0.1), batch=32, epochs=20, seed=seed)


@healthy
def ok_grokking(seed, fixed):
    d = data.modadd(seed, p=17, frac=0.7)
    m = nets.ModAdd(17, 32, 64)
    o = AdamW(m.parameters(), 1e-2, weight_decay=1.0)
    return job(m, o, CE(), d, batch=64, epochs=120, seed=seed)


@healthy
def ok_batch4_decayed(seed, fixed):
    m = nets.mlp([64, 64, 10])
    o = SGD(m.parameters(), 0.02)
    d = data.digits(seed, n=800)
    return job(m, o, CE(), d, batch=4, epochs=8, seed=seed, scheduler=Cosine(o, 8))


@healthy
def ok_large_batch_high_rate(seed, fixed):
    m = nets.mlp([64, 64, 10])
    o = SGD(m.parameters(), 0.5, momentum=0.9)
    return job(m, o, CE(), data.digits(seed), batch=250, epochs=30, seed=seed)


@healthy
def ok_edge_of_stability(seed, fixed):
    m = nets.mlp([64, 64, 10], "tanh")
    return job(m, SGD(m.parameters(), 0.8), CE(), data.digits(seed), batch=500, epochs=80, seed=seed)


@healthy
def ok_warm_restarts(seed, fixed):
    m = nets.mlp([64, 64, 10])
    o = SGD(m.parameters(), 0.2)
    s = optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 5)
    return job(m, o, CE(), data.digits(seed), batch=32, epochs=20, seed=seed, scheduler=s)


@healthy
def ok_one_cycle(seed, fixed):
    d = data.shapes(seed, n=800, noise=0.25)
    m = nets.cnn(4, (8, 16), hw=12)
    o = SGD(m.parameters(), 0.02, momentum=0.9)
    s = optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=15 * 25)
    return job(m, o, CE(), d, batch=32, epochs=15, seed=seed, scheduler=s, sched_per="batch")


@healthy
def ok_strong_dropout(seed, fixed):
    m = nets.mlp([64, 256, 10], drop=0.7)
    return job(m, Adam(m.parameters(), 3e-3), CE(), data.digits(seed), batch=32, epochs=20, seed=seed)


@healthy
def ok_weighted_imbalance(seed, fixed):
    d = data.blobs(seed, k=3, n=2000, std=1.5, dim=4)
    d = data.imbalance(d, {0: 500, 1: 40, 2: 500}, seed)
    m = nets.mlp([4, 24, 3])
    loss = CE(weight=torch.tensor([1.0, 10.0, 1.0]))
    return job(
        m, Adam(m.parameters(), 3e-3), loss, d, batch=32, epochs=12, seed=seed, metric=balanced_accuracy
    )


@healthy
def ok_relu_output(seed, fixed):
    d = data.friedman(seed, n=800, noise=0.5)
    low = float(d.y.min())
    d.y, d.yv, d.yt = (v - low + 0.3 for v in (d.y, d.yv, d.yt))
    m = nets.mlp([10, 64, 64, 1], last=nn.Softplus())
    o = Adam(m.parameters(), 6e-3)
    return job(m, o, MSE(), d, batch=32, epochs=30, seed=seed, scheduler=Cosine(o, 30))


@healthy
def ok_image_to_image(seed, fixed):
    d = data.digits(seed, image=True)
    lo, hi = d.x.min(), d.x.max()
    for a in ("x", "xv", "xt"):
        setattr(d, a, (getattr(d, a) - lo) / (hi - lo))
    d.y, d.yv, d.yt, d.k = d.x, d.xv, d.xt, 0
    m = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 4, 3, stride=2, padding=1), nn.ReLU(),
                      nn.ConvTranspose2d(4, 16, 2, stride=2), nn.ReLU(),
                      nn.Conv2d(16, 1, 3, padding=1), nn.Sigmoid())  # fmt: skip
    o = Adam(m.parameters(), 5e-3)
    return job(m, o, MSE(), d, batch=32, epochs=12, seed=seed, scheduler=Cosine(o, 12))


@healthy
def ok_multi_output(seed, fixed):
    d = data.friedman(seed, n=800, noise=0.3)
    for a, x in (("y", "x"), ("yv", "xv"), ("yt", "xt")):
        v = getattr(d, x)
        setattr(d, a, torch.cat([getattr(d, a), v[:, :1] * v[:, 1:2], v[:, 2:3] - v[:, 4:5]], 1))
    m = nets.mlp([10, 64, 64, 3])
    o = Adam(m.parameters(), 4e-3)
    return job(m, o, MSE(), d, batch=32, epochs=25, seed=seed, scheduler=Cosine(o, 25))


@healthy
def ok_l1_huber(seed, fixed):
    m = nets.mlp([10, 64, 64, 1])
    o = Adam(m.parameters(), 3e-3)
    d = data.friedman(seed, n=800, noise=0.5)
    return job(m, o, nn.HuberLoss(), d, batch=32, epochs=25, seed=seed, scheduler=Cosine(o, 25))


@healthy
def ok_small_loss(seed, fixed):
    m = nets.mlp([64, 64, 10])
    loss = lambda o, y: 1e-3 * F.cross_entropy(o, y)  # noqa: E731
    return job(m, Adam(m.parameters(), 2e-3), loss, data.digits(seed), batch=32, epochs=14, seed=seed)


@healthy
def ok_sum_reduction(seed, fixed):
    m = nets.mlp([64, 64, 10])
    return job(
        m,
        SGD(m.parameters(), 0.1 / 32),
        CE(reduction="sum"),
        data.digits(seed),
        batch=32,
        epochs=16,
        seed=seed,
    )


@healthy
def ok_multilabel(seed, fixed):
    d = data.hardclass(seed, n=900, d=12, inf=6, nv=300, sep=1.5)
    for a, x in (("y", "x"), ("yv", "xv"), ("yt", "xt")):
        v = getattr(d, x)
        setattr(d, a, torch.stack([v[:, 0] > 0, v[:, 1] + v[:, 2] > 0, v[:, 3] * v[:, 4] > 0], 1).float())
    m = nets.mlp([12, 64, 3])
    return job(m, Adam(m.parameters(), 5e-3), BCE(), d, batch=32, epochs=30, task="binary", seed=seed,
               metric=lambda o, y: ((o > 0) == (y > 0.5)).float().mean().item())  # fmt: skip


@healthy
def ok_topics_lstm(seed, fixed):
    d = data.topics(seed, n=1000, mix=0.2)
    m = nets.SeqNet("lstm", 24, 32, 4, vocab=200)
    o = Adam(m.parameters(), 1e-2)
    return job(m, o, CE(), d, batch=32, epochs=8, seed=seed, scheduler=Cosine(o, 8), clip=1.0)


@healthy
def ok_bag_of_words(seed, fixed):
    d = data.topics(seed, n=900, mix=0.3)
    m = nets.BagOfWords(200, 24, 4)
    return job(m, Adam(m.parameters(), 1e-2), CE(), d, batch=32, epochs=10, seed=seed)


@healthy
def ok_deep_relu_he(seed, fixed):
    m = nets.he_(nets.mlp([64] + [64] * 7 + [10]))
    o = Adam(m.parameters(), 1e-3)
    return job(m, o, CE(), data.digits(seed), batch=32, epochs=15, seed=seed, scheduler=Cosine(o, 15))


@healthy
def ok_sigmoid_net(seed, fixed):
    m = nets.xavier_(nets.mlp([64, 64, 10], "sigmoid"))
    return job(m, Adam(m.parameters(), 1e-2), CE(), data.digits(seed), batch=32, epochs=15, seed=seed)


@healthy
def ok_frozen_lower_half(seed, fixed):
    d = data.digits(seed)
    m = nets.mlp([64, 64, 64, 10])
    o = Adam(m.parameters(), 2e-3)
    for _ in range(5):
        for x, y in TensorBatches(d.x, (d.y >= 5).long(), 32, True, seed):
            o.zero_grad()
            F.cross_entropy(m(x), y).backward()
            o.step()
    for p in m[:2].parameters():
        p.requires_grad_(False)
    m[-1] = nn.Linear(64, 10)
    o = Adam([p for p in m.parameters() if p.requires_grad], 3e-3)
    return job(m, o, CE(), d, batch=32, epochs=15, seed=seed)


@healthy
def ok_accumulate_last_partial(seed, fixed):
    m = nets.mlp([64, 64, 10])
    d = data.digits(seed, n=999)
    return job(
        m, SGD(m.parameters(), 0.2), CE(), d, batch=16, epochs=20, seed=seed, loop=make_loop(zero_every=2)
    )


@healthy
def ok_two_rates(seed, fixed):
    m = nets.mlp([64, 64, 64, 10])
    o = SGD(
        [{"params": m[0].parameters(), "lr": 0.02}, {"params": m[2:].parameters(), "lr": 0.1}], momentum=0.9
    )
    return job(m, o, CE(), data.digits(seed), batch=32, epochs=12, seed=seed)


@healthy
def ok_dataloader_workersless(seed, fixed):
    d = data.digits(seed)
    m = nets.mlp([64, 256, 256, 10])
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(d.x, d.y), 64, shuffle=True)
    return job(m, Adam(m.parameters(), 1e-3), CE(), d, batch=64, epochs=15, seed=seed, loader=loader)


@healthy
def ok_binary_features(seed, fixed):
    gen = torch.Generator().manual_seed(seed)
    d = data.hardclass(seed, n=800, d=8, inf=4, nv=300)
    for a in ("x", "xv", "xt"):
        setattr(d, a, (getattr(d, a)[:, :5] > 0).float())
    for a, x in (("y", "x"), ("yv", "xv"), ("yt", "xt")):
        setattr(d, a, (getattr(d, x)[:, :3].sum(1) >= 2).long())
    m = nets.mlp([5, 16, 2])
    assert gen is not None
    return job(m, Adam(m.parameters(), 1e-2), CE(), d, batch=32, epochs=12, seed=seed)


@healthy
def ok_groupnorm_batch2(seed, fixed):
    d = data.digits(seed, n=500, image=True)
    m = nets.cnn(10, (8, 16), norm="gn")
    o = SGD(m.parameters(), 0.01, momentum=0.9)
    return job(m, o, CE(), d, batch=2, epochs=8, seed=seed, scheduler=Cosine(o, 8))


@healthy
def ok_leaky_elu(seed, fixed):
    m = nets.mlp([10, 48, 48, 1], "elu")
    o = AdamW(m.parameters(), 4e-3)
    d = data.friedman(seed, n=1000, noise=0.5)
    return job(m, o, MSE(), d, batch=32, epochs=25, seed=seed, scheduler=Cosine(o, 25))
