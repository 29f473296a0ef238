"""Fifth blind set, first author: several faults at once, and sound trainings of pictures and tables.

The faults are proved as those of `blind5_first_rates.py`; no standard remedy betters the sound trainings by 0.02.
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
    make_loop,
    nets,
    nn,
    optim,
    torch,
)

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases.blind3_parts import cosine
from benchmarks.cases.blind5_first_rows import flipped
from benchmarks.cases.blind5_parts import case

BOTH = [*UNSTABLE, *STUCK]


@case(["unscaled_inputs", "unscaled_targets"], ("test_score", 1, 0.2), [*BOTH, "dead_units", "lr_too_high",
      "lr_too_low"])  # fmt: skip
def mul_houses_raw(seed: int, fixed: bool) -> Any:
    """Predict prices in dollars from raw columns, of which one counts thousands of inhabitants."""
    d = sets.table(seed, "california_housing", 900, fixed)
    sets.targets(d, (lambda v: (v - 2.07) / 1.15) if fixed else (lambda v: v * 1e5))
    m = nets.mlp([8, 48, 48, 1])
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=16, seed=seed)


@case(["lr_too_high", "missing_zero_grad"], ("test_score", 1, 0.1), [*BOTH, "dead_units", "exploding_gradient",
      "vanishing_gradient"])  # fmt: skip
def mul_fast_and_never_cleared(seed: int, fixed: bool) -> Any:
    """Forget zero_grad, with a rate that would be too high anyway."""
    d = data.digits(seed, n=800)
    m = nets.mlp([64, 64, 10])
    loop = None if fixed else make_loop(zero_grad=False)
    return job(
        m, SGD(m.parameters(), 0.1 if fixed else 2.0), CE(), d, batch=32, epochs=14, seed=seed, loop=loop
    )


@case(["label_noise", "class_imbalance"], ("test_bal", 1, 0.1), ["overfitting", "plateau", "underfitting",
      "converged_early"])  # fmt: skip
def mul_noisy_and_rare(seed: int, fixed: bool) -> Any:
    """Mistake a quarter of the labels, while one class of four has twelve images."""
    d = data.shapes(seed, n=1000, noise=0.25, k=4)
    if not fixed:
        d = flipped(data.imbalance(d, {0: 200, 1: 200, 2: 12, 3: 200}, seed), 0.25, 4, seed)
    m = nets.cnn(4, (8, 16), hw=12)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case(["vanishing_gradient", ("unscaled_inputs", "saturated_units"), "lr_too_low"], ("test_score", 1, 0.5), [*STUCK,
      "saturated_units", "bad_init"])  # fmt: skip
def mul_sigmoid_pixels_slow(seed: int, fixed: bool) -> Any:
    """Put pixels of 0 to 255 into five sigmoid layers and train by SGD at 1e-3."""
    d = data.digits(seed, n=800, scale="global" if fixed else None)
    if not fixed:
        sets.inputs(d, lambda v: v * 16)
    m = nets.mlp([64, 48, 48, 48, 48, 10], "relu" if fixed else "sigmoid")
    return job(m, SGD(m.parameters(), 0.1 if fixed else 1e-3), CE(), d, batch=32, epochs=16, seed=seed)


@case(["loss_mismatch", "lr_too_low"], ("test_score", 1, 0.1), [*STUCK, "dead_units", "vanishing_gradient"])
def mul_relu_logits_slow(seed: int, fixed: bool) -> Any:
    """End a classifier in a ReLU, cross entropy over it, and train it by SGD at 0.001."""
    d = data.wine(seed)
    m = nets.mlp([13, 24, 3], last=None if fixed else nn.ReLU())
    return job(m, SGD(m.parameters(), 0.1 if fixed else 1e-3), CE(), d, batch=16, epochs=16, seed=seed)


@case(["unshuffled_data", ("batch_too_small", "lr_too_high")], ("test_score", 1, 0.1), [*UNSTABLE, "lr_too_high",
      "undertrained", "train_val_shift", "launch_bound", "overfitting"])  # fmt: skip
def mul_sorted_in_pairs(seed: int, fixed: bool) -> Any:
    """Go through classes one after the other, two rows at a time."""
    d = data.sort_by_label(data.digits(seed, n=600))
    m = nets.mlp([64, 48, 10])
    o = SGD(m.parameters(), 0.1)
    return job(m, o, CE(), d, batch=32 if fixed else 2, epochs=16 if fixed else 5, seed=seed, shuffle=fixed)


@case([("bad_init", "exploding_gradient"), ("weight_decay_misuse", "underfitting")], ("test_score", 1, 0.1), [*BOTH,
      "exploding_gradient", "lr_too_high", "dead_units"])  # fmt: skip
def mul_loud_start_strong_decay(seed: int, fixed: bool) -> Any:
    """Start at N(0, 1) and answer the high loss with weight decay 0.3 in SGD."""
    d = data.hardclass(seed, n=1200, d=20, inf=8, sep=1.5, k=3)
    m = nets.mlp([20, 48, 48, 3])
    if not fixed:
        nets.normal_(m, 1.0)
    o = SGD(m.parameters(), 0.02, momentum=0.9, weight_decay=1e-3 if fixed else 0.3)
    return job(m, o, CE(), d, batch=32, epochs=8, seed=seed)


@case([])
def ok_shapes_batch_norm(seed: int, fixed: bool) -> Any:
    """Classify shapes by a CNN with batch norm."""
    d = data.shapes(seed, n=800, noise=0.3, k=6)
    m = nets.cnn(6, (12, 24), "bn", hw=12)
    o = SGD(m.parameters(), 0.05, momentum=0.9, weight_decay=5e-4)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed, scheduler=cosine(o, 12))


@case([])
def ok_cancer_logistic(seed: int, fixed: bool) -> Any:
    """Fit a logistic regression to the breast cancer table."""
    d = data.binary(data.cancer(seed))
    m = nn.Linear(30, 1)
    o = AdamW(m.parameters(), 1e-2, weight_decay=0.1)
    return job(m, o, BCE(), d, batch=32, epochs=20, task="binary", seed=seed)


@case([])
def ok_blobs_bayes(seed: int, fixed: bool) -> Any:
    """Stop at 77 % since the blobs overlap: that is the best there is, not underfitting nor label noise."""
    d = data.blobs(seed, k=3, n=800, std=4.0)
    m = nets.mlp([2, 16, 3])
    o = Adam(m.parameters(), 5e-3)
    return job(m, o, CE(), d, batch=32, epochs=20, seed=seed, scheduler=cosine(o, 20))


@case([])
def ok_large_batch_scaled(seed: int, fixed: bool) -> Any:
    """Use batches of 250 with a rate to match and enough epochs."""
    d = data.digits(seed)
    m = nets.mlp([64, 96, 10])
    o = SGD(m.parameters(), 0.3, momentum=0.9)
    return job(m, o, CE(), d, batch=250, epochs=50, seed=seed, scheduler=cosine(o, 50))


@case([], accept=["launch_bound"])
def ok_group_norm_batch4(seed: int, fixed: bool) -> Any:
    """Use batches of four, which group norm does not mind, at a small rate."""
    d = data.shapes(seed, n=500, noise=0.25, k=4)
    m = nets.cnn(4, (8, 16), "gn", hw=12)
    o = Adam(m.parameters(), 2e-3)
    return job(m, o, CE(), d, batch=4, epochs=6, seed=seed, scheduler=cosine(o, 6))


@case([])
def ok_sigmoid_shallow(seed: int, fixed: bool) -> Any:
    """Train one hidden layer of sigmoids, which is no trouble with Adam."""
    d = data.digits(seed)
    m = nets.mlp([64, 48, 10], "sigmoid")
    return job(m, Adam(m.parameters(), 8e-3), CE(), d, batch=32, epochs=16, seed=seed)


@case([])
def ok_fashion_one_cycle(seed: int, fixed: bool) -> Any:
    """Classify four kinds of clothes by a CNN with dropout and a one-cycle rate."""
    d = sets.fashion(seed, 900, kept=4)
    m = nets.cnn(4, (8, 16), hw=14, drop=0.3)
    o = Adam(m.parameters(), 1e-3)
    s = optim.lr_scheduler.OneCycleLR(o, 6e-3, epochs=10, steps_per_epoch=29)
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed, scheduler=s, sched_per="batch")


@case([])
def ok_rare_kind_weighted(seed: int, fixed: bool) -> Any:
    """Weigh classes of one to fifteen by their counts: the loss is unlike the plain one, the rare kind is found."""
    d = data.imbalance(data.blobs(seed, k=2, n=2400, std=2.0, dim=6), {0: 750, 1: 50}, seed)
    m = nets.mlp([6, 24, 2])
    o = Adam(m.parameters(), 4e-3)
    return job(m, o, CE(weight=torch.tensor([0.53, 8.0])), d, batch=32, epochs=14, seed=seed)
