"""Eighth blind set, first half: rates and batches.

Every fault is proved by a twin that does clearly better (`python benchmarks/faultbench.py --blind8 A --prove`).
"""

from __future__ import annotations

from typing import Any

from faultbench.lib import CE, MSE, SGD, STUCK, UNSTABLE, Adam, AdamW, data, job, make_loop, nets, nn, optim

from benchmarks.cases.blind8_parts import case, over_time

LARGE = [*STUCK, "lr_too_low"]
SMALL = [*UNSTABLE, "lr_too_high", "dead_units", "launch_bound"]


@case("A", [("batch_too_large", "undertrained")], ("test_loss", -1, 0.2), LARGE)
def btl_transformer_lm(seed: int, fixed: bool) -> Any:
    """Feed a small transformer 500 lines of text as one batch."""
    d = data.chars(seed, n=500, T=16)
    m = nets.Transformer(d.k, 32, d.k, 16, layers=1, heads=4, lm=True)
    batch = 20 if fixed else 500
    return job(m, AdamW(m.parameters(), 3e-3), nets.lm_loss, d, batch=batch, epochs=12, task="lm", seed=seed)


@case("A", [("batch_too_large", "undertrained")], ("test_score", 1, 0.1), LARGE)
def btl_accumulate_epoch(seed: int, fixed: bool) -> Any:
    """Accumulate the gradient over all 25 batches of an epoch before each step."""
    d = data.friedman(seed, n=800, noise=0.5)
    m = nets.mlp([10, 48, 48, 1], "tanh")
    o = SGD(m.parameters(), 0.05, momentum=0.9)
    loop = None if fixed else make_loop(zero_every=25)
    return job(m, o, MSE(), d, batch=32, epochs=15, seed=seed, loop=loop)


@case("A", [("batch_too_small", "lr_too_high")], ("test_score", 1, 0.03), SMALL)
def bts_series_b1(seed: int, fixed: bool) -> Any:
    """Forecast a series by SGD on one window at a time, at the rate of batch 32."""
    d = data.series(seed, n=600, T=16)
    m = nets.mlp([16, 48, 1])
    batch, epochs = (32, 30) if fixed else (1, 5)
    return job(m, SGD(m.parameters(), 0.06), MSE(), d, batch=batch, epochs=epochs, seed=seed)


@case("A", [("batch_too_small", "lr_too_high")], ("test_score", 1, 0.03), SMALL)
def bts_cnn_out_of_memory(seed: int, fixed: bool) -> Any:
    """Cut the batch from 32 to 2 after an out-of-memory error and leave the rate and the momentum."""
    d = data.shapes(seed, n=500, noise=0.35, k=4)
    m = nets.cnn(4, (8, 16), hw=12)
    o = SGD(m.parameters(), 0.016, momentum=0.9)
    return job(m, o, CE(), d, batch=32 if fixed else 2, epochs=15 if fixed else 6, seed=seed)


@case("A", ["lr_too_high"], ("test_loss", -1, 0.1), [*UNSTABLE, "overfitting", "saturated_units"], "subtle")
def lrh_lstm_subtle(seed: int, fixed: bool) -> Any:
    """Train an LSTM on waves by Adam at 0.08, where 0.006 suits."""
    d = over_time(data.waves(seed, n=500, T=20, k=4, noise=0.7))
    m = nets.SeqNet("lstm", 1, 24, 4)
    return job(m, Adam(m.parameters(), 6e-3 if fixed else 0.08), CE(), d, batch=25, epochs=20, seed=seed)


@case("A", ["lr_too_high"], ("test_loss", -1, 0.1), [*UNSTABLE, "overfitting", "dead_units"], "subtle")
def lrh_cnn_momentum_subtle(seed: int, fixed: bool) -> Any:
    """Add momentum 0.9 to a CNN and leave the rate of plain SGD."""
    d = data.shapes(seed, n=600, noise=0.35, k=5)
    m = nets.cnn(5, (8, 16), hw=12)
    o = SGD(m.parameters(), 0.02 if fixed else 0.12, momentum=0.9)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed)


@case("A", ["lr_too_high"], ("test_score", 1, 0.05), [*UNSTABLE, "dead_units"])
def lrh_series_sgd(seed: int, fixed: bool) -> Any:
    """Forecast a series by SGD at 0.4."""
    d = data.series(seed, n=600, T=12)
    m = nets.mlp([12, 48, 48, 1])
    return job(m, SGD(m.parameters(), 0.02 if fixed else 0.4), MSE(), d, batch=16, epochs=20, seed=seed)


@case("A", ["lr_too_high"], ("test_score", 1, 0.05), [*UNSTABLE, "dead_units", "saturated_units"])
def lrh_adam_as_sgd(seed: int, fixed: bool) -> Any:
    """Keep the rate 0.15 of SGD when the optimizer becomes Adam."""
    d = data.friedman(seed, n=600, noise=0.5, d=8)
    m = nets.mlp([8, 64, 64, 64, 1])
    return job(m, Adam(m.parameters(), 3e-3 if fixed else 0.15), MSE(), d, batch=32, epochs=20, seed=seed)


@case("A", ["lr_too_low"], ("test_score", 1, 0.2), STUCK)
def lrl_softmax_regression(seed: int, fixed: bool) -> Any:
    """Fit softmax regression to digits by SGD at 0.001."""
    d = data.digits(seed)
    m = nn.Linear(64, 10)
    return job(m, SGD(m.parameters(), 0.1 if fixed else 1e-3), CE(), d, batch=32, epochs=20, seed=seed)


@case("A", ["lr_too_low"], ("test_score", 1, 0.2), STUCK)
def lrl_adagrad_rate_of_adam(seed: int, fixed: bool) -> Any:
    """Give Adagrad the rate that suited Adam, 0.002."""
    d = data.linreg(seed, n=400, d=12)
    m = nets.mlp([12, 64, 1])
    o = optim.Adagrad(m.parameters(), lr=0.03 if fixed else 2e-3)
    return job(m, o, MSE(), d, batch=32, epochs=20, seed=seed)


@case("A", ["lr_too_low"], ("test_loss", -1, 0.2), STUCK, "subtle")
def lrl_cnn_subtle(seed: int, fixed: bool) -> Any:
    """Train a CNN on digits by Adam at 3e-4 for ten epochs."""
    d = data.digits(seed, n=900, image=True)
    m = nets.cnn(10, (8, 16))
    return job(m, Adam(m.parameters(), 4e-3 if fixed else 3e-4), CE(), d, batch=32, epochs=10, seed=seed)


@case("A", ["lr_too_low"], ("test_loss", -1, 0.2), STUCK, "subtle")
def lrl_rate_over_batch(seed: int, fixed: bool) -> Any:
    """Divide the rate by the batch size though the loss is a mean already."""
    d = data.digits(seed)
    m = nets.mlp([64, 96, 10])
    return job(m, SGD(m.parameters(), 0.1 if fixed else 0.1 / 32), CE(), d, batch=32, epochs=12, seed=seed)
