"""Seventh blind set, second half: rates, schedules, batches, decay, budget and fit (see `blind7_first_rates.py`)."""

from __future__ import annotations

from typing import Any

from faultbench.core import TensorBatches
from faultbench.lib import CE, MSE, SGD, STUCK, UNSTABLE, Adam, AdamW, F, data, job, nets, nn, optim

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases.blind6_parts import Words
from benchmarks.cases.blind7_parts import case


def halves(d: Any) -> tuple[Any, Any]:
    """Keep the digits from 5 on, and return the rows below."""
    low = d.x[d.y < 5], d.y[d.y < 5]
    for a, b in (("x", "y"), ("xv", "yv"), ("xt", "yt")):
        x, y = getattr(d, a), getattr(d, b)
        setattr(d, a, x[y >= 5])
        setattr(d, b, y[y >= 5] - 5)
    d.k = 5
    return low


@case("B", ["lr_too_high"], ("test_loss", -1, 0.05), [*UNSTABLE, "overfitting", "dead_units"])
def lrh_forgets_what_it_knew(seed: int, fixed: bool) -> Any:
    """Fine-tune a pre-trained net on few rows at the rate of its pre-training, tenfold what keeps its features."""
    d = data.digits(seed, n=900, noise=3.0)
    low = halves(d)
    d.x, d.y = d.x[:80], d.y[:80]
    m = nets.mlp([64, 64, 64, 5])
    o = SGD(m.parameters(), 0.1, momentum=0.9)
    for _ in range(8):
        for x, y in TensorBatches(*low, 32, True, seed):
            o.zero_grad()
            F.cross_entropy(m(x), y).backward()
            o.step()
    m[-1].reset_parameters()
    o = SGD(m.parameters(), 0.015 if fixed else 0.1, momentum=0.9)
    return job(m, o, CE(), d, batch=8, epochs=12, seed=seed)


@case("B", ["lr_too_high"], ("test_loss", -1, 0.1), UNSTABLE, "subtle")
def lrh_small_language_model(seed: int, fixed: bool) -> Any:
    """Train a transformer on letters by Adam at 0.03."""
    d = data.chars(seed, n=400, T=24)
    m = nets.Transformer(d.k, 32, d.k, 24, layers=2, lm=True)
    o = AdamW(m.parameters(), 4e-3 if fixed else 0.05)
    return job(m, o, nets.lm_loss, d, batch=20, epochs=8, task="lm", seed=seed)


@case("B", ["lr_too_low"], ("test_loss", -1, 0.05), STUCK, "subtle")
def lrl_shapes_a_quarter(seed: int, fixed: bool) -> Any:
    """Leave SGD at a quarter of the rate that its twelve epochs need."""
    d = data.shapes(seed, n=600, noise=0.2, k=4)
    m = nets.cnn(4, (8, 16), hw=12)
    o = SGD(m.parameters(), 0.02 if fixed else 0.005, momentum=0.9)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed)


@case("B", ["lr_too_low"], ("test_loss", -1, 0.3), STUCK)
def lrl_letters_of_a_large_model(seed: int, fixed: bool) -> Any:
    """Copy 1e-4 from the paper of a model a thousand times as large."""
    d = data.chars(seed, n=600, T=24)
    m = nets.SeqNet("lstm", 24, 48, d.k, every=True, vocab=d.k)
    o = Adam(m.parameters(), 6e-3 if fixed else 1e-4, betas=(0.9, 0.95))
    return job(m, o, nets.lm_loss, d, batch=25, epochs=8, task="lm", seed=seed)


@case("B", ["lr_schedule"], ("test_score", 1, 0.1), [*STUCK, "lr_too_low"], "blatant")
def sch_milestones_of_a_short_run(seed: int, fixed: bool) -> Any:
    """Keep milestones of 1, 2 and 3 epochs from a trial in a run of twenty."""
    d = data.friedman(seed, n=600, noise=0.5)
    m = nets.mlp([10, 48, 48, 1])
    o = SGD(m.parameters(), 0.03, momentum=0.9)
    s = optim.lr_scheduler.MultiStepLR(o, [10, 15, 18] if fixed else [1, 2, 3], 0.1)
    return job(m, o, MSE(), d, batch=50, epochs=20, seed=seed, scheduler=s)


