"""Third blind set: faults of the data, from scales to leaks (see `blind3_rates.py`)."""

from __future__ import annotations

from typing import Any

from faultbench.lib import BCE, CE, MSE, SGD, Adam, AdamW, data, job, nets, nn, optim, torch

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases.blind3_parts import (
    BROKEN,
    LOST,
    NOISE,
    ORDER,
    ROUGH,
    SCALE,
    SCORE,
    Bag,
    Factors,
    Named,
    Pool,
    Seq,
    case,
    hits,
    loader,
    resnet,
    written,
)


@case("A", ["unscaled_inputs"], ("test_score", 1, 0.1), [*SCALE, "exploding_gradient"])
def uns_houses_as_they_are(seed: int, fixed: bool) -> Any:
    d = sets.table(seed, "california_housing", 800)
    if not fixed:
        raw = sets.table(seed, "california_housing", 800, False)
        d.x, d.xv, d.xt = raw.x, raw.xv, raw.xt
    sets.targets(d, lambda v: (v - 2.1) / 1.15)
    m = nets.mlp([8, 48, 48, 1], "tanh")
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case("A", ["unscaled_inputs"], SCORE, SCALE)
def uns_pixels_to_255(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 800)
    if not fixed:
        sets.inputs(d, lambda v: v * 84 + 73)
    m = nets.cnn(10, (8, 16), hw=12)
    m[-1] = nn.Linear(16 * 9, 10)
    return job(m, SGD(m.parameters(), 0.02, momentum=0.9), CE(), d, batch=32, epochs=8, seed=seed)


@case("B", ["unscaled_inputs"], ("test_loss", -1, 0.1), [*SCALE, "overfitting"])
def uns_churn_raw(seed: int, fixed: bool) -> Any:
    d = sets.table(seed, "churn_modelling", 900, fixed)
    m = nets.mlp([d.x.shape[1], 32, 2])
    return job(m, SGD(m.parameters(), 0.05 if fixed else 1e-3), CE(), d, batch=30, epochs=20, seed=seed)


@case("B", ["unscaled_inputs"], SCORE, SCALE, "subtle")
def uns_one_loud_channel(seed: int, fixed: bool) -> Any:
    d = sets.oil(seed, 700)
    unit = torch.ones(7)
    if not fixed:
        unit[2], unit[4] = 5000.0, 800.0
    sets.inputs(d, lambda v: v * unit)
    m = nets.SeqNet("gru", 7, 24, 1)
    return job(m, Adam(m.parameters(), 4e-3), MSE(), d, batch=32, epochs=8, seed=seed)


