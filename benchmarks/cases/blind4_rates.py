"""Fourth blind set: rates, schedules, batches, budgets, capacity. Half A and half B are asked one after the other.

Every fault is proved by a twin that does clearly better (`python benchmarks/faultbench.py --blind4 A --prove`).
"""

from __future__ import annotations

from typing import Any

from faultbench.lib import (
    BCE,
    CE,
    MSE,
    SGD,
    STUCK,
    UNSTABLE,
    Adam,
    AdamW,
    data,
    job,
    nets,
    nn,
    optim,
)

from benchmarks.cases import blind4_sets as sets
from benchmarks.cases.blind3_parts import Bag, Lambda, Rows, cosine, loader, written
from benchmarks.cases.blind4_parts import (
    LOSS,
    ROUGH,
    SCORE,
    Both,
    Causal,
    Crossed,
    Encoder,
    Experts,
    Lion,
    Neighbours,
    apart,
    case,
    sliced,
)

HIGH = [*ROUGH, "dead_units", "saturated_units", "overfitting", "batch_too_small"]
SLOW = [*STUCK, "lr_too_low"]
PAIRS = [*UNSTABLE, "lr_too_high", "dead_units", "launch_bound", "undertrained", "overfitting"]


@case("A", ["lr_too_high"], ("test_score", 1, 0.1), HIGH, "blatant")
def lrh_depthwise_momentum(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, 700, k=4, noise=0.25)
    m = apart(4, 16)
    o = SGD(m.parameters(), 0.05 if fixed else 0.6, momentum=0.9 if fixed else 0.97)
    return job(m, o, CE(), d, batch=25, epochs=10, seed=seed)


@case("A", ["lr_too_high"], ("test_loss", -1, 0.05), HIGH, "subtle")
def lrh_lion_on_a_markov_chain(seed: int, fixed: bool) -> Any:
    d = sets.markov(seed, 500)
    m = Causal(12, 24)
    o = Lion(m.parameters(), 3e-3 if fixed else 6e-2)
    return job(m, o, nets.lm_loss, d, batch=20, epochs=10, task="lm", seed=seed)


@case("B", ["lr_too_high"], ("test_loss", -1, 0.1), HIGH)
def lrh_torch_encoder(seed: int, fixed: bool) -> Any:
    d = data.topics(seed, 700, mix=0.6)
    m = Encoder(200, 32, 4, 20)
    return job(m, Adam(m.parameters(), 3e-3 if fixed else 0.3), CE(), d, batch=32, epochs=6, seed=seed)


@case("B", ["lr_too_high"], ("test_score", 1, 0.02), HIGH, "subtle")
def lrh_adamax_pendulum(seed: int, fixed: bool) -> Any:
    d = sets.pendulum(seed, 600)
    m = nets.mlp([4, 48, 48, 2], "elu")
    o = optim.Adamax(m.parameters(), 2e-2 if fixed else 0.4)
    return job(m, o, MSE(), d, batch=20, epochs=20, seed=seed, loop=sliced())


@case("A", ["lr_too_low"], ("test_score", 1, 0.1), STUCK)
def lrl_graphs_nesterov(seed: int, fixed: bool) -> Any:
    d = sets.graphs(seed, 600)
    m = Neighbours()
    o = SGD(m.parameters(), 0.1 if fixed else 5e-4, momentum=0.9, nesterov=True)
    return job(m, o, CE(), d, batch=25, epochs=15, seed=seed)


@case("B", ["lr_too_low"], ("test_loss", -1, 0.1), STUCK, "subtle")
def lrl_clicks_radam(seed: int, fixed: bool) -> Any:
    d = sets.clicks(seed, 2000)
    m = Crossed()
    o = optim.RAdam(m.parameters(), 3e-2 if fixed else 4e-4)
    return job(m, o, BCE(), d, batch=50, epochs=10, task="binary", seed=seed, loop=sliced())


@case("B", [("lr_too_low", "params_not_trained")], ("test_score", 1, 0.1), [*STUCK, "params_not_trained"])
def lrl_tiny_rate_for_a_new_body(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, 700, k=5, noise=0.25)
    m = nets.cnn(5, (12, 24), hw=12)
    body, head = [p for layer in m[:-1] for p in layer.parameters()], list(m[-1].parameters())
    o = Adam([{"params": body, "lr": 3e-3 if fixed else 2e-6}, {"params": head, "lr": 3e-3}])
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed)


@case("A", ["lr_schedule"], SCORE, SLOW, "blatant")
def sch_halved_every_epoch_twice(seed: int, fixed: bool) -> Any:
    d = data.spirals(seed, 600, turns=0.8)
    m = nets.mlp([2, 48, 48, 3])
    o = Adam(m.parameters(), 5e-3)
    s = optim.lr_scheduler.StepLR(o, 12 if fixed else 1, 0.5 if fixed else 0.25)
    return job(m, o, CE(), d, batch=32, epochs=30, seed=seed, scheduler=s)