@case("B", [("batch_too_small", "lr_too_high")], ("test_loss", -1, 0.05), [*UNSTABLE, "lr_too_high", "dead_units",
      "launch_bound", "overfitting"])  # fmt: skip
def bts_row_by_row(seed: int, fixed: bool) -> Any:
    """Update after every row ("stochastic gradient descent") of a table whose classes overlap."""
    d = data.hardclass(seed, n=600, d=12, inf=5, flip=0.05, sep=1.5)
    m = nets.mlp([12, 24, 2], "tanh")
    o = SGD(m.parameters(), 0.2)
    return job(m, o, CE(), d, batch=32 if fixed else 1, epochs=25 if fixed else 5, seed=seed)


@case("B", [("batch_too_large", "undertrained")], ("test_score", 1, 0.05), [*STUCK, "lr_too_low"], "subtle")
def btl_clothes_in_one(seed: int, fixed: bool) -> Any:
    """Feed all clothes at once for fifteen epochs, which is fifteen steps."""
    d = sets.fashion(seed, 900, flat=True)
    m = nets.mlp([49 * 4, 48, 10])
    o = SGD(m.parameters(), 0.05, momentum=0.9)
    return job(m, o, CE(), d, batch=30 if fixed else 900, epochs=15, seed=seed)


@case("B", [("weight_decay_misuse", "underfitting")], ("test_score", 1, 0.05), STUCK)
def wdm_tenth_in_sgd(seed: int, fixed: bool) -> Any:
    """Set weight_decay=0.1, a value for AdamW, in SGD with momentum, where it is not scaled by the rate's taste."""
    d = data.digits(seed, n=700, image=True)
    m = nets.cnn(10, (8, 16))
    o = SGD(m.parameters(), 0.03, momentum=0.9, weight_decay=5e-4 if fixed else 0.1)
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed)


@case(
    "B", ["undertrained"], ("test_loss", -1, 0.1), ["lr_too_low", "underfitting", "batch_too_large"], "subtle"
)
def utr_letters_three_rounds(seed: int, fixed: bool) -> Any:
    """Stop a language model after three epochs."""
    d = data.chars(seed, n=600, T=24)
    m = nets.SeqNet("gru", 24, 48, d.k, every=True, vocab=d.k)
    o = Adam(m.parameters(), 4e-3)
    return job(m, o, nets.lm_loss, d, batch=25, epochs=12 if fixed else 3, task="lm", seed=seed)


@case("B", ["overfitting"], ("test_loss", -1, 0.05), ["converged_early"])
def ovf_news_few(seed: int, fixed: bool) -> Any:
    """Learn four kinds of news from 400 texts, fifty times over."""
    d = sets.news(seed, 400)
    m = Words(2000, 32, 4, hidden=32)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=25, epochs=10 if fixed else 50, seed=seed)


@case("B", ["overfitting"], ("test_loss", -1, 0.2), ["converged_early"])
def ovf_moons_in_fog(seed: int, fixed: bool) -> Any:
    """Draw a line around each of eighty points of two moons that overlap."""
    d = data.moons(seed, n=80, noise=0.35)
    m = nets.mlp([2, 128, 128, 2])
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=16, epochs=12 if fixed else 150, seed=seed)


@case(
    "B", ["underfitting"], ("test_score", 1, 0.3), ["plateau", "undertrained", "converged_early"], "blatant"
)
def und_straight_lines(seed: int, fixed: bool) -> Any:
    """Cut three spirals apart by straight lines."""
    d = data.spirals(seed, n=600, noise=0.03)
    m = nets.mlp([2, 64, 64, 3], "tanh") if fixed else nn.Linear(2, 3)
    return job(m, Adam(m.parameters(), 1e-2), CE(), d, batch=32, epochs=40, seed=seed)


@case("B", ["underfitting"], ("test_score", 1, 0.08), ["plateau", "undertrained", "converged_early"])
def und_no_activations(seed: int, fixed: bool) -> Any:
    """Stack four linear layers and forget the activations between them."""
    d = data.friedman(seed, n=700, noise=0.3)
    m = nets.mlp([10, 64, 64, 64, 1], "gelu" if fixed else "none")
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=20, seed=seed)
