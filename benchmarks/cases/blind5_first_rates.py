"""Fifth blind set, first author: rates, batch sizes and the cost of a step.

Every fault is proved by a twin that does clearly better (`python benchmarks/faultbench.py --blind5 A --prove`).
"""

from __future__ import annotations

import time
from typing import Any

from faultbench.lib import BCE, CE, MSE, SGD, STUCK, UNSTABLE, Adam, AdamW, data, job, nets, nn, optim, torch

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases.blind3_parts import Rows, cosine, loader
from benchmarks.cases.blind5_parts import COST, WALL, case

HIGH = [*UNSTABLE, "dead_units", "overfitting"]
SMALL = [*UNSTABLE, "lr_too_high", "dead_units", "launch_bound"]
SLOW = [*STUCK, "lr_too_low"]


def upright(d: Any) -> Any:
    """Turn (rows, 1, time) into (rows, time, 1) for a recurrence."""
    return sets.inputs(d, lambda v: v.transpose(1, 2).contiguous())


@case(["lr_too_high"], ("test_score", 1, 0.1), [*HIGH, "vanishing_gradient"])
def lrh_cnn_adam(seed: int, fixed: bool) -> Any:
    """Train a small CNN with Adam at 0.1, as if it were SGD."""
    d = data.shapes(seed, n=700, noise=0.3, k=6)
    m = nets.cnn(6, (12, 24, 24), hw=12)
    o = Adam(m.parameters(), 3e-3 if fixed else 0.1)
    return job(m, o, CE(), d, batch=32, epochs=14, seed=seed)


@case(["lr_too_high"], ("test_loss", -1, 0.1), [*HIGH, "label_noise"], "subtle")
def lrh_logistic_subtle(seed: int, fixed: bool) -> Any:
    """Let a logistic regression jump about its optimum: SGD at 2.5 where 0.05 does."""
    d = data.binary(data.hardclass(seed, n=600, d=20, inf=8, flip=0.05))
    m = nn.Linear(20, 1)
    o = SGD(m.parameters(), 0.05 if fixed else 2.5)
    return job(m, o, BCE(), d, batch=16, epochs=15, task="binary", seed=seed)


@case(["lr_too_high"], ("test_loss", -1, 0.3), [*HIGH, "saturated_units"])
def lrh_charlm_adam(seed: int, fixed: bool) -> Any:
    """Train a character GRU with Adam at 0.15."""
    d = data.chars(seed, n=1200, T=24)
    m = nets.SeqNet("gru", 24, 40, d.k, every=True, vocab=d.k)
    o = Adam(m.parameters(), 5e-3 if fixed else 0.15)
    return job(m, o, nets.lm_loss, d, batch=32, epochs=7, task="lm", seed=seed)


@case(["lr_too_high"], ("test_score", 1, 0.2), [*HIGH, "vanishing_gradient"], "blatant")
def lrh_wine_momentum(seed: int, fixed: bool) -> Any:
    """Use SGD at 2 with momentum 0.9 on a hundred wines."""
    d = data.wine(seed)
    m = nets.mlp([13, 32, 32, 3])
    o = SGD(m.parameters(), 0.01 if fixed else 2.0, momentum=0.9)
    return job(m, o, CE(), d, batch=16, epochs=20, seed=seed)


@case(["lr_too_low"], ("test_score", 1, 0.3), [*STUCK, "vanishing_gradient"], "blatant")
def lrl_cnn_sgd(seed: int, fixed: bool) -> Any:
    """Use SGD at 1e-4 without momentum, Adam's rate, on a CNN."""
    d = data.digits(seed, n=800, image=True)
    m = nets.cnn(10, (8, 16))
    o = SGD(m.parameters(), 0.1 if fixed else 1e-4)
    return job(m, o, CE(), d, batch=32, epochs=15, seed=seed)


