"""Sixth blind set: sound trainings, some of which look odd at first (see `blind6_loss.py`).

No standard remedy (another rate, batch or decay, more epochs) betters their score by more than 0.02.
"""

from __future__ import annotations

from typing import Any

from faultbench.core import TensorBatches
from faultbench.lib import BCE, CE, MSE, SGD, Adam, AdamW, F, data, job, nets, nn, optim, torch

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases import blind4_sets as sets4
from benchmarks.cases import blind6_data as more
from benchmarks.cases.blind3_parts import cosine
from benchmarks.cases.blind6_layers import Adapted, Flow, Sparse, sparse_code
from benchmarks.cases.blind6_parts import Codes, Pooled, Words, by_hand, case, conv1d, taken, taken_r2


@case([], severity="plain")
def ok_spoken_lstm(seed: int, fixed: bool) -> Any:
    """Tell spoken digits by an LSTM, averaged over time."""
    d = sets.spoken(seed, 900)
    m = Pooled(nn.LSTM, 16, 32, 10, drop=0.2)
    o = Adam(m.parameters(), 8e-3)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed, clip=1.0, scheduler=cosine(o, 12))


@case([], severity="tricky")
def ok_people_codes(seed: int, fixed: bool) -> Any:
    """Tell who earns much from eight codes: five in six are right, and more is not to be had."""
    d, vocab = more.people(seed, 2400)
    m = Codes(vocab, 8, d=4, h=16)
    o = AdamW(m.parameters(), 4e-3, weight_decay=0.1)
    return job(m, o, BCE(), d, batch=50, epochs=8, task="binary", seed=seed, scheduler=cosine(o, 8))


@case([], severity="plain")
def ok_intents_bag(seed: int, fixed: bool) -> Any:
    """Tell twelve kinds of questions to a bank by the mean of word vectors."""
    d = sets4.intents(seed, 1100)
    m = Words(800, 32, 12, hidden=48, drop=0.4)
    o = Adam(m.parameters(), 2e-2)
    return job(m, o, CE(), d, batch=32, epochs=14, seed=seed, scheduler=cosine(o, 14))


@case([], severity="plain")
def ok_photos_flipped(seed: int, fixed: bool) -> Any:
    """Tell five kinds of clothes on photographs, half of which are mirrored anew in each epoch."""
    d = more.photos(seed, 700)

    def mirrored(x: Any, g: Any) -> Any:
        turn = torch.rand(len(x), 1, 1, 1, generator=g) < 0.5
        return torch.where(turn, x.flip(-1), x)

    m = nets.cnn(5, (12, 24), hw=20, cin=3, drop=0.3)
    o = Adam(m.parameters(), 5e-3)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed, transform=mirrored, scheduler=cosine(o, 12))


@case([], severity="plain")
def ok_clothes_conv_autoencoder(seed: int, fixed: bool) -> Any:
    """Compress clothes by strided convolutions and bring them back by transposed ones."""
    d = sets.fashion(seed, 700)
    d.y, d.yv, d.yt, d.k = d.x, d.xv, d.xt, 0
    m = nn.Sequential(
        nn.Conv2d(1, 8, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, padding=0), nn.ReLU(),
        nn.ConvTranspose2d(8, 8, 3, stride=2), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1),
    )  # fmt: skip
    o = Adam(m.parameters(), 8e-3)
    return job(m, o, MSE(), d, batch=16, epochs=16, seed=seed, scheduler=cosine(o, 16))


def soft_accuracy(out: Any, y: Any) -> float:
    """Return the share of rows in which pupil and teacher agree."""
    return float((out.argmax(-1) == y.argmax(-1)).float().mean())


@case([], severity="tricky")
def ok_pupil_of_a_teacher(seed: int, fixed: bool) -> Any:
    """Distil a wide net into a small one by the divergence of softened answers, which starts low already."""
    d = data.digits(seed, n=1000)
    teacher = nets.mlp([64, 128, 10])
    o = Adam(teacher.parameters(), 3e-3)
    for _ in range(10):
        for x, y in TensorBatches(d.x, d.y, 32, True, seed):
            o.zero_grad()
            F.cross_entropy(teacher(x), y).backward()
            o.step()
    with torch.no_grad():
        for a, b in (("x", "y"), ("xv", "yv"), ("xt", "yt")):
            setattr(d, b, torch.softmax(teacher(getattr(d, a)) / 3, -1))

    def divergence(out: Any, y: Any) -> Any:
        return F.kl_div(F.log_softmax(out / 3, -1), y, reduction="batchmean")

    m = nets.mlp([64, 32, 10])
    o = Adam(m.parameters(), 5e-3)
    return job(
        m, o, divergence, d, batch=32, epochs=16, metric=soft_accuracy, seed=seed, scheduler=cosine(o, 16)
    )


