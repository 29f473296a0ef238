"""Seventh blind set, first half: losses that do not fit, cost, and several faults at once."""

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
    accuracy_binary,
    accuracy_prob,
    data,
    job,
    nets,
    nn,
)

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases.blind7_parts import COST, WALL, Jitter, Upcast, Y, batches, case, every, viewed


@case("A", ["loss_mismatch"], ("test_score", 1, 0.1), [*STUCK, "class_imbalance"])
def lss_zero_where_minus_one_is_meant(seed: int, fixed: bool) -> Any:
    """Give SoftMarginLoss targets of 0 and 1; it is made for -1 and 1, and a zero asks for nothing."""
    d = data.binary(data.circles(seed, n=500, noise=0.12))
    if fixed:
        every(d, lambda v: 2 * v - 1, Y)
    m = nets.mlp([2, 32, 32, 1])
    o = Adam(m.parameters(), 5e-3)
    return job(
        m, o, nn.SoftMarginLoss(), d, batch=25, epochs=12, task="binary", metric=accuracy_binary, seed=seed
    )


@case("A", ["loss_mismatch"], ("test_loss", -1, 0.15), [*STUCK, "lr_too_low", "saturated_units", "vanishing_gradient",
      "class_imbalance"], "subtle")  # fmt: skip
def lss_sigmoid_twice(seed: int, fixed: bool) -> Any:
    """End the net by a sigmoid and give its answers to BCEWithLogitsLoss."""
    d = data.binary(data.cancer(seed))
    m = nets.mlp([30, 24, 24, 1], last=None if fixed else nn.Sigmoid())
    metric = accuracy_binary if fixed else accuracy_prob
    return job(
        m, Adam(m.parameters(), 2e-3), BCE(), d, batch=32, epochs=12, task="binary", metric=metric, seed=seed
    )


@case("A", ["loss_mismatch"], ("test_score", 1, 0.05), [*STUCK, "overfitting", "lr_too_low"])
def lss_view_for_transpose(seed: int, fixed: bool) -> Any:
    """Bring (batch, time, letters) to (batch, letters, time) by view() in place of transpose()."""
    d = data.chars(seed, n=500, T=24)
    m = nets.SeqNet("gru", 24, 48, d.k, every=True, vocab=d.k)
    loss = nets.lm_loss if fixed else viewed
    return job(m, Adam(m.parameters(), 5e-3), loss, d, batch=25, epochs=8, task="lm", seed=seed)


@case(
    "A",
    [("loss_mismatch", "lr_too_high")],
    ("test_score", 1, 0.1),
    [*UNSTABLE, *STUCK, "lr_too_high", "dead_units"],
)
def lss_sum_over_the_batch(seed: int, fixed: bool) -> Any:
    """Sum the squared errors of a batch (size_average=False) and keep the rate that was made for their mean."""
    d = data.friedman(seed, n=500, noise=0.5)
    m = nets.mlp([10, 48, 48, 1])
    loss = nn.MSELoss(reduction="mean" if fixed else "sum")
    return job(m, SGD(m.parameters(), 0.03), loss, d, batch=64, epochs=20, seed=seed)


@case("A", ["wrong_dtype"], COST, ["launch_bound"], "subtle")
def cmp_body_in_double(seed: int, fixed: bool) -> Any:
    """Compute the wide middle of a net in double precision, "for stability"."""
    d = data.digits(seed, n=800)
    m = Upcast(64, 384, 10, not fixed)
    return job(m, Adam(m.parameters(), 1e-3), CE(), d, batch=64, epochs=8, seed=seed)


@case("A", ["input_bound"], WALL, ["launch_bound", "undertrained", "underfitting"])
def cmp_turned_by_scipy(seed: int, fixed: bool) -> Any:
    """Turn every picture by splines whenever it is asked for, where the net needs a tenth of that time."""
    d = data.shapes(seed, n=400, noise=0.25, k=4)
    m = nets.cnn(4, (8, 16), hw=12)
    rows = None if fixed else batches(Jitter(d.x, d.y, 2), 32, seed)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=8, seed=seed, loader=rows)


@case("A", [("launch_bound", "batch_too_small")], COST, ["batch_too_small", "undertrained"])
def cmp_thin_and_deep(seed: int, fixed: bool) -> Any:
    """Send four rows at a time through ten branches of eight units."""
    d = data.circles(seed, n=400, noise=0.1)
    m = nets.resmlp(2, 8, 2, 10)
    o = Adam(m.parameters(), 6e-3 if fixed else 2e-3)
    return job(m, o, CE(), d, batch=50 if fixed else 4, epochs=14 if fixed else 3, seed=seed)


@case("A", ["unscaled_inputs", "unscaled_targets"], ("test_score", 1, 0.2), [*STUCK, *UNSTABLE, "lr_too_low",
      "dead_units", "lr_too_high", "vanishing_gradient"])  # fmt: skip
def mul_houses_as_they_are(seed: int, fixed: bool) -> Any:
    """Feed a table of houses as it is, incomes beside populations, and ask for dollars."""
    d = sets.table(seed, "california_housing", 800, scale=fixed)
    every(d, (lambda v: (v - 2.07) / 1.15) if fixed else (lambda v: 1e5 * v), Y)
    m = nets.mlp([8, 64, 32, 1])
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case("A", ["overfitting", "label_noise"], ("test_loss", -1, 0.3), ["converged_early"])
def mul_wrong_labels_by_heart(seed: int, fixed: bool) -> Any:
    """Let a wide net learn 300 digits by heart, a quarter of which are labelled wrongly."""
    d = data.digits(seed, n=300, noise=2.0)
    if not fixed:
        d.y = data.flip_labels(d.y, 0.25, 10, seed)
        d.yv = data.flip_labels(d.yv, 0.25, 10, seed + 1)
    m = nets.mlp([64, 256, 128, 10])
    return job(m, Adam(m.parameters(), 1e-3), CE(), d, batch=25, epochs=10 if fixed else 50, seed=seed)