@case(["lr_too_low"], ("test_score", 1, 0.1), [*STUCK])
def lrl_gru_waves(seed: int, fixed: bool) -> Any:
    """Train a GRU with Adam at 1e-4 for as long as 0.01 needs."""
    d = upright(data.waves(seed, n=500, T=24, k=4, noise=0.5))
    m = nets.SeqNet("gru", 1, 32, 4)
    o = Adam(m.parameters(), 1e-2 if fixed else 1e-4)
    s = cosine(o, 20)
    return job(m, o, CE(), d, batch=25, epochs=20, seed=seed, scheduler=s)


@case(["lr_too_low"], ("test_loss", -1, 0.3), [*STUCK])
def lrl_transformer_lm(seed: int, fixed: bool) -> Any:
    """Train a character transformer from scratch at a fine-tuning rate, 3e-5."""
    d = data.chars(seed, n=1200, T=24)
    m = nets.Transformer(d.k, 32, d.k, 24, layers=2, heads=4, lm=True)
    o = AdamW(m.parameters(), 3e-3 if fixed else 3e-5)
    return job(m, o, nets.lm_loss, d, batch=32, epochs=7, task="lm", seed=seed, clip=1.0)


@case(["lr_too_low"], ("test_score", 1, 0.03), [*STUCK], "subtle")
def lrl_friedman_rmsprop_subtle(seed: int, fixed: bool) -> Any:
    """Use RMSprop at 1e-4: it gets most of the way in the epochs given."""
    d = data.friedman(seed, n=600, noise=1.0)
    m = nets.mlp([10, 48, 48, 1], "tanh")
    o = optim.RMSprop(m.parameters(), 3e-3 if fixed else 1.5e-4)
    return job(m, o, MSE(), d, batch=32, epochs=35, seed=seed)


@case([("batch_too_small", "lr_too_high")], ("test_score", 1, 0.05), SMALL)
def bts_cnn_b1(seed: int, fixed: bool) -> Any:
    """Feed one image at a time to a CNN with momentum."""
    d = data.shapes(seed, n=500, noise=0.25, k=4)
    m = nets.cnn(4, (8, 16), hw=12)
    o = SGD(m.parameters(), 0.03, momentum=0.9)
    return job(m, o, CE(), d, batch=20 if fixed else 1, epochs=20 if fixed else 5, seed=seed)


@case([("batch_too_small", "lr_too_high")], ("test_loss", -1, 0.05), [*SMALL, "overfitting"], "subtle")
def bts_blobs_b2_subtle(seed: int, fixed: bool) -> Any:
    """Use pairs at 0.3 on blobs that overlap: the noise of the gradient keeps the loss up."""
    d = data.blobs(seed, k=4, n=600, std=3.2, dim=2)
    m = nets.mlp([2, 32, 4], "tanh")
    return job(
        m, SGD(m.parameters(), 0.3), CE(), d, batch=32 if fixed else 2, epochs=20 if fixed else 8, seed=seed
    )


@case([("batch_too_small", "lr_too_high")], ("test_score", 1, 0.03), [*SMALL, "overfitting"])
def bts_diabetes_adam_b1(seed: int, fixed: bool) -> Any:
    """Take every patient as a batch of its own, with Adam at 0.02."""
    d = data.diabetes(seed)
    m = nets.mlp([10, 16, 1])
    return job(m, Adam(m.parameters(), 0.02), MSE(), d, batch=32 if fixed else 1, epochs=6, seed=seed)


@case([("batch_too_large", "undertrained")], ("test_score", 1, 0.1), SLOW)
def btl_cnn_whole(seed: int, fixed: bool) -> Any:
    """Put all images into one batch "to use the GPU well": 15 steps in all."""
    d = data.digits(seed, n=800, image=True)
    m = nets.cnn(10, (8, 16))
    return job(m, SGD(m.parameters(), 0.1), CE(), d, batch=32 if fixed else 800, epochs=15, seed=seed)


@case([("batch_too_large", "undertrained")], ("test_score", 1, 0.1), SLOW)
def btl_topics_bag(seed: int, fixed: bool) -> Any:
    """Train word vectors with half of all texts in a batch."""
    d = data.topics(seed, n=700, V=200, T=20, mix=0.5)
    m = nets.BagOfWords(200, 24, 4, hidden=24)
    return job(m, Adam(m.parameters(), 4e-3), CE(), d, batch=16 if fixed else 350, epochs=8, seed=seed)