@case([], severity="plain")
def ok_salaries_in_logs(seed: int, fixed: bool) -> Any:
    """Regress the logarithm of salaries by Huber's loss."""
    d = sets.table(seed, "employee_salaries", 1200)
    sets.targets(d, lambda v: (v.log() - 11.1) / 0.43)
    m = nets.mlp([d.x.shape[1], 32, 1], drop=0.2)
    o = AdamW(m.parameters(), 3e-3, weight_decay=0.1)
    return job(m, o, nn.HuberLoss(), d, batch=32, epochs=10, seed=seed, scheduler=cosine(o, 10))


@case([], severity="plain")
def ok_concrete_sgd(seed: int, fixed: bool) -> Any:
    """Regress strengths by SGD with Nesterov's momentum and a rate that falls."""
    d = more.strength(seed, 800)
    sets.targets(d, lambda v: (v - 37) / 15.6)
    m = nets.mlp([5, 48, 1], "gelu")
    o = SGD(m.parameters(), 0.03, momentum=0.9, nesterov=True)
    return job(m, o, MSE(), d, batch=32, epochs=20, seed=seed, scheduler=cosine(o, 20))


@case([], severity="plain")
def ok_chirps_batch_norm(seed: int, fixed: bool) -> Any:
    """Tell sweeps by convolutions over time with batch norm and a one-cycle rate."""
    d = more.chirps(seed, 800)
    m = conv1d(4, h=10, norm=True, drop=0.2)
    o = Adam(m.parameters(), 1e-2)
    s = optim.lr_scheduler.OneCycleLR(o, 1e-2, epochs=12, steps_per_epoch=25)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed, scheduler=s, sched_per="batch")


@case([], severity="tricky")
def ok_adapters(seed: int, fixed: bool) -> Any:
    """Fit low-rank adapters, one factor of which starts at zero, to a frozen net that knows other digits."""
    d = data.digits(seed, n=1100)
    body = nets.mlp([64, 64, 64, 10])
    o = Adam(body.parameters(), 3e-3)
    low = d.y < 5
    for _ in range(4):
        for x, y in TensorBatches(d.x[low], d.y[low], 32, True, seed):
            o.zero_grad()
            F.cross_entropy(body(x), y).backward()
            o.step()
    m = nn.Sequential(*[Adapted(v, 8, False) if isinstance(v, nn.Linear) else v for v in body])
    o = Adam([p for p in m.parameters() if p.requires_grad], 8e-3)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed, scheduler=cosine(o, 12))


@case([], severity="tricky")
def ok_values_of_actions(seed: int, fixed: bool) -> Any:
    """Learn the values of four actions from the one that was taken: three outputs of four have no gradient."""
    d = more.bandit(seed, 1800)
    m = nets.mlp([6, 64, 64, 4])
    o = AdamW(m.parameters(), 8e-3, weight_decay=0.3)
    s = cosine(o, 25)
    return job(m, o, taken, d, batch=32, epochs=25, metric=taken_r2, seed=seed, scheduler=s)


@case([], severity="tricky")
def ok_neural_ode(seed: int, fixed: bool) -> Any:
    """Regress returns by a learned field in twenty small steps."""
    d = more.returns(seed, 800)
    m = Flow(4, 24, 0.05)
    o = Adam(m.parameters(), 8e-3)
    return job(m, o, MSE(), d, batch=50, epochs=25, seed=seed, clip=1.0, scheduler=cosine(o, 25))


@case([], severity="tricky")
def ok_sparse_code(seed: int, fixed: bool) -> Any:
    """Train an autoencoder whose ReLU code is kept sparse by a small L1 term, in a loop by hand."""
    d = data.digits(seed, n=1000)
    d.y, d.yv, d.yt, d.k = d.x, d.xv, d.xt, 0
    m = Sparse()
    loop = by_hand(lambda j, e: sparse_code(j, e, 2e-3))
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=30, seed=seed, loop=loop)


@case([], severity="tricky")
def ok_order_of_tokens(seed: int, fixed: bool) -> Any:
    """Find the order of two tokens by a GRU: nothing is learned for some epochs, and then all."""
    d = more.before(seed, 900)
    m = Pooled(nn.GRU, 16, 20, 4, vocab=16)
    o = Adam(m.parameters(), 1e-2)
    return job(m, o, CE(), d, batch=32, epochs=14, seed=seed, clip=1.0, scheduler=cosine(o, 14))


@case([], severity="tricky")
def ok_warm_oil(seed: int, fixed: bool) -> Any:
    """Forecast the heat of a transformer from its loads, with dropout: training looks worse than validation."""
    d = more.seasons(seed, 1000)
    m = nets.mlp([84, 48, 1], drop=0.2)
    o = AdamW(m.parameters(), 3e-3, weight_decay=0.1)
    return job(m, o, MSE(), d, batch=32, epochs=15, seed=seed, scheduler=cosine(o, 15))
