"""Seventh blind set, second half: losses that do not fit, cost, and several faults at once."""

from __future__ import annotations

import functools
from typing import Any

from faultbench.lib import (
    CE,
    MSE,
    SGD,
    STUCK,
    UNSTABLE,
    Adam,
    F,
    accuracy,
    accuracy_round,
    data,
    job,
    nets,
    nn,
)

from benchmarks.cases.blind7_parts import (
    COST,
    WALL,
    Committee,
    Council,
    Lines,
    Y,
    batches,
    case,
    every,
    masked,
    tag_accuracy,
    tagged,
)


@case("B", ["loss_mismatch"], ("test_score", 1, 0.1), [*STUCK, "unscaled_targets"])
def lss_class_as_a_number(seed: int, fixed: bool) -> Any:
    """Regress the number of the class by one output and round it, though the classes have no order."""
    d = data.shapes(seed, n=600, noise=0.25, k=6)
    m = nets.cnn(6 if fixed else 1, (8, 16), hw=12)
    if not fixed:
        every(d, lambda v: v.float()[:, None], Y)
    loss, metric = (CE(), accuracy) if fixed else (MSE(), accuracy_round)
    o = Adam(m.parameters(), 3e-3)
    return job(m, o, loss, d, batch=32, epochs=12, task="classification", metric=metric, seed=seed)


@case("B", ["loss_mismatch"], ("test_score", 1, 0.3), [*STUCK, "converged_early", "bad_features"], "blatant")
def lss_every_pair_of_rows(seed: int, fixed: bool) -> Any:
    """Subtract targets (n,) from outputs (n, 1): all pairs of rows are compared, and the mean is the best answer."""
    d = data.series(seed, n=500, T=12)
    if not fixed:
        every(d, lambda v: v[:, 0], Y)
    m = nets.mlp([12, 32, 1])

    def squared(out: Any, y: Any) -> Any:
        return ((out - y) ** 2).mean()

    return job(m, Adam(m.parameters(), 3e-3), squared, d, batch=25, epochs=15, seed=seed)


@case("B", ["loss_mismatch"], ("test_score", 1, 0.3), [*UNSTABLE, *STUCK, "lr_too_high"], "blatant")
def lss_likelihood_minimised(seed: int, fixed: bool) -> Any:
    """Minimise the log likelihood in place of its negative."""
    d = data.blobs(seed, k=4, n=600, std=1.2)
    m = nets.mlp([2, 24, 4])

    def likelihood(out: Any, y: Any) -> Any:
        picked = F.log_softmax(out, -1).gather(1, y[:, None]).mean()
        return -picked if fixed else picked

    return job(m, Adam(m.parameters(), 3e-3), likelihood, d, batch=32, epochs=12, seed=seed)


@case("B", ["loss_mismatch"], ("test_score", 1, 0.3), [*STUCK, "converged_early", "train_val_shift"])
def lss_mask_upside_down(seed: int, fixed: bool) -> Any:
    """Invert the mask of a tagger: the padding is learned, and the words are not."""
    d = tagged(seed)
    m = nets.SeqNet("gru", 16, 32, 4, every=True, vocab=12)
    loss = functools.partial(masked, pads=not fixed)
    o = Adam(m.parameters(), 1e-2)
    return job(m, o, loss, d, batch=25, epochs=14, task="lm", metric=tag_accuracy, seed=seed)


@case("B", ["wrong_dtype"], COST, ["launch_bound"])
def cmp_series_from_numpy(seed: int, fixed: bool) -> Any:
    """Call model.double() to end an error of types with arrays from numpy."""
    d = data.waves(seed, n=400, T=24, k=4, noise=0.5)
    every(d, lambda v: v.transpose(1, 2).contiguous())
    m = nets.SeqNet("gru", 1, 96, 4)
    if not fixed:
        m = m.double()
        every(d, lambda v: v.double())
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=50, epochs=8, seed=seed)


@case("B", ["input_bound"], WALL, ["launch_bound", "undertrained", "underfitting"])
def cmp_line_by_line(seed: int, fixed: bool) -> Any:
    """Read every row by pandas from the file when it is asked for."""
    d = data.cancer(seed)
    m = nets.mlp([30, 32, 2])
    rows = None if fixed else batches(Lines(d.x, d.y), 32, seed)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=5, seed=seed, loader=rows)


@case("B", [("launch_bound", "batch_too_small")], COST, ["batch_too_small", "undertrained"])
def cmp_members_in_turn(seed: int, fixed: bool) -> Any:
    """Ask thirty tiny nets one after the other for every batch."""
    d = data.moons(seed, n=500, noise=0.15)
    m = (Council if fixed else Committee)(30, 2, 8, 2)
    return job(m, Adam(m.parameters(), 1e-2), CE(), d, batch=16, epochs=8, seed=seed)


@case("B", ["unscaled_inputs", "loss_mismatch"], ("test_score", 1, 0.05), [*STUCK, *UNSTABLE, "dead_units",
      "saturated_units", "vanishing_gradient", "lr_too_low", "lr_too_high"])  # fmt: skip
def mul_bytes_and_softmax(seed: int, fixed: bool) -> Any:
    """Feed pixels of up to 255 to a net that ends in a softmax, and its answers to the cross entropy."""
    d = data.digits(seed, n=800, scale="global" if fixed else None)
    if not fixed:
        every(d, lambda v: v * (255 / 16))
    m = nets.mlp([64, 64, 10], last=None if fixed else nn.Softmax(-1))
    return job(m, SGD(m.parameters(), 0.05), CE(), d, batch=32, epochs=15, seed=seed)


@case(
    "B", ["vanishing_gradient", "lr_too_low"], ("test_score", 1, 0.3), [*STUCK, "saturated_units", "bad_init"]
)
def mul_deep_sigmoids_at_a_crawl(seed: int, fixed: bool) -> Any:
    """Stack five sigmoid layers and train them by SGD at 0.001."""
    d = data.waves(seed, n=500, T=24, k=4, noise=0.4)
    m = nets.mlp([24, 48, 48, 48, 48, 48, 4], "relu" if fixed else "sigmoid", flat=True)
    if fixed:
        nets.he_(m)
    return job(m, SGD(m.parameters(), 0.03 if fixed else 1e-3), CE(), d, batch=25, epochs=15, seed=seed)