@case("A", ["unscaled_targets"], ("test_score", 1, 0.2), [*ROUGH, "lr_too_low", "exploding_gradient"])
def unt_salaries_in_dollars(seed: int, fixed: bool) -> Any:
    d = sets.table(seed, "employee_salaries", 800)
    sets.targets(d, lambda v: (v - 73000) / 29000 if fixed else v)
    m = nets.mlp([d.x.shape[1], 48, 1])
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case(
    "A",
    ["unscaled_targets"],
    ("test_score", 1, 0.2),
    [*ROUGH, "lr_too_low", "exploding_gradient", "bad_init"],
)
def unt_kelvin_far_from_zero(seed: int, fixed: bool) -> Any:
    d = sets.oil(seed, 600)
    if not fixed:
        sets.targets(d, lambda v: 9 * v + 290)
    m = Seq(7, 24, 1)
    return job(m, AdamW(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=12, seed=seed)


@case(
    "B",
    ["unscaled_targets"],
    ("test_score", 1, 0.2),
    [*ROUGH, "lr_too_high", "dead_units", "exploding_gradient"],
)
def unt_house_prices_sgd(seed: int, fixed: bool) -> Any:
    d = sets.scaled(sets.table(seed, "california_housing", 800), True)
    if not fixed:
        sets.targets(d, lambda v: 115.0 * v + 207.0)
    m = nets.mlp([8, 48, 1])
    return job(m, SGD(m.parameters(), 0.05), MSE(), d, batch=32, epochs=15, seed=seed)


@case("B", ["unscaled_targets"], SCORE, [*ROUGH, "lr_too_low", "exploding_gradient"], "subtle")
def unt_one_output_in_thousands(seed: int, fixed: bool) -> Any:
    d = sets.arm(seed)
    if not fixed:
        sets.targets(d, lambda v: v * torch.tensor([1.0, 2000.0]) + torch.tensor([0.0, 5000.0]))
    m = nets.mlp([6, 48, 48, 2], "tanh")
    return job(m, Adam(m.parameters(), 3e-3), nn.SmoothL1Loss(), d, batch=32, epochs=20, seed=seed)


def flipped(d: Any, share: float, seed: int, pairs: Any = None) -> Any:
    d.y = data.flip_labels(d.y, share, d.k, seed, pairs)
    d.yv = data.flip_labels(d.yv, share, d.k, seed + 1, pairs)
    return d


@case("A", ["label_noise"], ("val_loss", -1, 0.3), NOISE)
def lbn_clothes_third(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 900)
    d = d if fixed else flipped(d, 0.3, seed)
    m = resnet(10, 12, blocks=1)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case("A", ["label_noise"], ("val_loss", -1, 0.15), NOISE, "subtle")
def lbn_brackets_tenth(seed: int, fixed: bool) -> Any:
    d = sets.brackets(seed, 900)
    d = d if fixed else flipped(d, 0.12, seed)
    m = nets.SeqNet("gru", 8, 24, 4, vocab=2)
    return job(m, Adam(m.parameters(), 1e-2), CE(), d, batch=32, epochs=14, seed=seed)


@case("B", ["label_noise"], ("val_loss", -1, 0.15), NOISE)
def lbn_sounds_mistaken_for_the_next(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 900)
    d = d if fixed else flipped(d, 0.25, seed, [1, 0, 3, 2, 5, 4, 7, 6, 9, 8])
    m = Seq(16, 24, 10)
    return job(m, Adam(m.parameters(), 4e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case("B", ["label_noise"], ("val_loss", -1, 0.15), NOISE)
def lbn_board_fifth(seed: int, fixed: bool) -> Any:
    d = sets.checker(seed, 1200)
    d = d if fixed else flipped(d, 0.2, seed)
    m = nets.mlp([2, 48, 48, 2])
    return job(m, AdamW(m.parameters(), 6e-3), CE(), d, batch=32, epochs=20, seed=seed)


@case("A", [("shuffled_labels", "label_noise")], ("test_score", 1, 0.3), LOST)
def shl_questions(seed: int, fixed: bool) -> Any:
    d = sets.questions(seed, 1200)
    if not fixed:
        d.y, d.yv = data.permute(d.y, seed), data.permute(d.yv, seed + 1)
    m = Bag(800, 24, 5)
    return job(m, Adam(m.parameters(), 4e-3), CE(), d, batch=32, epochs=8, seed=seed)


@case("A", [("shuffled_labels", "label_noise")], ("test_score", 1, 0.3), LOST, "blatant")
def shl_oil_shifted_rows(seed: int, fixed: bool) -> Any:
    d = sets.oil(seed, 700)
    if not fixed:
        d.y, d.yv = d.y.roll(7, 0), d.yv.roll(7, 0)
    m = Seq(7, 24, 1)
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=12, seed=seed)


@case("B", [("shuffled_labels", "label_noise")], ("test_score", 1, 0.3), LOST, "blatant")
def shl_clothes(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 700, flat=True)
    if not fixed:
        d.y, d.yv = data.permute(d.y, seed), data.permute(d.yv, seed + 1)
    m = nets.mlp([196, 48, 10])
    return job(m, SGD(m.parameters(), 0.05, momentum=0.5), CE(), d, batch=32, epochs=14, seed=seed)


@case("B", [("shuffled_labels", "label_noise")], ("test_score", 1, 0.3), LOST)
def shl_ratings_sorted_apart(seed: int, fixed: bool) -> Any:
    d = sets.ratings(seed)
    if not fixed:
        d.y, d.yv = d.y.flip(0), data.permute(d.yv, seed)
    m = Factors()
    return job(m, Adam(m.parameters(), 8e-3), MSE(), d, batch=64, epochs=10, seed=seed)


RARE = ["undertrained", "underfitting", "overfitting", "converged_early"]


@case("A", ["class_imbalance"], ("test_bal", 1, 0.05), RARE)
def imb_clothes_four_rare(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 1500, flat=True)
    d = data.imbalance(d, {c: 5 if c in (2, 4, 6, 8) else 100 for c in range(10)}, seed)
    w = torch.ones(10)
    w[[2, 4, 6, 8]] = 20.0 if fixed else 1.0
    m = nets.mlp([196, 32, 10])
    return job(m, SGD(m.parameters(), 0.05), CE(weight=w), d, batch=32, epochs=12, seed=seed)


@case("A", ["class_imbalance"], ("test_bal", 1, 0.1), RARE)
def imb_churn_three_in_hundred(seed: int, fixed: bool) -> Any:
    d = data.imbalance(sets.table(seed, "churn_modelling", 1600), {0: 970, 1: 30}, seed)
    m = nets.mlp([d.x.shape[1], 24, 2])
    w = torch.tensor([1.0, 20.0 if fixed else 1.0])
    return job(m, Adam(m.parameters(), 2e-3), CE(weight=w), d, batch=50, epochs=12, seed=seed)


@case("B", ["class_imbalance"], ("test_bal", 1, 0.1), RARE)
def imb_one_logit_for_adults(seed: int, fixed: bool) -> Any:
    d = data.binary(data.imbalance(sets.table(seed, "adult", 1500), {0: 900, 1: 25}, seed))
    m = nets.mlp([d.x.shape[1], 24, 1])
    w = torch.tensor([25.0 if fixed else 1.0])
    return job(
        m, AdamW(m.parameters(), 2e-3), BCE(pos_weight=w), d, batch=32, epochs=10, task="binary", seed=seed
    )


@case("B", ["class_imbalance"], ("test_bal", 1, 0.02), RARE, "subtle")
def imb_two_rare_digits_spoken(seed: int, fixed: bool) -> Any:
    d = data.imbalance(
        sets.spoken(seed, 900, flat=True), {c: 4 if c in (1, 7) else 75 for c in range(10)}, seed
    )
    w = torch.ones(10)
    w[[1, 7]] = 15.0 if fixed else 1.0
    m = nets.mlp([320, 24, 10])
    return job(m, SGD(m.parameters(), 0.03), CE(weight=w), d, batch=32, epochs=10, seed=seed)


LEAK = ("optimism", -1, 0.08)
FREE = ["converged_early", "train_val_shift", "overfitting"]


@case("A", ["leakage"], LEAK, FREE)
def lkg_answer_among_the_columns(seed: int, fixed: bool) -> Any:
    d = sets.table(seed, "churn_modelling", 800)
    g = torch.Generator().manual_seed(seed + 5)
    for a, b in (("x", "y"), ("xv", "yv"), ("xt", "yt")):
        v = torch.randn(len(getattr(d, a)), 1, generator=g)
        hint = 2.0 * getattr(d, b).float()[:, None] - 1 if a != "xt" and not fixed else 0.0
        setattr(d, a, torch.cat([getattr(d, a), 0.3 * v + hint], 1))
    m = nets.mlp([d.x.shape[1], 32, 2])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case("A", ["leakage"], LEAK, FREE)
def lkg_validation_rows_in_training(seed: int, fixed: bool) -> Any:
    d = sets.questions(seed, 700)
    if not fixed:
        d.xv, d.yv = d.x[:200], d.y[:200]
    m = Bag(800, 48, 5)
    return job(m, Adam(m.parameters(), 4e-3), CE(), d, batch=32, epochs=9, seed=seed)


@case("B", ["leakage"], ("optimism", -1, 0.05), FREE, "subtle")
def lkg_most_of_validation_seen(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 300, flat=True)
    if not fixed:
        d.xv = torch.cat([d.x[:120] + 0.01, d.xv[:80]])
        d.yv = torch.cat([d.y[:120], d.yv[:80]])
    m = nets.mlp([196, 96, 10])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=25, epochs=25, seed=seed)


@case("B", ["leakage"], LEAK, FREE)
def lkg_future_of_the_series(seed: int, fixed: bool) -> Any:
    d = sets.oil(seed, 700)
    if not fixed:
        for a, b in (("x", "y"), ("xv", "yv")):
            getattr(d, a)[:, -1, 3] = getattr(d, b)[:, 0] * 3
    m = nn.Sequential(nn.Flatten(), nets.mlp([168, 32, 1]))
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=12, seed=seed)


