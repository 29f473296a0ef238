"""Sixth blind set: learning rates, schedules, batch sizes, weight decay and the number of epochs.

The faults are proved as those of `blind6_loss.py`.
"""

from __future__ import annotations

from typing import Any

from faultbench.lib import BCE, CE, MSE, SGD, STUCK, UNSTABLE, Adam, AdamW, data, job, nets, nn, optim

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases import blind6_data as more
from benchmarks.cases.blind3_parts import Patches, resnet, written
from benchmarks.cases.blind6_parts import Codes, Pooled, Words, by_hand, case, conv1d, taken, taken_r2

STEEP = [*UNSTABLE, "dead_units", "overfitting", "saturated_units"]
SLOW = [*STUCK, "lr_too_low", "vanishing_gradient"]
EARLY = [*STUCK, "lr_too_low", "lr_too_high"]
NOISY = [*UNSTABLE, "lr_too_high", "dead_units", "launch_bound"]
DECAYED = [*STUCK, "vanishing_gradient", "lr_too_low", "dead_units"]


@case(["lr_too_high"], ("test_loss", -1, 0.05), STEEP)
def lrh_autoencoder_adam(seed: int, fixed: bool) -> Any:
    """Train an autoencoder of digits with Adam at 0.06: it answers with few images for all."""
    d = data.digits(seed, n=900)
    d.y, d.yv, d.yt, d.k = d.x, d.xv, d.xt, 0
    m = nets.mlp([64, 48, 16, 48, 64])
    return job(m, Adam(m.parameters(), 3e-3 if fixed else 0.06), MSE(), d, batch=32, epochs=20, seed=seed)


@case(["lr_too_high"], ("test_score", 1, 0.05), STEEP)
def lrh_value_network(seed: int, fixed: bool) -> Any:
    """Regress returns of a controlled spring by SGD at 0.25 with momentum."""
    d = more.returns(seed, 800)
    m = nets.mlp([4, 48, 48, 1])
    o = SGD(m.parameters(), 0.02 if fixed else 0.25, momentum=0.9)
    return job(m, o, MSE(), d, batch=32, epochs=20, seed=seed)


@case(["lr_too_high"], ("test_loss", -1, 0.05), STEEP, "subtle")
def lrh_words_adam_subtle(seed: int, fixed: bool) -> Any:
    """Train word vectors of five kinds of questions with Adam at 0.15: accuracy is fair, the loss jumps."""
    d = sets.questions(seed, 1200)
    m = Words(800, 16, d.k, hidden=24, drop=0.5)
    o = Adam(m.parameters(), 6e-3 if fixed else 0.15)
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed)


@case(["lr_too_high"], ("test_score", 1, 0.1), STEEP)
def lrh_spoken_lstm(seed: int, fixed: bool) -> Any:
    """Train an LSTM on sounds with RMSprop at 0.2."""
    d = sets.spoken(seed, 500)
    m = Pooled(nn.LSTM, 16, 32, 10)
    o = optim.RMSprop(m.parameters(), 3e-3 if fixed else 0.2)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed)


@case(["lr_too_high"], ("test_loss", -1, 0.03), STEEP, "subtle")
def lrh_photos_sgd_subtle(seed: int, fixed: bool) -> Any:
    """Train a CNN on photographs by SGD at 0.09 with momentum: it learns, in jumps."""
    d = more.photos(seed, 500)
    m = nets.cnn(5, (8, 16), hw=20, cin=3)
    o = SGD(m.parameters(), 0.01 if fixed else 0.09, momentum=0.9)
    return job(m, o, CE(), d, batch=32, epochs=8, seed=seed)


@case(["lr_too_low"], ("test_loss", -1, 0.05), STUCK)
def lrl_autoencoder_sgd(seed: int, fixed: bool) -> Any:
    """Train an autoencoder of clothes by SGD at 1e-3."""
    d = sets.fashion(seed, 700, flat=True)
    d.y, d.yv, d.yt, d.k = d.x, d.xv, d.xt, 0
    m = nets.mlp([196, 64, 16, 64, 196])
    o = SGD(m.parameters(), 0.3 if fixed else 1e-3, momentum=0.9)
    return job(m, o, MSE(), d, batch=32, epochs=20, seed=seed)


@case(["lr_too_low"], ("test_score", 1, 0.1), STUCK)
def lrl_chirps_adam(seed: int, fixed: bool) -> Any:
    """Train a conv net on sweeps with Adam at 3e-5, the rate of fine-tuning."""
    d = more.chirps(seed, 600)
    m = conv1d(4, h=12)
    return job(m, Adam(m.parameters(), 4e-3 if fixed else 3e-5), CE(), d, batch=32, epochs=12, seed=seed)


