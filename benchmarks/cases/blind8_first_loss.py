"""Eighth blind set, first half: losses that do not fit their outputs.

Every fault is proved by a twin that does clearly better (`python benchmarks/faultbench.py --blind8 A --prove`).
"""

from __future__ import annotations

from typing import Any

from faultbench.lib import CE, MSE, SGD, STUCK, Adam, accuracy_prob, data, job, nets, nn

from benchmarks.cases.blind7_parts import conv1d
from benchmarks.cases.blind8_parts import case

SILENT = [*STUCK, "vanishing_gradient", "saturated_units", "params_not_trained"]


@case("A", ["loss_mismatch"], ("test_score", 1, 0.01), [*STUCK, "lr_too_low", "saturated_units",
      "vanishing_gradient"])  # fmt: skip
def lss_nll_softmax_waves(seed: int, fixed: bool) -> Any:
    """Give probabilities to NLLLoss in a classifier of waves."""
    d = data.waves(seed, n=700, T=32, k=5, noise=0.5)
    m = conv1d(5).append(nn.LogSoftmax(-1) if fixed else nn.Softmax(-1))
    return job(m, SGD(m.parameters(), 0.1, momentum=0.9), nn.NLLLoss(), d, batch=32, epochs=15, seed=seed)


@case("A", ["loss_mismatch"], ("test_score", 1, 0.01), [*STUCK, "lr_too_low", "saturated_units",
      "vanishing_gradient"])  # fmt: skip
def lss_double_softmax_cnn(seed: int, fixed: bool) -> Any:
    """Leave a softmax at the end of a CNN that is trained by CrossEntropyLoss."""
    d = data.digits(seed, n=800, image=True)
    m = nets.cnn(10, (8, 16))
    if not fixed:
        m.append(nn.Softmax(-1))
    return job(m, SGD(m.parameters(), 0.1, momentum=0.8), CE(), d, batch=32, epochs=12, seed=seed)


@case("A", [("loss_mismatch", "dead_units")], ("test_score", 1, 0.15), [*STUCK, "dead_units", "unscaled_targets",
      "vanishing_gradient"])  # fmt: skip
def lss_relu_series(seed: int, fixed: bool) -> Any:
    """End a forecaster in a ReLU where half of the values are negative."""
    d = data.series(seed, n=600, T=16)
    m = nets.mlp([16, 48, 48, 1], last=None if fixed else nn.ReLU())
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=25, epochs=20, seed=seed)


@case("A", ["loss_mismatch"], ("test_score", 1, 0.15), [*STUCK, "saturated_units", "unscaled_targets",
      "vanishing_gradient"])  # fmt: skip
def lss_sigmoid_regression(seed: int, fixed: bool) -> Any:
    """Keep the sigmoid of a classifier at the end of a regression on standardised targets."""
    d = data.friedman(seed, n=600, noise=0.5)
    m = nets.mlp([10, 48, 48, 1], "elu", last=None if fixed else nn.Sigmoid())
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case("A", ["loss_mismatch"], ("test_score", 1, 0.2), [*SILENT, "exploding_gradient"], "blatant")
def lss_softmax_one_unit_circles(seed: int, fixed: bool) -> Any:
    """Put a softmax on the only output of a net that tells two circles apart."""
    d = data.binary(data.circles(seed))
    m = nets.mlp([2, 24, 24, 1], "tanh", last=nn.Sigmoid() if fixed else nn.Softmax(1))
    return job(m, Adam(m.parameters(), 1e-2), nn.BCELoss(), d, batch=25, epochs=20, task="binary",
               metric=accuracy_prob, seed=seed)  # fmt: skip


@case("A", ["loss_mismatch"], ("test_score", 1, 0.2), [*SILENT, "converged_early"], "blatant")
def lss_cross_entropy_one_unit(seed: int, fixed: bool) -> Any:
    """Train a single output by CrossEntropyLoss on 0-1 targets: the loss is 0 whatever the output."""
    d = data.binary(data.hardclass(seed, n=400, d=20, inf=6, sep=1.5))
    m = nets.mlp([20, 48, 1])
    loss = nn.BCEWithLogitsLoss() if fixed else CE()
    return job(m, Adam(m.parameters(), 4e-3), loss, d, batch=32, epochs=15, task="binary", seed=seed)


@case(
    "A", ["loss_mismatch"], ("test_loss", -1, 0.5), [*STUCK, "batch_too_small", "overfitting", "mode_misuse"]
)
def lss_softmax_over_rows(seed: int, fixed: bool) -> Any:
    """Take the softmax of digit scores over the batch."""
    d = data.digits(seed, n=600)
    m = nets.mlp([64, 48, 10], last=nn.LogSoftmax(1 if fixed else 0))
    return job(m, Adam(m.parameters(), 3e-3), nn.NLLLoss(), d, batch=32, epochs=12, seed=seed)


@case(
    "A", ["loss_mismatch"], ("test_score", 1, 0.05), [*STUCK, "batch_too_small", "overfitting", "mode_misuse"]
)
def lss_softmax_over_time(seed: int, fixed: bool) -> Any:
    """Take the softmax of a language model's (B, T, V) scores over the steps."""
    d = data.chars(seed, n=500, T=20)
    m = nets.SeqNet("gru", 24, 48, d.k, every=True, vocab=d.k)
    m = nn.Sequential(m, nn.LogSoftmax(-1 if fixed else 1))

    def loss(out: Any, y: Any) -> Any:
        return nn.functional.nll_loss(out.flatten(0, 1), y.flatten())

    return job(m, Adam(m.parameters(), 5e-3), loss, d, batch=20, epochs=8, task="lm", seed=seed)
