"""Seventh blind set, second half: sound trainings, some of which look odd at first (see `blind7_first_sound.py`)."""

from __future__ import annotations

from typing import Any

from faultbench.lib import BCE, CE, MSE, Adam, AdamW, data, job, nets, optim, torch

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases.blind3_parts import written
from benchmarks.cases.blind7_parts import Lambda, any_tag, case, cosine, every


@case("B", [], severity="plain")
def ok_topics_transformer(seed: int, fixed: bool) -> Any:
    """Tell topics apart by a small transformer."""
    d = data.topics(seed, n=900, V=200, T=16, mix=0.4)
    m = nets.Transformer(200, 24, 4, 16, layers=1, drop=0.1)
    o = AdamW(m.parameters(), 4e-3, weight_decay=0.1)
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed, scheduler=cosine(o, 10))


@case("B", [], severity="plain")
def ok_waves_gru(seed: int, fixed: bool) -> Any:
    """Tell waves apart by a recurrence."""
    d = data.waves(seed, n=700, T=20, k=3, noise=0.3)
    every(d, lambda v: v.transpose(1, 2).contiguous())
    m = nets.SeqNet("gru", 1, 24, 3)
    o = Adam(m.parameters(), 8e-3)
    return job(m, o, CE(), d, batch=32, epochs=16, seed=seed, clip=1.0, scheduler=cosine(o, 16))


@case("B", [], severity="plain")
def ok_cells(seed: int, fixed: bool) -> Any:
    """Tell benign cells from malign ones."""
    d = data.binary(data.cancer(seed))
    m = nets.mlp([30, 16, 1], "elu")
    o = AdamW(m.parameters(), 5e-3, weight_decay=0.1)
    return job(m, o, BCE(), d, batch=32, epochs=14, task="binary", seed=seed, scheduler=cosine(o, 14))


@case("B", [], severity="plain")
def ok_topics_bag(seed: int, fixed: bool) -> Any:
    """Tell topics apart by the mean of word vectors."""
    d = data.topics(seed, n=900, V=200, T=20, k=5, mix=0.4)
    m = nets.BagOfWords(200, 24, 5, hidden=32, drop=0.2)
    o = Adam(m.parameters(), 5e-3)
    return job(m, o, CE(), d, batch=32, epochs=14, seed=seed, scheduler=cosine(o, 14))


@case("B", [], severity="plain")
def ok_shapes(seed: int, fixed: bool) -> Any:
    """Tell six shapes apart."""
    d = data.shapes(seed, n=900, noise=0.2, k=6)
    m = nets.cnn(6, (12, 24), hw=12)
    o = Adam(m.parameters(), 3e-3)
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed, scheduler=cosine(o, 10))


@case("B", [], severity="tricky")
def ok_norms_behind(seed: int, fixed: bool) -> Any:
    """Warm a transformer up whose norms stand behind the sums, and decay afterwards."""
    d = data.topics(seed, n=900, V=150, T=12, mix=0.4)
    m = nets.Transformer(150, 24, 4, 12, layers=2, pre=False)
    o = AdamW(m.parameters(), 3e-3, weight_decay=0.05)
    s = Lambda(o, lambda t: min((t + 1) / 40, max(0.02, 1 - t / 300)))
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed, scheduler=s, sched_per="batch")


@case("B", [], severity="tricky")
def ok_rare_class_weighted(seed: int, fixed: bool) -> Any:
    """Weigh a class that is rare by its rarity: its few rows make the loss jump."""
    d = data.blobs(seed, k=3, n=2400, std=2.2, dim=3)
    d = data.imbalance(d, {0: 400, 1: 40, 2: 400}, seed)
    m = nets.mlp([3, 24, 3])
    o = Adam(m.parameters(), 5e-3)
    w = torch.tensor([1.0, 10.0, 1.0])
    return job(m, o, CE(weight=w), d, batch=32, epochs=14, seed=seed, scheduler=cosine(o, 14))


@case("B", [], severity="tricky")
def ok_sums_modulo(seed: int, fixed: bool) -> Any:
    """Learn sums modulo 23 from four fifths of the table: the rows are known by heart before the rule is found."""
    d = data.modadd(seed, p=23, frac=0.8)
    m = nets.ModAdd(23, 48, 96)
    o = AdamW(m.parameters(), 1e-2, weight_decay=1.0)
    return job(m, o, CE(), d, batch=32, epochs=130, seed=seed, scheduler=cosine(o, 130))