@case("A", ["lr_schedule"], ("test_loss", -1, 0.05), SLOW, "subtle")
def sch_polynomial_of_a_shorter_run(seed: int, fixed: bool) -> Any:
    d = data.chars(seed, n=700, T=24)
    m = nets.SeqNet("gru", 24, 48, d.k, every=True, vocab=d.k)
    o = Adam(m.parameters(), 1e-2)
    s = optim.lr_scheduler.PolynomialLR(o, 22 * 9 if fixed else 45, power=1.0)
    return job(
        m, o, nets.lm_loss, d, batch=32, epochs=9, task="lm", seed=seed, scheduler=s, sched_per="batch"
    )


@case("B", ["lr_schedule"], SCORE, SLOW)
def sch_warm_up_counted_in_epochs(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, image=True)
    m = apart(10, 16)
    o = SGD(m.parameters(), 0.2, momentum=0.8)
    length = 40 if fixed else 4000
    s = Lambda(o, lambda t: min(1.0, (t + 1) / length))
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed, scheduler=s, sched_per="batch", loop=sliced())


@case("B", ["lr_schedule"], SCORE, SLOW)
def sch_milestones_of_steps_as_epochs(seed: int, fixed: bool) -> Any:
    d = sets.peaks(seed, 700)
    m = nn.Sequential(nn.Conv1d(1, 16, 7, padding=3), nn.ReLU(), nn.Conv1d(16, 16, 7, padding=3, dilation=1),
                      nn.ReLU(), nn.Flatten(), nn.Linear(16 * 48, 4))  # fmt: skip
    o = SGD(m.parameters(), 0.03, momentum=0.9)
    s = optim.lr_scheduler.MultiStepLR(o, [160, 240] if fixed else [8, 12], 0.1)
    return job(m, o, CE(), d, batch=35, epochs=15, seed=seed, scheduler=s, sched_per="batch")


@case("A", [("batch_too_small", "lr_too_high")], ("test_score", 1, 0.03), PAIRS)
def bts_traffic_one_by_one(seed: int, fixed: bool) -> Any:
    d = sets.traffic(seed, 500)
    m = nets.mlp([6, 32, 32, 1], "tanh")
    return job(
        m, SGD(m.parameters(), 0.1), MSE(), d, batch=32 if fixed else 1, epochs=40 if fixed else 6, seed=seed
    )


@case("B", [("batch_too_small", "lr_too_high")], LOSS, PAIRS, "subtle")
def bts_counts_in_pairs(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, 500, image=True)
    m = nets.cnn(10, (8, 16), act="leaky")
    o = Adam(m.parameters(), 1.5e-2)
    return job(m, o, CE(), d, batch=40 if fixed else 2, epochs=15 if fixed else 5, seed=seed)


@case("A", [("batch_too_large", "undertrained")], SCORE, SLOW)
def btl_mixture_all_at_once(seed: int, fixed: bool) -> Any:
    d = sets.mixture(seed, 900)
    m = nets.mlp([10, 48, 48, 6])
    return job(
        m, SGD(m.parameters(), 0.1, momentum=0.9), CE(), d, batch=30 if fixed else 900, epochs=12, seed=seed
    )


@case("B", [("batch_too_large", "undertrained")], ("test_loss", -1, 0.15), SLOW, "subtle")
def btl_intents_in_three_steps(seed: int, fixed: bool) -> Any:
    d = sets.intents(seed, 1100)
    m = Bag(800, 32, 12)
    ld = loader(Rows(d.x, d.y), 32 if fixed else 400, seed)
    return job(
        m, Adam(m.parameters(), 4e-3), CE(), d, batch=32 if fixed else 400, epochs=14, seed=seed, loader=ld
    )


@case("A", ["undertrained"], SCORE, ["lr_too_low", "underfitting", "batch_too_large"])
def utr_adding_lstm(seed: int, fixed: bool) -> Any:
    d = sets.adding(seed, 800, 10)
    m = nets.SeqNet("lstm", 2, 24, 1)
    return job(m, Adam(m.parameters(), 5e-3), MSE(), d, batch=20, epochs=22 if fixed else 3, seed=seed)


@case("B", ["undertrained"], SCORE, ["lr_too_low", "underfitting", "batch_too_large"], "subtle")
def utr_counting_dots(seed: int, fixed: bool) -> Any:
    d = sets.dots(seed, 700)
    m = apart(5, 16, norm=False)
    o = Adam(m.parameters(), 8e-3)
    s = cosine(o, 22) if fixed else None
    return job(m, o, CE(), d, batch=32, epochs=22 if fixed else 4, seed=seed, scheduler=s)


@case("A", [("weight_decay_misuse", "underfitting")], ("test_loss", -1, 0.05), STUCK)
def wdm_crossed_codes_adam(seed: int, fixed: bool) -> Any:
    d = sets.clicks(seed, 2000)
    m = Crossed()
    o = Adam(m.parameters(), 1e-2, weight_decay=0.0 if fixed else 0.05)
    return job(m, o, BCE(), d, batch=50, epochs=8, task="binary", seed=seed)


