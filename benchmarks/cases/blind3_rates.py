"""A third set of faulty trainings written before the doctor was asked: rates, schedules, batches, budgets.

`python benchmarks/faultbench.py --blind3 A [--prove]`; nets and layers lie in `blind3_layers.py`, wiring and cost in
`blind3_wiring.py`, data in `blind3_rows.py`, several faults in `blind3_mixed.py`, sound trainings in `blind3_sound.py`.
"""

from __future__ import annotations

from typing import Any

from faultbench.lib import BCE, CE, MSE, SGD, STUCK, UNSTABLE, Adam, AdamW, F, job, nets, nn, optim

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases.blind3_parts import (
    LOSS,
    ROUGH,
    SCORE,
    Bag,
    Factors,
    Lambda,
    Named,
    Patches,
    Pool,
    Ranker,
    Rows,
    Seq,
    case,
    hits,
    loader,
    resnet,
    written,
)

HIGH = [*UNSTABLE, "dead_units", "saturated_units", "overfitting"]
SLOW = [*STUCK, "lr_too_low"]


@case("A", ["lr_too_high"], ("test_score", 1, 0.1), HIGH, "blatant")
def lrh_oil_convolutions(seed: int, fixed: bool) -> Any:
    d = sets.oil(seed, 700)
    m = Seq(7, 24, 1)
    return job(
        m, SGD(m.parameters(), 0.02 if fixed else 0.7, momentum=0.9), MSE(), d, batch=32, epochs=12, seed=seed
    )


@case("A", ["lr_too_high"], LOSS, HIGH, "subtle")
def lrh_news_bag_adam(seed: int, fixed: bool) -> Any:
    d = sets.news(seed, 2000)
    m = Bag(2000, 24, 4)
    return job(m, Adam(m.parameters(), 3e-3 if fixed else 0.15), CE(), d, batch=32, epochs=6, seed=seed)


@case("A", ["lr_too_high"], ("test_score", 1, 0.04), HIGH)
def lrh_spoken_patches(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 700)
    m = Patches(16, 32, 10, 20)
    return job(m, AdamW(m.parameters(), 2e-3 if fixed else 0.03), CE(), d, batch=32, epochs=10, seed=seed,
               loop=written(bf16=True))  # fmt: skip


@case("B", ["lr_too_high"], ("test_score", 1, 0.05), HIGH, "subtle")
def lrh_arm_rmsprop(seed: int, fixed: bool) -> Any:
    d = sets.arm(seed)
    m = nets.mlp([6, 64, 64, 2], "tanh")
    o = optim.RMSprop(m.parameters(), 2e-3 if fixed else 0.05)
    return job(m, o, nn.SmoothL1Loss(), d, batch=32, epochs=20, seed=seed, loop=written(closure=True))


@case("B", ["lr_too_high"], ("test_score", 1, 0.1), HIGH)
def lrh_fashion_resnet(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 700)
    m = resnet(10, norm=False)
    o = SGD(m.parameters(), 0.05 if fixed else 1.0, momentum=0.8, nesterov=True)
    return job(m, o, CE(), d, batch=40, epochs=10, seed=seed)


@case("B", ["lr_too_high"], LOSS, HIGH)
def lrh_letters_gru(seed: int, fixed: bool) -> Any:
    d = sets.letters(seed, 500)
    m = nets.SeqNet("gru", 16, 48, 27, every=True, vocab=27)
    o = AdamW(m.parameters(), 5e-3 if fixed else 0.1)
    return job(m, o, nets.lm_loss, d, batch=25, epochs=6, task="lm", seed=seed)


@case("A", ["lr_too_low"], ("test_score", 1, 0.2), STUCK, "blatant")
def lrl_arm_sgd(seed: int, fixed: bool) -> Any:
    d = sets.arm(seed)
    m = nets.mlp([6, 64, 64, 2], "gelu")
    o = SGD(m.parameters(), 0.1 if fixed else 2e-4, momentum=0.9)
    return job(m, o, MSE(), d, batch=32, epochs=15, seed=seed)


@case("A", ["lr_too_low"], ("test_loss", -1, 0.2), STUCK, "subtle")
def lrl_fashion_adam(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 900)
    m = nets.cnn(10, (8, 16), hw=14)
    m[-1] = nn.Linear(16 * 9, 10)
    return job(m, Adam(m.parameters(), 3e-3 if fixed else 1e-4), CE(), d, batch=32, epochs=10, seed=seed)


