"""Eighth blind set, first half: healthy trainings, one beside each of dev's.

Each survives the standard remedies (`python benchmarks/faultbench.py --blind8 A --prove`).
"""

from __future__ import annotations

from typing import Any

from faultbench.lib import (
    BCE,
    CE,
    MSE,
    SGD,
    Adam,
    AdamW,
    F,
    TensorBatches,
    data,
    job,
    make_loop,
    nets,
    nn,
    np,
    optim,
    torch,
)

from benchmarks.cases.blind7_parts import conv1d, cosine
from benchmarks.cases.blind8_parts import case


def sound(maker: Any) -> Any:
    return case("A", [])(maker)


@sound
def ok_autoencoder_cells(seed: int, fixed: bool) -> Any:
    """Code the thirty columns of cancer cells by eight numbers."""
    d = data.cancer(seed, n=400, nv=80)
    d.y, d.yv, d.yt, d.k = d.x, d.xv, d.xt, 0
    m = nets.mlp([30, 32, 8, 32, 30], "elu")
    o = Adam(m.parameters(), 4e-3)
    return job(m, o, MSE(), d, batch=32, epochs=50, seed=seed, scheduler=cosine(o, 50))


@sound
def ok_waves_perfect(seed: int, fixed: bool) -> Any:
    """Tell two clear frequencies apart: all are right after a few epochs."""
    d = data.waves(seed, n=400, T=24, k=2, noise=0.2)
    m = conv1d(2, 8)
    return job(m, Adam(m.parameters(), 1e-2), CE(), d, batch=25, epochs=12, seed=seed)


@sound
def ok_charlm_transformer(seed: int, fixed: bool) -> Any:
    """Model characters of English by a small causal transformer."""
    d = data.chars(seed, n=1200, T=24)
    m = nets.Transformer(d.k, 32, d.k, 24, layers=1, heads=4, lm=True)
    o = AdamW(m.parameters(), 1e-2, weight_decay=0.05)
    return job(
        m, o, nets.lm_loss, d, batch=32, epochs=8, task="lm", seed=seed, clip=1.0, scheduler=cosine(o, 8)
    )


@sound
def ok_dropout_cnn(seed: int, fixed: bool) -> Any:
    """Train a CNN with dropout 0.5 before its head: training looks worse than validation."""
    d = data.digits(seed, image=True)
    m = nets.cnn(10, (16, 32), drop=0.5)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=14, seed=seed)


class Tuned(nn.Module):
    """A pre-trained body whose norms stay in eval mode once `frozen` is set, and a new head."""

    def __init__(self, body: Any, width: int, k: int) -> None:
        super().__init__()
        self.body, self.head, self.frozen = body, nn.Linear(width, k), False

    def forward(self, x: Any) -> Any:
        return self.head(self.body(x))

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        for layer in self.body.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and self.frozen:
                layer.eval()
        return self


def pretrained(m: Any, d: Any, kept: Any, seed: int, epochs: int = 6) -> None:
    """Train a network on the classes of `kept`, as its first task."""
    rows = torch.isin(d.y, torch.tensor(kept))
    labels = torch.searchsorted(torch.tensor(kept), d.y[rows])
    o = Adam(m.parameters(), 3e-3)
    for _ in range(epochs):
        for x, y in TensorBatches(d.x[rows], labels, 32, True, seed):
            o.zero_grad()
            F.cross_entropy(m(x), y).backward()
            o.step()


def left(d: Any, kept: Any) -> Any:
    """Keep the rows of the classes of `kept`, as the second task."""
    for x, y in (("x", "y"), ("xv", "yv"), ("xt", "yt")):
        rows = torch.isin(getattr(d, y), torch.tensor(kept))
        setattr(d, x, getattr(d, x)[rows])
        setattr(d, y, torch.searchsorted(torch.tensor(kept), getattr(d, y)[rows]))
    d.k = len(kept)
    return d


@sound
def ok_finetune_shapes_bn_eval(seed: int, fixed: bool) -> Any:
    """Tune a CNN that knows three shapes to three others, its norms in eval mode, its body at a lower rate."""
    d = data.shapes(seed, n=1400, noise=0.2, k=6)
    m = Tuned(nn.Sequential(*list(nets.cnn(6, (12, 24), norm="bn", hw=12))[:-1]), 216, 3)
    pretrained(m, d, [0, 1, 2], seed, 4)
    d = left(d, [3, 4, 5])
    m.frozen = True
    nn.init.xavier_uniform_(m.head.weight)
    o = Adam([{"params": m.body.parameters(), "lr": 1e-3}, {"params": m.head.parameters(), "lr": 5e-3}])
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed)


@sound
def ok_series(seed: int, fixed: bool) -> Any:
    """Forecast a series of about unit scale by a small net."""
    d = data.series(seed, n=900, T=12)
    m = nets.mlp([12, 32, 1], "elu")
    o = AdamW(m.parameters(), 3e-3, weight_decay=0.01)
    return job(m, o, MSE(), d, batch=32, epochs=25, seed=seed, scheduler=cosine(o, 25))