@case(["lr_too_low"], ("test_loss", -1, 0.03), STUCK, "subtle")
def lrl_earners_sgd_subtle(seed: int, fixed: bool) -> Any:
    """Train a net on a table of earners by SGD at 2e-3 for twelve epochs: it gets beyond the base rate, no further."""
    d = more.earners(seed, 1200)
    m = nets.mlp([6, 32, 2])
    return job(m, SGD(m.parameters(), 0.1 if fixed else 2e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case(["lr_too_low"], ("test_score", 1, 0.03), [*STUCK, "params_not_trained"], "subtle")
def lrl_spoken_transformer_subtle(seed: int, fixed: bool) -> Any:
    """Train a small transformer on sounds with AdamW at 3e-4."""
    d = sets.spoken(seed, 700)
    m = Patches(16, 32, 10, 20, layers=1)
    return job(m, AdamW(m.parameters(), 2e-3 if fixed else 3e-4), CE(), d, batch=25, epochs=10, seed=seed)


@case(["lr_schedule"], ("test_score", 1, 0.05), EARLY)
def sch_no_patience(seed: int, fixed: bool) -> Any:
    """Use ReduceLROnPlateau with patience 0 and a wide threshold: the rate falls by ten at nearly each epoch."""
    d = more.bandit(seed)
    m = nets.mlp([6, 64, 64, 4])
    o = Adam(m.parameters(), 2e-3)
    patience, threshold = (4, 1e-3) if fixed else (0, 0.25)
    s = optim.lr_scheduler.ReduceLROnPlateau(o, factor=0.1, patience=patience, threshold=threshold)
    return job(
        m,
        o,
        taken,
        d,
        batch=32,
        epochs=20,
        metric=taken_r2,
        seed=seed,
        scheduler=s,
        loop=written(plateau="min"),
    )


def fading(job: Any, epoch: int, every: str) -> Any:
    """Train an epoch and multiply the rate by 0.93, after each batch or after each epoch."""
    job.model.train()
    for x, y in job.train:
        out = job.model(x)
        loss = job.loss_fn(out, y)
        job.optimizer.zero_grad()
        loss.backward()
        job.optimizer.step()
        yield loss, out, y
        if every == "batch":
            for g in job.optimizer.param_groups:
                g["lr"] *= 0.93
    if every == "epoch":
        for g in job.optimizer.param_groups:
            g["lr"] *= 0.93


@case(["lr_schedule"], ("test_score", 1, 0.1), EARLY, "blatant")
def sch_decay_inside_the_loop(seed: int, fixed: bool) -> Any:
    """Decay the rate by hand, one indentation too deep: after each batch."""
    d = data.shapes(seed, n=700, noise=0.3, k=6)
    m = nets.cnn(6, (8, 16), hw=12)
    loop = by_hand(lambda j, e: fading(j, e, "epoch" if fixed else "batch"))
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=12, seed=seed, loop=loop)


@case([("lr_schedule", "lr_too_low")], ("test_loss", -1, 0.1), [*STUCK, "lr_too_low"])
def sch_noam_times_a_rate(seed: int, fixed: bool) -> Any:
    """Use the schedule of "Attention is all you need", which is a rate itself, as a factor on a rate of 1e-3."""
    d = sets.letters(seed, 600)
    m = nets.Transformer(27, 32, 27, 20, layers=1, heads=4, lm=True)
    o = Adam(m.parameters(), 0.1 if fixed else 1e-3, betas=(0.9, 0.98))
    s = optim.lr_scheduler.LambdaLR(o, lambda t: 32**-0.5 * min((t + 1) ** -0.5, (t + 1) * 40**-1.5))
    return job(
        m, o, nets.lm_loss, d, batch=20, epochs=8, task="lm", seed=seed, scheduler=s, sched_per="batch"
    )


@case([("batch_too_small", "lr_too_high")], ("test_loss", -1, 0.05), NOISY)
def bts_spoken_one_by_one(seed: int, fixed: bool) -> Any:
    """Feed sounds one at a time, with the rate of a batch of 32."""
    d = sets.spoken(seed, 400, flat=True)
    m = nets.mlp([320, 48, 10])
    o = SGD(m.parameters(), 0.1)
    return job(m, o, CE(), d, batch=32 if fixed else 1, epochs=16 if fixed else 4, seed=seed)


@case([("batch_too_small", "lr_too_high")], ("test_score", 1, 0.015), [*NOISY, "overfitting"], "subtle")
def bts_returns_pairs_subtle(seed: int, fixed: bool) -> Any:
    """Regress noisy returns with Adam at 0.02, two at a time."""
    d = more.returns(seed, 500)
    m = nets.mlp([4, 48, 1])
    o = Adam(m.parameters(), 2e-2)
    return job(m, o, MSE(), d, batch=32 if fixed else 2, epochs=20 if fixed else 6, seed=seed)


@case([("batch_too_large", "undertrained")], ("test_score", 1, 0.05), SLOW)
def btl_people_whole(seed: int, fixed: bool) -> Any:
    """Put two thousand people into one batch for twelve epochs."""
    d, vocab = more.people(seed, 2000)
    m = Codes(vocab, 8, d=4, h=24)
    o = Adam(m.parameters(), 4e-3)
    return job(
        m, o, BCE(), d, batch=50 if fixed else 2000, epochs=6 if fixed else 12, task="binary", seed=seed
    )


@case([("batch_too_large", "undertrained")], ("test_loss", -1, 0.1), SLOW, "subtle")
def btl_clothes_resnet(seed: int, fixed: bool) -> Any:
    """Train a residual net on clothes in batches of half the set."""
    d = sets.fashion(seed, 600, kept=6)
    m = resnet(6, 10, norm=False)
    o = Adam(m.parameters(), 3e-3)
    return job(m, o, CE(), d, batch=30 if fixed else 300, epochs=12, seed=seed)


def penalised(job: Any, epoch: int, weight: float) -> Any:
    """Train an epoch with an L2 term that is written by hand over all parameters."""
    job.model.train()
    for x, y in job.train:
        out = job.model(x)
        loss = job.loss_fn(out, y)
        penalty = sum((p**2).sum() for p in job.model.parameters())
        job.optimizer.zero_grad()
        (loss + weight * penalty).backward()
        job.optimizer.step()
        yield loss, out, y


@case([("weight_decay_misuse", "underfitting")], ("test_score", 1, 0.05), DECAYED)
def wdm_penalty_by_hand(seed: int, fixed: bool) -> Any:
    """Add 0.05 times the sum of squares to the loss of a gated recurrence; the tutorial said 1e-4."""
    d = data.waves(seed, n=500, T=24, k=4, noise=0.4)
    sets.inputs(d, lambda v: v.transpose(1, 2).contiguous())
    m = Pooled(nn.GRU, 1, 24, 4)
    loop = by_hand(lambda j, e: penalised(j, e, 1e-5 if fixed else 0.05))
    return job(m, Adam(m.parameters(), 1e-2), CE(), d, batch=32, epochs=12, seed=seed, loop=loop)


@case([("weight_decay_misuse", "underfitting")], ("test_loss", -1, 0.1), DECAYED)
def wdm_autoencoder_adamw(seed: int, fixed: bool) -> Any:
    """Decay an autoencoder by AdamW at 15."""
    d = data.digits(seed, n=900)
    d.y, d.yv, d.yt, d.k = d.x, d.xv, d.xt, 0
    m = nets.mlp([64, 48, 16, 48, 64])
    o = AdamW(m.parameters(), 3e-3, weight_decay=0.01 if fixed else 15.0)
    return job(m, o, MSE(), d, batch=32, epochs=15, seed=seed)


@case([("weight_decay_misuse", "underfitting")], ("test_loss", -1, 0.03), DECAYED, "subtle")
def wdm_people_subtle(seed: int, fixed: bool) -> Any:
    """Give Adam an L2 term of 0.03 on vectors of codes, most of which are rare."""
    d, vocab = more.people(seed, 2000)
    m = Codes(vocab, 8, d=4, h=24)
    o = Adam(m.parameters(), 4e-3, weight_decay=0.0 if fixed else 0.03)
    return job(m, o, BCE(), d, batch=50, epochs=6, task="binary", seed=seed)


@case(["undertrained"], ("test_loss", -1, 0.05), ["lr_too_low", "underfitting", "batch_too_large"])
def utr_autoencoder(seed: int, fixed: bool) -> Any:
    """Stop an autoencoder after three epochs of twenty-five."""
    d = data.digits(seed, n=700)
    d.y, d.yv, d.yt, d.k = d.x, d.xv, d.xt, 0
    m = nets.mlp([64, 48, 12, 48, 64])
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=25 if fixed else 3, seed=seed)


@case(["undertrained"], ("test_score", 1, 0.1), ["lr_too_low", "underfitting", "batch_too_large"])
def utr_spoken_lstm(seed: int, fixed: bool) -> Any:
    """Stop an LSTM on sounds after three epochs."""
    d = sets.spoken(seed, 600)
    m = Pooled(nn.LSTM, 16, 32, 10)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=14 if fixed else 3, seed=seed)


@case(["undertrained"], ("test_score", 1, 0.02), ["lr_too_low", "underfitting", "batch_too_large"], "subtle")
def utr_values_subtle(seed: int, fixed: bool) -> Any:
    """Stop a value network of four actions while its error still falls."""
    d = more.bandit(seed)
    m = nets.mlp([6, 64, 64, 4])
    o = Adam(m.parameters(), 1e-3)
    return job(m, o, taken, d, batch=32, epochs=25 if fixed else 9, metric=taken_r2, seed=seed)