@case("B", ["lr_too_low"], ("test_score", 1, 0.1), STUCK)
def lrl_questions_adagrad(seed: int, fixed: bool) -> Any:
    d = sets.questions(seed)
    m = Bag(800, 32, 5)
    o = optim.Adagrad(m.parameters(), 0.05 if fixed else 5e-4)
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed, loader=loader(Named(d.x, d.y), 32, seed),
               loop=written(named=True))  # fmt: skip


@case("B", ["lr_too_low"], ("test_score", 1, 0.1), STUCK)
def lrl_ratings_sgd(seed: int, fixed: bool) -> Any:
    d = sets.ratings(seed)
    m = Factors()
    return job(
        m, SGD(m.parameters(), 1.0 if fixed else 0.02, momentum=0.5), MSE(), d, batch=64, epochs=12, seed=seed
    )


@case("A", ["lr_schedule"], SCORE, SLOW)
def sch_gamma_each_batch(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 800)
    m = Seq(16, 32, 10)
    o = Adam(m.parameters(), 5e-3)
    s = optim.lr_scheduler.ExponentialLR(o, 0.9)
    return job(
        m, o, CE(), d, batch=32, epochs=12, seed=seed, scheduler=s, sched_per="epoch" if fixed else "batch"
    )


@case("A", ["lr_schedule"], ("test_loss", -1, 0.15), SLOW, "subtle")
def sch_warmup_past_the_end(seed: int, fixed: bool) -> Any:
    d = sets.letters(seed, 500)
    m = nets.Transformer(27, 32, 27, 20, 1, 4, True)
    o = AdamW(m.parameters(), 8e-3)
    s = Lambda(o, lambda t: min(1.0, (t + 1) / (20 if fixed else 4000)))
    return job(
        m, o, nets.lm_loss, d, batch=25, epochs=6, task="lm", seed=seed, scheduler=s, sched_per="batch"
    )


@case("B", ["lr_schedule"], SCORE, SLOW)
def sch_plateau_reads_max(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 800, flat=True)
    m = nets.mlp([196, 48, 48, 10])
    o = SGD(m.parameters(), 0.05)
    s = optim.lr_scheduler.ReduceLROnPlateau(o, "min" if fixed else "max", factor=0.2, patience=0)
    return job(m, o, CE(), d, batch=32, epochs=14, seed=seed, scheduler=s, loop=written(plateau="val_loss"))


@case("B", ["lr_schedule"], SCORE, SLOW)
def sch_power_law_too_steep(seed: int, fixed: bool) -> Any:
    d = sets.checker(seed, 900)
    m = nets.mlp([2, 64, 64, 2])
    o = Adam(m.parameters(), 1e-2)
    s = Lambda(o, lambda t: 1 / (1 + (0.001 if fixed else 1.0) * t) ** (1 if fixed else 1.5))
    return job(m, o, CE(), d, batch=32, epochs=20, seed=seed, scheduler=s, sched_per="batch")


@case("A", [("batch_too_small", "lr_too_high")], ("test_score", 1, 0.03), [*UNSTABLE, "lr_too_high", "dead_units",
      "launch_bound", "undertrained", "overfitting"])  # fmt: skip
def bts_houses_one_row(seed: int, fixed: bool) -> Any:
    d = sets.scaled(sets.table(seed, "california_housing", 700), True)
    m = nets.mlp([8, 32, 32, 1])
    o = SGD(m.parameters(), 0.05)
    return job(m, o, MSE(), d, batch=32 if fixed else 1, epochs=20 if fixed else 3, seed=seed)


@case("A", [("batch_too_small", "lr_too_high")], ("test_score", 1, 0.03), [*UNSTABLE, "lr_too_high", "dead_units",
      "launch_bound", "undertrained", "overfitting"], "subtle")  # fmt: skip
def bts_fashion_pairs(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 600, flat=True)
    m = nets.mlp([196, 48, 10])
    o = SGD(m.parameters(), 0.01, momentum=0.9)
    return job(m, o, CE(), d, batch=32 if fixed else 2, epochs=16 if fixed else 5, seed=seed)


@case("B", [("batch_too_small", "lr_too_high")], ("test_score", 1, 0.03), [*UNSTABLE, "lr_too_high", "dead_units",
      "launch_bound", "undertrained", "overfitting"])  # fmt: skip
def bts_spoken_pairs(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 700, flat=True)
    m = nets.mlp([320, 32, 10], "leaky")
    return job(
        m, SGD(m.parameters(), 0.06), CE(), d, batch=32 if fixed else 2, epochs=16 if fixed else 5, seed=seed
    )


@case("B", [("batch_too_small", "lr_too_high")], ("test_score", 1, 0.03), [*UNSTABLE, "lr_too_high", "dead_units",
      "launch_bound", "undertrained", "overfitting", "saturated_units"])  # fmt: skip