@case([("batch_too_large", "undertrained")], ("test_loss", -1, 0.1), SLOW, "subtle")
def btl_waves_subtle(seed: int, fixed: bool) -> Any:
    """Take 300 series a step in twelve epochs: it learns, far less than it could."""
    d = data.waves(seed, n=600, T=40, k=4, noise=0.6)
    m = nn.Sequential(
        nn.Conv1d(1, 16, 7, padding=3), nn.ReLU(), nn.Conv1d(16, 16, 7, padding=3), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, 4),
    )  # fmt: skip
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=20 if fixed else 300, epochs=12, seed=seed)


def doubled(m: Any, d: Any, targets: bool = False) -> Any:
    """Turn a network and its data into float64, as numpy's arrays are."""
    sets.inputs(d, lambda v: v.double())
    if targets:
        sets.targets(d, lambda v: v.double())
    return m.double()


@case(["wrong_dtype"], COST, ["launch_bound", "undertrained"])
def cmp_float64_cnn(seed: int, fixed: bool) -> Any:
    """Convolve in float64, since `torch.from_numpy` gave that and the model was made to match."""
    d = data.shapes(seed, n=500, noise=0.25, k=4)
    m = nets.cnn(4, (24, 48), hw=12)
    if not fixed:
        doubled(m, d)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=50, epochs=10, seed=seed)


@case(["wrong_dtype"], COST, ["launch_bound", "undertrained", "overfitting"])
def cmp_float64_regression(seed: int, fixed: bool) -> Any:
    """Regress in float64 after `set_default_dtype(float64)`."""
    d = data.friedman(seed, n=1200, noise=1.0)
    m = nets.mlp([10, 384, 384, 1])
    if not fixed:
        doubled(m, d, True)
    return job(m, Adam(m.parameters(), 1.5e-3), MSE(), d, batch=100, epochs=10, seed=seed)


@case(["input_bound"], WALL, ["launch_bound", "undertrained"])
def cmp_input_augment(seed: int, fixed: bool) -> Any:
    """Move and blur every image by Python loops over its pixels."""
    d = data.shapes(seed, n=300, noise=0.2, k=4)

    def blurred(image: Any) -> Any:
        a = image[0].tolist()
        near = [(0, 0, 0.8), (0, 1, 0.05), (1, 0, 0.05), (0, -1, 0.05), (-1, 0, 0.05)]
        rows = [
            [sum(w * a[(i + p) % 12][(j + q) % 12] for p, q, w in near) for j in range(12)] for i in range(12)
        ]
        return torch.tensor([rows])

    m = nets.cnn(4, (8, 16), hw=12)
    ld = None if fixed else loader(Rows(d.x, d.y, blurred), 30, seed)
    return job(m, Adam(m.parameters(), 6e-3), CE(), d, batch=30, epochs=14, seed=seed, loader=ld)


@case(["input_bound"], WALL, ["launch_bound", "undertrained"])
def cmp_input_sleep(seed: int, fixed: bool) -> Any:
    """Read every row from a slow drive (a sleep of a millisecond)."""
    d = data.cancer(seed)

    def read(row: Any) -> Any:
        time.sleep(0.001)
        return row

    m = nets.mlp([30, 32, 2])
    ld = None if fixed else loader(Rows(d.x, d.y, read), 32, seed)
    return job(m, Adam(m.parameters(), 6e-3), CE(), d, batch=32, epochs=6, seed=seed, loader=ld)


@case([("launch_bound", "batch_too_small")], COST, ["batch_too_small", "undertrained"])
def cmp_launch_resmlp_b4(seed: int, fixed: bool) -> Any:
    """Push four rows at a time through twelve residual blocks of eight units."""
    d = data.circles(seed, n=400)
    m = nets.resmlp(2, 8, 2, 12, scale=0.3)
    o = Adam(m.parameters(), 4e-3 if fixed else 1e-3)
    return job(m, o, CE(), d, batch=50 if fixed else 4, epochs=16 if fixed else 3, seed=seed)
