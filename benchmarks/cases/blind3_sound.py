"""Third blind set: trainings of many kinds with nothing wrong (see `blind3_rates.py`)."""

from __future__ import annotations

from typing import Any

from faultbench.lib import BCE, CE, MSE, SGD, Adam, AdamW, job, nets, nn, optim, torch

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases.blind3_parts import (
    Bag,
    Factors,
    Looks,
    Named,
    Patches,
    Pool,
    Ranker,
    Rows,
    Seq,
    case,
    centre,
    cosine,
    hits,
    loader,
    one,
    pixels,
    resnet,
    spread,
    written,
)


@case("A", [])
def ok_sets_of_points(seed: int, fixed: bool) -> Any:
    d = sets.heaps(seed, 1200)
    m = Pool(h=32)
    o = AdamW(m.parameters(), 5e-3, weight_decay=0.05)
    return job(m, o, MSE(), d, batch=32, epochs=20, seed=seed, scheduler=cosine(o, 20))


@case("A", [])
def ok_news_bag(seed: int, fixed: bool) -> Any:
    d = sets.news(seed, 2000)
    m = Bag(2000, 32, 4, drop=0.5)
    o = AdamW(m.parameters(), 8e-3, weight_decay=0.5)
    return job(m, o, CE(), d, batch=16, epochs=4, seed=seed, scheduler=cosine(o, 4))


@case("A", [])
def ok_patches_in_bf16(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 900)
    m = Patches(16, 32, 10, 20, layers=1, drop=0.1)
    o = AdamW(m.parameters(), 3e-3, weight_decay=0.1)
    s = one(o, 4e-3, total_steps=29 * 12 + 1, pct_start=0.2)
    return job(
        m, o, CE(), d, batch=32, epochs=12, seed=seed, scheduler=s, sched_per="batch", loop=written(bf16=True)
    )


@case("A", [])
def ok_imitation_of_an_expert(seed: int, fixed: bool) -> Any:
    d = sets.arm(seed, 1000)
    m = nets.mlp([6, 64, 64, 2], "tanh", norm="ln")
    o = Adam(m.parameters(), 5e-3)
    s = cosine(o, 25)
    return job(
        m, o, nn.SmoothL1Loss(), d, batch=32, epochs=25, seed=seed, scheduler=s, loop=written(closure=True)
    )


@case("A", [])
def ok_factors_of_ratings(seed: int, fixed: bool) -> Any:
    d = sets.ratings(seed, 4000)
    m = Factors(d=4, std=0.5)
    o = Adam(m.parameters(), 5e-2, weight_decay=1e-4)
    return job(m, o, MSE(), d, batch=64, epochs=14, seed=seed, scheduler=cosine(o, 14))


@case("A", [])
def ok_masks_of_discs(seed: int, fixed: bool) -> Any:
    d = sets.masks(seed, 300)
    m = pixels(10, norm=True)
    o = Adam(m.parameters(), 1e-2)
    return job(
        m, o, BCE(), d, batch=20, epochs=10, task="binary", metric=hits, seed=seed, scheduler=cosine(o, 10)
    )


@case("A", [])
def ok_letters_transformer(seed: int, fixed: bool) -> Any:
    d = sets.letters(seed, 1600)
    m = nets.Transformer(27, 32, 27, 20, 1, 4, True)
    o = AdamW(m.parameters(), 1e-2, weight_decay=0.1)
    s = one(o, 1e-2, total_steps=50 * 9 + 1, pct_start=0.15)
    return job(
        m,
        o,
        nets.lm_loss,
        d,
        batch=32,
        epochs=9,
        task="lm",
        seed=seed,
        scheduler=s,
        sched_per="batch",
        clip=1.0,
    )


@case("A", [])
def ok_clothes_resnet_moved(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 1500, kept=5)

    def moved(x: Any, g: Any) -> Any:
        flip = torch.rand(len(x), generator=g) < 0.5
        return torch.where(flip[:, None, None, None], x.flip(3), x)

    m = resnet(5, 12, blocks=1)
    o = SGD(m.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed, transform=moved, scheduler=cosine(o, 10))


@case("A", [])
def ok_logistic_line_for_adults(seed: int, fixed: bool) -> Any:
    d = sets.table(seed, "adult", 1500)
    m = nn.Linear(d.x.shape[1], 2)
    o = SGD(m.parameters(), 0.05, momentum=0.5, weight_decay=1e-3)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed, scheduler=cosine(o, 12))