@case("A", ["train_val_shift"], ("val_score", 1, 0.1), ["overfitting", "bad_features"])
def shf_negatives_of_clothes(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 800)
    if not fixed:
        d.xv = 0.6 - 0.7 * d.xv
    m = resnet(10, 12, blocks=1, norm=False)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=20, seed=seed)


@case("A", ["train_val_shift"], ("val_score", 1, 0.1), ["overfitting"], "subtle")
def shf_speakers_never_heard(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 700) if fixed else sets.strangers(seed, 700)
    m = Seq(16, 32, 10)
    return job(m, Adam(m.parameters(), 4e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case("B", ["train_val_shift"], ("val_score", 1, 0.1), ["overfitting", "unscaled_inputs", "bad_features"])
def shf_validation_not_standardised(seed: int, fixed: bool) -> Any:
    d = sets.heaps(seed, 700)
    if not fixed:
        d.xv = 2.5 * d.xv + 1.5
    m = Pool()
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=15, seed=seed)


@case("B", ["train_val_shift"], ("test_score", 1, 0.03), ["overfitting"])
def shf_northern_houses_only(seed: int, fixed: bool) -> Any:
    d = sets.scaled(sets.table(seed, "california_housing", 2400), True)
    near = torch.arange(700) if fixed else (d.x[:, 6] > 0.3).nonzero().flatten()[:700]
    d.x, d.y = d.x[near], d.y[near]
    m = nets.mlp([8, 48, 48, 1])
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=15, seed=seed)