def bts_arm_online(seed: int, fixed: bool) -> Any:
    d = sets.arm(seed, 500)
    m = nets.mlp([6, 48, 2], "tanh")
    o = Adam(m.parameters(), 0.02)
    return job(m, o, MSE(), d, batch=64 if fixed else 1, epochs=30 if fixed else 4, seed=seed)


@case("A", [("batch_too_large", "undertrained")], ("test_score", 1, 0.03), SLOW)
def btl_tags_whole(seed: int, fixed: bool) -> Any:
    d = sets.tags(seed, 900)
    m = nets.mlp([24, 64, 8])
    o = Adam(m.parameters(), 3e-3)
    return job(m, o, BCE(), d, batch=32 if fixed else 900, epochs=12, task="binary", metric=hits, seed=seed)


@case("A", [("batch_too_large", "undertrained")], ("test_loss", -1, 0.15), SLOW)
def btl_letters_half(seed: int, fixed: bool) -> Any:
    d = sets.letters(seed, 600)
    m = nets.SeqNet("lstm", 16, 48, 27, every=True, vocab=27)
    o = Adam(m.parameters(), 5e-3)
    return job(m, o, nets.lm_loss, d, batch=20 if fixed else 300, epochs=7, task="lm", seed=seed)


@case("B", [("batch_too_large", "undertrained")], ("test_score", 1, 0.1), SLOW)
def btl_ratings_whole(seed: int, fixed: bool) -> Any:
    d = sets.ratings(seed)
    m = Factors()
    return job(m, Adam(m.parameters(), 1e-2), MSE(), d, batch=64 if fixed else 3000, epochs=12, seed=seed)


@case("B", [("batch_too_large", "undertrained")], SCORE, SLOW)
def btl_spoken_gathered(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 896, flat=True)
    m = nets.mlp([320, 48, 10])
    o = SGD(m.parameters(), 0.05, momentum=0.5)
    ld = loader(Rows(d.x, d.y), 28, seed)
    return job(
        m, o, CE(), d, batch=28, epochs=10, seed=seed, loader=ld, loop=written(every=1 if fixed else 32)
    )


@case("A", ["undertrained"], ("test_score", 1, 0.1), ["lr_too_low", "underfitting", "batch_too_large"])
def utr_heaps_three_epochs(seed: int, fixed: bool) -> Any:
    d = sets.heaps(seed)
    m = Pool()
    return job(m, Adam(m.parameters(), 1.5e-3), MSE(), d, batch=32, epochs=25 if fixed else 3, seed=seed)


@case("A", ["undertrained"], SCORE, ["lr_too_low", "underfitting", "batch_too_large"], "subtle")
def utr_patches_two_epochs(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 800)
    m = Patches(16, 32, 10, 20, layers=1)
    return job(m, AdamW(m.parameters(), 2e-3), CE(), d, batch=32, epochs=16 if fixed else 3, seed=seed)


@case("B", ["undertrained"], ("test_score", 1, 0.1), ["lr_too_low", "underfitting", "batch_too_large"])
def utr_brackets_lstm(seed: int, fixed: bool) -> Any:
    d = sets.brackets(seed)
    m = nets.SeqNet("lstm", 8, 32, 4, vocab=2)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=20 if fixed else 3, seed=seed)


@case("B", ["undertrained"], ("test_loss", -1, 0.15), ["lr_too_low", "underfitting", "batch_too_large"])
def utr_letters_one_epoch(seed: int, fixed: bool) -> Any:
    d = sets.letters(seed, 700)
    m = nets.Transformer(27, 32, 27, 20, 1, 4, True)
    o = AdamW(m.parameters(), 4e-3)
    return job(m, o, nets.lm_loss, d, batch=20, epochs=14 if fixed else 1, task="lm", seed=seed)


@case("A", [("weight_decay_misuse", "underfitting")], SCORE, STUCK)
def wdm_spoken_adamw(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 700)
    m = Seq(16, 32, 10)
    o = AdamW(m.parameters(), 3e-3, weight_decay=0.01 if fixed else 15.0)
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed)


@case("A", [("weight_decay_misuse", "underfitting")], ("test_score", 1, 0.1), STUCK)
def wdm_ratings_l2(seed: int, fixed: bool) -> Any:
    d = sets.ratings(seed)
    m = Factors()
    o = Adam(m.parameters(), 1e-2, weight_decay=1e-6 if fixed else 0.05)
    return job(m, o, MSE(), d, batch=64, epochs=12, seed=seed)