@case("A", [])
def ok_mean_and_variance(seed: int, fixed: bool) -> Any:
    d = sets.wobble(seed, 1500)
    m = nets.mlp([3, 48, 48, 2], "gelu")
    o = AdamW(m.parameters(), 5e-3, weight_decay=0.05)
    return job(
        m, o, spread, d, batch=32, epochs=14, metric=centre, seed=seed, scheduler=cosine(o, 14), clip=2.0
    )


@case("B", [])
def ok_two_looks(seed: int, fixed: bool) -> Any:
    d = sets.views(seed, 1200)
    m = Looks(h=64, code=24)
    o = AdamW(m.parameters(), 6e-3, weight_decay=0.3)
    return job(m, o, CE(), d, batch=40, epochs=4, seed=seed, scheduler=cosine(o, 4))


@case("B", [])
def ok_dearer_of_two_houses(seed: int, fixed: bool) -> Any:
    d = sets.duels(seed, 1500)
    m = Ranker(8, 32)
    o = AdamW(m.parameters(), 4e-3, weight_decay=0.1)
    return job(m, o, BCE(), d, batch=32, epochs=10, task="binary", seed=seed, scheduler=cosine(o, 10))


@case("B", [])
def ok_oil_ahead(seed: int, fixed: bool) -> Any:
    d = sets.oil(seed, 1000)
    m = nets.SeqNet("gru", 7, 24, 1)
    o = Adam(m.parameters(), 6e-3)
    return job(m, o, MSE(), d, batch=32, epochs=9, seed=seed, scheduler=cosine(o, 9), clip=1.0)


@case("B", [])
def ok_depth_of_brackets(seed: int, fixed: bool) -> Any:
    d = sets.brackets(seed, 1200)
    m = nets.SeqNet("lstm", 8, 32, 4, vocab=2)
    o = Adam(m.parameters(), 1e-2)
    return job(m, o, CE(), d, batch=32, epochs=14, seed=seed, loader=loader(Named(d.x, d.y), 32, seed),
               scheduler=cosine(o, 14), loop=written(named=True))  # fmt: skip


@case("B", [])
def ok_many_tags(seed: int, fixed: bool) -> Any:
    d = sets.tags(seed, 1500)
    m = nets.mlp([24, 64, 8])
    o = AdamW(m.parameters(), 5e-3, weight_decay=0.1)
    return job(
        m, o, BCE(), d, batch=32, epochs=10, task="binary", metric=hits, seed=seed, scheduler=cosine(o, 10)
    )


@case("B", [])
def ok_clothes_cleaned_of_noise(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 1200, flat=True)
    g = torch.Generator().manual_seed(seed)
    d.y, d.yv, d.yt, d.k = d.x, d.xv, d.xt, 0
    sets.inputs(d, lambda v: v + 0.5 * torch.randn(v.shape, generator=g))
    m = nets.mlp([196, 96, 24, 96, 196], "leaky")
    o = Adam(m.parameters(), 3e-3)
    return job(m, o, MSE(), d, batch=32, epochs=14, seed=seed, scheduler=cosine(o, 14))


@case("B", [])
def ok_leaving_customers(seed: int, fixed: bool) -> Any:
    d = sets.table(seed, "churn_modelling", 2500)
    m = nets.mlp([d.x.shape[1], 24, 2], drop=0.1)
    o = AdamW(m.parameters(), 6e-3, weight_decay=0.05)
    return job(
        m, o, CE(weight=torch.tensor([1.0, 2.0])), d, batch=64, epochs=10, seed=seed, scheduler=cosine(o, 10)
    )


@case("B", [])
def ok_speakers_in_micro_batches(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 960, speakers=True)
    m = Seq(16, 24, 6, norm=True)
    o = SGD(m.parameters(), 0.1, momentum=0.8)
    return job(m, o, CE(), d, batch=16, epochs=8, seed=seed, loader=loader(Rows(d.x, d.y), 16, seed),
               scheduler=cosine(o, 8), loop=written(every=2))  # fmt: skip


@case("B", [])
def ok_board_with_restarts(seed: int, fixed: bool) -> Any:
    d = sets.checker(seed, 2000)
    m = nets.mlp([2, 48, 48, 2])
    o = optim.NAdam(m.parameters(), 1e-2)
    s = optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 7)
    return job(m, o, CE(), d, batch=40, epochs=21, seed=seed, scheduler=s)


@case("B", [])
def ok_whole_table_at_once(seed: int, fixed: bool) -> Any:
    d = sets.scaled(sets.table(seed, "california_housing", 1500), True)
    m = nets.mlp([8, 8, 1], "tanh")
    o = optim.LBFGS(m.parameters(), 0.3, max_iter=6, history_size=10)
    return job(m, o, MSE(), d, batch=1500, epochs=14, seed=seed, loop=written(closure=True))