@case("B", [("weight_decay_misuse", "underfitting")], SCORE, STUCK)
def wdm_lion_with_a_percent_sign(seed: int, fixed: bool) -> Any:
    d = data.topics(seed, 700)
    m = Encoder(200, 24, 4, 20)
    o = Lion(m.parameters(), 1e-3, weight_decay=0.1 if fixed else 100.0)
    return job(m, o, CE(), d, batch=32, epochs=8, seed=seed)


@case("A", ["overfitting"], LOSS, ["converged_early"])
def ovf_topics_both_ways(seed: int, fixed: bool) -> Any:
    d = data.topics(seed, 400, k=4, mix=0.75)
    m = Both(24, 24, 4, vocab=200)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=25, epochs=6 if fixed else 25, seed=seed)


@case("B", ["overfitting"], ("test_loss", -1, 0.05), ["converged_early"], "subtle")
def ovf_few_points_of_a_mixture(seed: int, fixed: bool) -> Any:
    d = sets.mixture(seed, 200, k=3, apart=0.7)
    m = nets.mlp([10, 96, 3], "gelu")
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=20, epochs=14 if fixed else 60, seed=seed)


@case("A", ["underfitting"], SCORE, ["plateau", "converged_early", "dead_units"])
def und_one_by_one_filters(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, 700, k=4, noise=0.2)
    w, p = (3, 1) if fixed else (1, 0)
    m = nn.Sequential(nn.Conv2d(1, 12, w, padding=p), nn.ReLU(), nn.Conv2d(12, 24, w, padding=p), nn.ReLU(),
                      nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(24, 4))  # fmt: skip
    o = Adam(m.parameters(), 5e-3)
    return job(m, o, CE(), d, batch=32, epochs=18, seed=seed, scheduler=cosine(o, 18))


@case("B", ["underfitting"], ("test_score", 1, 0.1), ["plateau", "converged_early", "dead_units"])
def und_wave_by_a_small_net(seed: int, fixed: bool) -> Any:
    d = sets.ripple(seed, 900, waves=5.0)
    m = nets.mlp([2, 64, 64, 1] if fixed else [2, 4, 1])
    o = Adam(m.parameters(), 8e-3)
    return job(m, o, MSE(), d, batch=32, epochs=30, seed=seed, scheduler=cosine(o, 30))


@case("B", ["underfitting"], SCORE, ["plateau", "undertrained", "mode_misuse", "bad_features"])
def und_dropout_on_the_inputs(seed: int, fixed: bool) -> Any:
    d = sets.mixture(seed, 900)
    m = nn.Sequential(nn.Dropout(0.05 if fixed else 0.9), *nets.mlp([10, 48, 48, 6]))
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=15, seed=seed)


@case("A", ["lr_too_high", "unscaled_targets"], ("test_score", 1, 0.2), [*HIGH, "lr_too_high"])
def mul_fast_and_in_pascal(seed: int, fixed: bool) -> Any:
    d = sets.ripple(seed, 700)
    if not fixed:
        sets.targets(d, lambda v: 101_325 + 400 * v)
    m = nets.mlp([2, 48, 48, 1], "gelu")
    return job(m, AdamW(m.parameters(), 5e-3 if fixed else 0.3), MSE(), d, batch=32, epochs=15, seed=seed)


@case("B", [("lr_schedule", "lr_too_high")], SCORE, [*STUCK, *UNSTABLE, "lr_too_high", "dead_units"])
def sch_rate_grows_to_the_end(seed: int, fixed: bool) -> Any:
    d = sets.pendulum(seed, 600)
    m = nets.mlp([4, 48, 48, 2])
    o = SGD(m.parameters(), 0.05, momentum=0.7)
    s = optim.lr_scheduler.ExponentialLR(o, 0.9 if fixed else 1.35)
    return job(m, o, MSE(), d, batch=25, epochs=18, seed=seed, scheduler=s)


@case(
    "A",
    ["undertrained", "class_imbalance"],
    ("test_bal", 1, 0.1),
    ["lr_too_low", "underfitting", "batch_too_large"],
)
def mul_short_and_rare(seed: int, fixed: bool) -> Any:
    d = sets.mixture(seed, 2500)
    d = data.imbalance(d, {0: 300, 1: 300, 2: 300, 3: 300, 4: 12, 5: 12}, seed)
    m = Experts(10, 24, 6)
    w = (
        nn.functional.normalize(1 / nn.functional.one_hot(d.y, 6).float().mean(0), p=1, dim=0) * 6
        if fixed
        else None
    )
    return job(m, Adam(m.parameters(), 2e-3), CE(weight=w), d, batch=32, epochs=14 if fixed else 2, seed=seed)


@case("B", ["lr_too_low"], SCORE, STUCK, "blatant")
def lrl_residual_asgd(seed: int, fixed: bool) -> Any:
    d = data.waves(seed, 600, T=20, k=3, noise=0.3)
    m = nn.Sequential(nn.Flatten(), nets.resmlp(20, 32, 3, 2))
    o = optim.ASGD(m.parameters(), 0.1 if fixed else 1e-4)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed, loop=written())