@case("B", [("weight_decay_misuse", "underfitting")], SCORE, STUCK)
def wdm_duels_sgd(seed: int, fixed: bool) -> Any:
    d = sets.duels(seed)
    m = Ranker(8)
    o = SGD(m.parameters(), 0.1, momentum=0.9, weight_decay=0.0 if fixed else 0.15)
    return job(m, o, BCE(), d, batch=32, epochs=15, task="binary", seed=seed)


@case("B", [("weight_decay_misuse", "underfitting")], ("test_loss", -1, 0.1), STUCK, "subtle")
def wdm_embedding_of_letters(seed: int, fixed: bool) -> Any:
    d = sets.letters(seed, 500)
    m = nets.SeqNet("gru", 16, 48, 27, every=True, vocab=27)
    groups = [{"params": m.emb.parameters(), "weight_decay": 0.0 if fixed else 60.0},
              {"params": [*m.rnn.parameters(), *m.head.parameters()], "weight_decay": 0.0}]  # fmt: skip
    return job(m, AdamW(groups, 5e-3), nets.lm_loss, d, batch=25, epochs=7, task="lm", seed=seed)


@case("A", ["overfitting"], ("test_loss", -1, 0.3), ["converged_early"], "blatant")
def ovf_questions_few(seed: int, fixed: bool) -> Any:
    d = sets.questions(seed, 250)
    m = Bag(800, 64, 5)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=16, epochs=5 if fixed else 80, seed=seed)


@case("A", ["overfitting"], ("test_loss", -1, 0.1), ["converged_early"])
def ovf_fashion_wide(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 150, flat=True)
    m = nets.mlp([196, 128, 128, 10], "gelu")
    return job(m, AdamW(m.parameters(), 1e-3), CE(), d, batch=16, epochs=10 if fixed else 90, seed=seed)


@case("B", ["overfitting"], ("test_loss", -1, 0.1), ["converged_early"])
def ovf_churn_wide(seed: int, fixed: bool) -> Any:
    d = sets.table(seed, "churn_modelling", 300)
    m = nets.mlp([d.x.shape[1], 128, 64, 2])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=20, epochs=5 if fixed else 50, seed=seed)


@case("B", ["overfitting"], ("test_loss", -1, 0.05), ["converged_early"], "subtle")
def ovf_few_houses(seed: int, fixed: bool) -> Any:
    d = sets.scaled(sets.table(seed, "california_housing", 100), True)
    m = nets.mlp([8, 96, 96, 1], "gelu")
    return job(m, Adam(m.parameters(), 1e-3), MSE(), d, batch=10, epochs=12 if fixed else 150, seed=seed)


@case(
    "A",
    ["underfitting"],
    ("test_score", 1, 0.1),
    ["plateau", "converged_early", "dead_units", "undertrained"],
)
def und_checker_three_units(seed: int, fixed: bool) -> Any:
    d = sets.checker(seed)
    m = nets.mlp([2, 64 if fixed else 3, 2])
    return job(m, Adam(m.parameters(), 1e-2), CE(), d, batch=32, epochs=30, seed=seed)


@case("A", ["underfitting"], ("test_loss", -1, 0.1), ["plateau", "undertrained", "converged_early"])
def und_letters_one_unit(seed: int, fixed: bool) -> Any:
    d = sets.letters(seed, 500)
    m = nets.SeqNet("gru", 8, 32 if fixed else 1, 27, every=True, vocab=27)
    return job(m, Adam(m.parameters(), 1e-2), nets.lm_loss, d, batch=20, epochs=10, task="lm", seed=seed)


@case("B", ["underfitting"], ("test_score", 1, 0.1), ["plateau", "undertrained", "converged_early", *ROUGH])
def und_arm_straight_line(seed: int, fixed: bool) -> Any:
    d = sets.arm(seed)
    m = nets.mlp([6, 48, 2]) if fixed else nn.Linear(6, 2)
    return job(m, Adam(m.parameters(), 1e-2), MSE(), d, batch=32, epochs=20, seed=seed)


@case("B", ["underfitting"], ("test_score", 1, 0.1), ["plateau", "undertrained", "converged_early",
      "weight_decay_misuse", "dead_units"])  # fmt: skip
def und_l1_in_the_loss(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 700, flat=True)
    m = nets.mlp([320, 48, 10])
    weight = 1e-5 if fixed else 0.02

    def loss(out: Any, y: Any) -> Any:
        return F.cross_entropy(out, y) + weight * sum(p.abs().sum() for p in m.parameters())

    return job(m, Adam(m.parameters(), 3e-3), loss, d, batch=32, epochs=12, seed=seed)