@sound
def ok_frozen_dense_body(seed: int, fixed: bool) -> Any:
    """Freeze a dense body that was trained on the even digits; a head learns the odd ones."""
    d = data.digits(seed, n=1100)
    body = nets.mlp([64, 256, 128])
    first = nn.Sequential(body, nn.ReLU(), nn.Linear(128, 5))
    pretrained(first, d, [0, 2, 4, 6, 8], seed, 4)
    d = left(d, [1, 3, 5, 7, 9])
    m = nn.Sequential(body, nn.ReLU(), nn.Linear(128, 5))
    body.requires_grad_(False)
    o = Adam(m[-1].parameters(), 3e-2)
    return job(m, o, CE(), d, batch=16, epochs=24, seed=seed, scheduler=cosine(o, 24))


@sound
def ok_frozen_vectors_gru(seed: int, fixed: bool) -> Any:
    """Read texts of fixed word vectors by a GRU."""
    d = data.topics(seed, n=700, V=150, T=16, k=3, mix=0.3)
    word = np.random.default_rng(23).dirichlet(np.full(150, 0.08), 3)
    vectors = np.log(word.T + 1e-3)
    vectors = (vectors - vectors.mean(0)) / vectors.std(0) @ np.random.default_rng(1).normal(0, 0.5, (3, 16))
    m = nets.SeqNet("gru", 16, 24, 3, vocab=150)
    m.emb = nn.Embedding.from_pretrained(torch.tensor(vectors, dtype=torch.float32), freeze=True)
    o = Adam([p for p in m.parameters() if p.requires_grad], 5e-3)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed, clip=1.0)


@sound
def ok_accumulate_regression(seed: int, fixed: bool) -> Any:
    """Step after every fifth batch of eight rows, on purpose."""
    d = data.friedman(seed, n=800, noise=0.5)
    m = nets.mlp([10, 64, 64, 1])
    o = Adam(m.parameters(), 5e-3)
    loop = make_loop(zero_every=5)
    return job(m, o, MSE(), d, batch=8, epochs=20, seed=seed, loop=loop, scheduler=cosine(o, 20))


@sound
def ok_imbalance_binary(seed: int, fixed: bool) -> Any:
    """Find one clear positive in twenty by one logit, without weights."""
    d = data.binary(data.imbalance(data.blobs(seed, k=2, n=2400, std=1.2, dim=6), {0: 760, 1: 40}, seed))
    m = nets.mlp([6, 24, 1], "tanh")
    return job(m, Adam(m.parameters(), 5e-3), BCE(), d, batch=32, epochs=14, task="binary", seed=seed)


@sound
def ok_label_smoothing_cnn(seed: int, fixed: bool) -> Any:
    """Smooth the labels of digits by 0.15 in a CNN."""
    d = data.digits(seed, image=True)
    m = nets.cnn(10, (12, 24))
    return job(m, Adam(m.parameters(), 3e-3), CE(label_smoothing=0.15), d, batch=32, epochs=12, seed=seed)


@sound
def ok_cnn_digits(seed: int, fixed: bool) -> Any:
    """Train a plain CNN on digits by SGD with momentum."""
    d = data.digits(seed, image=True)
    m = nets.cnn(10, (8, 16))
    return job(m, SGD(m.parameters(), 0.03, momentum=0.9), CE(), d, batch=32, epochs=14, seed=seed)


@sound
def ok_circles(seed: int, fixed: bool) -> Any:
    """Tell two noisy circles apart."""
    d = data.binary(data.circles(seed, n=600, noise=0.1, factor=0.5))
    m = nets.mlp([2, 32, 32, 1])
    return job(m, Adam(m.parameters(), 5e-3), BCE(), d, batch=32, epochs=20, task="binary", seed=seed)


@sound
def ok_rnn_tanh_token(seed: int, fixed: bool) -> Any:
    """Remember the first token for six steps in a plain tanh RNN."""
    d = data.first_token(seed, n=700, T=6, k=4, noise=0.5)
    m = nets.SeqNet("rnn", 4, 32, 4)
    o = Adam(m.parameters(), 5e-3)
    return job(
        m,
        o,
        CE(),
        d,
        batch=32,
        epochs=14,
        seed=seed,
        clip=1.0,
        scheduler=optim.lr_scheduler.StepLR(o, 5, 0.4),
    )


@sound
def ok_sparse_relu_deep(seed: int, fixed: bool) -> Any:
    """Start a ReLU layer so that every unit fires on one row in eight."""
    d = data.digits(seed)
    m = nets.he_(nets.mlp([64, 192, 64, 10]))
    with torch.no_grad():
        m[0].bias.copy_(-torch.quantile(d.x @ m[0].weight.T, 0.87, dim=0))
    return job(m, Adam(m.parameters(), 1e-3), CE(), d, batch=32, epochs=14, seed=seed)