@case("B", [], severity="tricky")
def ok_moved_pictures(seed: int, fixed: bool) -> Any:
    """Shift and blur the training pictures anew in each epoch: they are harder than those of validation."""

    def moved(x: Any, g: Any) -> Any:
        by = torch.randint(-1, 2, (2,), generator=g).tolist()
        return torch.roll(x, by, (2, 3)) + 0.5 * torch.randn(x.shape, generator=g)

    d = data.digits(seed, n=1000, image=True)
    m = nets.cnn(10, (12, 24))
    o = Adam(m.parameters(), 5e-3)
    return job(m, o, CE(), d, batch=32, epochs=14, seed=seed, transform=moved, scheduler=cosine(o, 14))


@case("B", [], severity="tricky")
def ok_many_tags(seed: int, fixed: bool) -> Any:
    """Answer eight questions about each row, some of which are mostly no."""
    d = sets.tags(seed, 1200)
    m = nets.mlp([24, 64, 8], "gelu")
    o = AdamW(m.parameters(), 5e-3, weight_decay=0.1)
    return job(m, o, BCE(), d, batch=32, epochs=20, task="regression", metric=any_tag, seed=seed,
               scheduler=cosine(o, 20))  # fmt: skip


@case("B", [], severity="tricky")
def ok_tied_letters(seed: int, fixed: bool) -> Any:
    """Use the same matrix for the vectors of letters and for the answer."""
    d = data.chars(seed, n=900, T=24)
    m = nets.Transformer(d.k, 32, d.k, 24, layers=1, lm=True, drop=0.1)
    m.head.weight = m.emb.weight
    o = AdamW(m.parameters(), 1e-2, weight_decay=0.05)
    return job(
        m, o, nets.lm_loss, d, batch=25, epochs=10, task="lm", seed=seed, clip=1.0, scheduler=cosine(o, 10)
    )


@case("B", [], severity="tricky")
def ok_slow_first_third(seed: int, fixed: bool) -> Any:
    """Warm up for a third of the run: nearly nothing happens in the first epochs."""
    d = data.digits(seed, n=1000)
    m = nets.mlp([64, 64, 64, 10])
    o = Adam(m.parameters(), 4e-3)
    s = Lambda(o, lambda t: ((t + 1) / 200) ** 2 if t < 200 else max(0.0, 1 - (t - 200) / 400))
    return job(m, o, CE(), d, batch=25, epochs=15, seed=seed, scheduler=s, sched_per="batch")


@case("B", [], severity="tricky")
def ok_rate_by_plateau(seed: int, fixed: bool) -> Any:
    """Halve the rate when validation stands still, which it does in the end."""
    d = data.friedman(seed, n=900, noise=0.5)
    m = nets.mlp([10, 48, 48, 1])
    o = AdamW(m.parameters(), 5e-3, weight_decay=0.1)
    s = optim.lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=3)
    return job(m, o, MSE(), d, batch=32, epochs=30, seed=seed, scheduler=s, loop=written(plateau="loss"))


@case("B", [], severity="tricky")
def ok_half_is_chance(seed: int, fixed: bool) -> Any:
    """Regress what is half noise: R2 of 0.5 is all there is."""
    d = data.linreg(seed, n=900, d=6, noise=2.2)
    m = nets.mlp([6, 16, 1], "tanh")
    o = AdamW(m.parameters(), 3e-3, weight_decay=0.2)
    return job(m, o, MSE(), d, batch=32, epochs=12, seed=seed, scheduler=cosine(o, 12))


@case("B", [], severity="tricky")
def ok_second_order(seed: int, fixed: bool) -> Any:
    """Train by L-BFGS on all rows at once: ten steps are enough."""
    d = data.linreg(seed, n=400, d=8, noise=0.5)
    m = nets.mlp([8, 6, 1], "tanh")
    o = optim.LBFGS(m.parameters(), lr=0.5, max_iter=4)
    return job(m, o, MSE(), d, batch=400, epochs=14, seed=seed, loop=written(closure=True))