@case("A", ["bad_features"], ("test_score", 1, 0.3), BROKEN, "blatant")
def bft_missing_cells(seed: int, fixed: bool) -> Any:
    d = sets.arm(seed)
    if not fixed:
        g = torch.Generator().manual_seed(seed)
        sets.inputs(d, lambda v: v.masked_fill(torch.rand(v.shape, generator=g) < 0.01, float("nan")))
    m = nets.mlp([6, 48, 48, 2])
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=12, seed=seed)


@case("A", ["bad_features"], SCORE, [*BROKEN, "train_val_shift"])
def bft_constant_bands(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 700)
    if not fixed:
        for a in ("x", "xv", "xt"):
            getattr(d, a)[:, :, 2:14] = 0.0
    m = Seq(16, 32, 10)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case("B", [("bad_features", "unscaled_inputs")], ("test_score", 1, 0.2), BROKEN)
def bft_minus_9999(seed: int, fixed: bool) -> Any:
    d = sets.scaled(sets.table(seed, "california_housing", 800), True)
    if not fixed:
        g = torch.Generator().manual_seed(seed)
        sets.inputs(d, lambda v: v.masked_fill(torch.rand(v.shape, generator=g) < 0.015, -9999.0))
    m = nets.mlp([8, 48, 48, 1])
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=12, seed=seed)


@case("B", ["bad_features"], SCORE, [*BROKEN, "train_val_shift", "label_noise"])
def bft_columns_without_content(seed: int, fixed: bool) -> Any:
    d = sets.tags(seed, 800)
    if not fixed:
        for a in ("x", "xv", "xt"):
            getattr(d, a)[:, 4:20] = 1.0
    m = nets.mlp([24, 48, 8])
    return job(
        m, Adam(m.parameters(), 3e-3), BCE(), d, batch=32, epochs=14, task="binary", metric=hits, seed=seed
    )


@case("A", ["unshuffled_data"], SCORE, ORDER)
def ush_sounds_by_digit(seed: int, fixed: bool) -> Any:
    d = data.sort_by_label(sets.spoken(seed, 700))
    m = Seq(16, 32, 10)
    ld = loader(Named(d.x, d.y), 28, seed, shuffle=fixed)
    o = Adam(m.parameters(), 3e-3)
    return job(m, o, CE(), d, batch=28, epochs=10, seed=seed, loader=ld, loop=written(named=True))


@case("A", ["unshuffled_data"], SCORE, ORDER)
def ush_houses_by_price(seed: int, fixed: bool) -> Any:
    d = data.sort_by_label(sets.scaled(sets.table(seed, "california_housing", 700), True))
    m = nets.mlp([8, 48, 1], "tanh")
    o = SGD(m.parameters(), 0.05, momentum=0.8)
    return job(m, o, MSE(), d, batch=28, epochs=15, seed=seed, shuffle=fixed)


@case("B", ["unshuffled_data"], SCORE, ORDER)
def ush_questions_by_kind(seed: int, fixed: bool) -> Any:
    d = data.sort_by_label(sets.questions(seed, 1100))
    m = Bag(800, 32, 5)
    return job(m, optim.Adagrad(m.parameters(), 0.05), CE(), d, batch=32, epochs=8, seed=seed, shuffle=fixed)


@case("B", ["unshuffled_data"], ("test_score", 1, 0.02), ORDER, "subtle")
def ush_arm_along_a_joint(seed: int, fixed: bool) -> Any:
    d = sets.arm(seed)
    order = torch.argsort(d.x[:, 0])
    d.x, d.y = d.x[order], d.y[order]
    m = nets.mlp([6, 48, 48, 2])
    o = SGD(m.parameters(), 0.1, momentum=0.8)
    return job(m, o, MSE(), d, batch=28, epochs=15, seed=seed, shuffle=fixed)
