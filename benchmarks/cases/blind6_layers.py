"""Sixth blind set: batch norm, dead and saturated units, explosions, vanishing gradients and initial weights.

The faults are proved as those of `blind6_loss.py`.
"""

from __future__ import annotations

from typing import Any

from faultbench.core import TensorBatches
from faultbench.lib import (
    CE,
    MSE,
    SGD,
    STUCK,
    UNSTABLE,
    Adam,
    AdamW,
    F,
    data,
    job,
    make_loop,
    nets,
    nn,
    torch,
)

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases import blind4_sets as sets4
from benchmarks.cases import blind6_data as more
from benchmarks.cases.blind3_parts import Patches
from benchmarks.cases.blind6_parts import by_hand, case, conv1d, taken, taken_r2

NORM = [*UNSTABLE, "batch_too_small", "mode_misuse", "overfitting", "train_val_shift"]
DEAD = [*STUCK, "bad_init", "vanishing_gradient"]
BLOWN = [*UNSTABLE, "bad_init", "dead_units", "lr_too_high", "saturated_units"]
BORN = [*STUCK, "converged_early", "vanishing_gradient"]
FADED = [*STUCK, "saturated_units", "bad_init", "lr_too_low"]


@case([("batchnorm_misuse", "batch_too_small")], ("test_loss", -1, 0.1), [*NORM, "launch_bound"])
def bn_micro_batches_of_two(seed: int, fixed: bool) -> Any:
    """Gather gradients over eight micro-batches of two: the step is a full one, the statistics are of two rows."""
    d = more.chirps(seed, 320)
    m = conv1d(4, h=8, norm=True)
    loop = None if fixed else make_loop(zero_every=8)
    o = Adam(m.parameters(), 1e-2)
    return job(m, o, CE(), d, batch=16 if fixed else 2, epochs=8, seed=seed, loop=loop)


class Turns:
    """Batches of two sources in turn, each of one source alone."""

    def __init__(self, d: Any, seed: int) -> None:
        self.each = [TensorBatches(d.x[i::2], d.y[i::2], 32, True, seed + i) for i in (0, 1)]

    def __len__(self) -> int:
        return sum(map(len, self.each))

    def __iter__(self) -> Any:
        for pair in zip(*self.each, strict=True):
            yield from pair


@case([("batchnorm_misuse", "unshuffled_data")], ("val_loss", -1, 0.1), [*NORM, "unshuffled_data"])
def bn_two_cameras_in_turn(seed: int, fixed: bool) -> Any:
    """Take batches from a bright and a dark camera in turn: the running statistics fit neither of them."""
    d = data.digits(seed, n=800, image=True)
    for a in ("x", "xv", "xt"):
        v = getattr(d, a).clone()
        v[::2] = v[::2] * 2 + 2
        v[1::2] = v[1::2] * 0.3 - 1
        setattr(d, a, v)
    m = nets.cnn(10, (8, 16), "bn")
    turns = None if fixed else Turns(d, seed)
    return job(m, SGD(m.parameters(), 0.1), CE(), d, batch=32, epochs=10, seed=seed, loader=turns)


@case([("batchnorm_misuse", "batch_too_small")], ("val_loss", -1, 0.05), [*NORM, "unscaled_inputs"], "subtle")
def bn_slow_statistics(seed: int, fixed: bool) -> Any:
    """Take over momentum=0.01 from a long training: after 75 steps half of the start is still in the statistics."""
    d = more.strength(seed, 480)
    sets.targets(d, lambda v: (v - 37) / 15.6)
    m = nets.mlp([5, 48, 48, 1], norm="bn")
    for layer in m:
        if isinstance(layer, nn.BatchNorm1d):
            layer.momentum = 0.1 if fixed else 0.01
    return job(m, Adam(m.parameters(), 1e-2), MSE(), d, batch=32, epochs=5, seed=seed)


class Sparse(nn.Module):
    """An autoencoder of digits that keeps its last ReLU code at hand."""

    def __init__(self) -> None:
        super().__init__()
        self.enc, self.dec = nets.mlp([64, 48, 24], last=nn.ReLU()), nets.mlp([24, 48, 64])

    def forward(self, x: Any) -> Any:
        self.code = self.enc(x)
        return self.dec(self.code)


def sparse_code(job: Any, epoch: int, strength: float) -> Any:
    """Train an epoch of an autoencoder with a penalty on its code."""
    job.model.train()
    for x, y in job.train:
        out = job.model(x)
        loss = job.loss_fn(out, y)
        job.optimizer.zero_grad()
        (loss + strength * job.model.code.abs().mean()).backward()
        job.optimizer.step()
        yield loss, out, y


@case([("dead_units", "underfitting")], ("test_loss", -1, 0.1), [*DEAD, "converged_early"])
def dead_by_a_sparse_penalty(seed: int, fixed: bool) -> Any:
    """Weigh the L1 penalty on the ReLU code of an autoencoder a thousand times too strongly: the code is zero."""
    d = data.digits(seed, n=900)
    d.y, d.yv, d.yt, d.k = d.x, d.xv, d.xt, 0
    m = Sparse()
    loop = by_hand(lambda j, e: sparse_code(j, e, 1e-3 if fixed else 1.0))
    return job(m, Adam(m.parameters(), 4e-3), MSE(), d, batch=32, epochs=15, seed=seed, loop=loop)


@case([("dead_units", "bad_init")], ("test_loss", -1, 0.05), [*DEAD, "overfitting"], "subtle")
def dead_after_pruning(seed: int, fixed: bool) -> Any:
    """Prune nine filters in ten by zero weights and a bias below zero, and go on: their gradients are zero as well."""
    d = sets4.peaks(seed, 600)
    m = nn.Sequential(
        nn.Conv1d(1, 48, 7, padding=3), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(48, 24, 7, padding=3), nn.ReLU(),
        nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(24, 4),
    )  # fmt: skip
    with torch.no_grad():
        if not fixed:
            m[0].weight[4:] = 0
            m[0].bias[4:] = -1
            m[3].weight[4:] = 0
            m[3].bias[4:] = -1
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=10, seed=seed)


@case([("dead_units", "lr_too_high")], ("test_score", 1, 0.1), [*UNSTABLE, *DEAD, "lr_too_high"], "blatant")
def dead_by_momentum(seed: int, fixed: bool) -> Any:
    """Take SGD at 0.35 with momentum 0.9 for a deep ReLU net: after a few steps no unit fires."""
    d = sets4.mixture(seed, 700)
    m = nets.mlp([10, 64, 64, 64, 6])
    o = SGD(m.parameters(), 0.03 if fixed else 0.35, momentum=0.9)
    return job(m, o, CE(), d, batch=32, epochs=15, seed=seed)


@case([("exploding_gradient", "bad_init")], ("test_score", 1, 0.2), BLOWN, "blatant")
def exp_autoencoder_wide_start(seed: int, fixed: bool) -> Any:
    """Draw all weights of an autoencoder from N(0, 0.5): six layers make the outputs thousands."""
    d = data.digits(seed, n=900)
    d.y, d.yv, d.yt, d.k = d.x, d.xv, d.xt, 0
    m = nets.mlp([64, 64, 32, 16, 32, 64, 64])
    if fixed:
        nets.he_(m)
    else:
        nets.normal_(m, 0.5)
    return job(m, SGD(m.parameters(), 0.03, momentum=0.9), MSE(), d, batch=32, epochs=15, seed=seed)


class Flow(nn.Module):
    """A state moved by a learned field in twenty small steps of time `dt`."""

    def __init__(self, d: int, h: int, dt: float) -> None:
        super().__init__()
        self.inp, self.field, self.out, self.dt = nn.Linear(d, h), nets.mlp([h, h, h]), nn.Linear(h, 1), dt

    def forward(self, x: Any) -> Any:
        h = self.inp(x)
        for _ in range(20):
            h = h + self.dt * self.field(h)
        return self.out(h)


@case(["exploding_gradient"], ("test_score", 1, 0.1), [*BLOWN, "unscaled_targets"])
def exp_steps_of_time(seed: int, fixed: bool) -> Any:
    """Integrate a neural ODE in twenty steps of 1.0 in place of 0.05: the state grows by a factor at each."""
    d = more.returns(seed, 500)
    m = Flow(4, 24, 0.05 if fixed else 1.0)
    with torch.no_grad():
        for layer in (m.field[0], m.field[2]):
            layer.weight.mul_(1.7)
    return job(m, SGD(m.parameters(), 0.05), MSE(), d, batch=50, epochs=20, seed=seed)


class Divided(nn.Module):
    """Divide each row by its own spread, without anything added to it."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Any) -> Any:
        return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + self.eps)


@case([("exploding_gradient", "bad_features")], ("test_score", 1, 0.3), [*BLOWN, "unscaled_inputs", "bad_features"],
      "blatant")  # fmt: skip
def exp_norm_without_eps(seed: int, fixed: bool) -> Any:
    """Norm each image by its spread, without eps; one in a hundred is blank, and the loss is NaN from there on."""
    d = data.digits(seed, n=800)
    g = torch.Generator().manual_seed(seed + 11)
    blank = torch.rand(len(d.x), generator=g) < 0.01
    d.x[blank] = d.x.min()
    m = nn.Sequential(Divided(1e-3 if fixed else 0.0), *nets.mlp([64, 48, 48, 10]))
    return job(m, SGD(m.parameters(), 0.1), CE(), d, batch=32, epochs=15, seed=seed)


@case(["bad_init"], ("test_score", 1, 0.1), [*BORN, "exploding_gradient", "oscillation", "dead_units",
      "saturated_units", "lr_too_high"])  # fmt: skip
def ini_rand_not_randn(seed: int, fixed: bool) -> Any:
    """Write torch.rand for torch.randn: all weights are positive, all units say the same."""
    d = data.digits(seed, n=900)
    m = nets.mlp([64, 64, 64, 10])
    with torch.no_grad():
        for layer in m:
            if isinstance(layer, nn.Linear):
                draw = torch.randn if fixed else torch.rand
                layer.weight.copy_(draw(layer.weight.shape) * (2 / layer.in_features) ** 0.5)
    return job(m, SGD(m.parameters(), 0.02), CE(), d, batch=32, epochs=15, seed=seed)


class Adapted(nn.Module):
    """A frozen layer and a low-rank change of it, `b @ a`."""

    def __init__(self, layer: Any, rank: int, zero: bool) -> None:
        super().__init__()
        self.layer = layer
        self.a = nn.Parameter(
            torch.zeros(rank, layer.in_features) if zero else torch.randn(rank, layer.in_features) / 8
        )
        self.b = nn.Parameter(torch.zeros(layer.out_features, rank))
        for p in layer.parameters():
            p.requires_grad_(False)

    def forward(self, x: Any) -> Any:
        return self.layer(x) + x @ self.a.T @ self.b.T


@case([("bad_init", "params_not_trained")], ("test_score", 1, 0.05), [*BORN, "params_not_trained"])
def ini_both_factors_zero(seed: int, fixed: bool) -> Any:
    """Start both factors of low-rank adapters at zero: neither of them gets a gradient."""
    d = data.digits(seed, n=1000)
    m = nets.mlp([64, 64, 64, 10])
    o = Adam(m.parameters(), 3e-3)
    low = d.y < 5
    for _ in range(3):  # what was there before
        for x, y in TensorBatches(d.x[low], d.y[low], 32, True, seed):
            o.zero_grad()
            F.cross_entropy(m(x), y).backward()
            o.step()
    m = nn.Sequential(*[Adapted(v, 6, not fixed) if isinstance(v, nn.Linear) else v for v in m])
    o = Adam([p for p in m.parameters() if p.requires_grad], 1e-2)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed)


@case(["bad_init"], ("test_loss", -1, 0.05), [*BORN, "lr_too_low", "class_imbalance", "exploding_gradient",
      "undertrained"])  # fmt: skip
def ini_counts_as_bias(seed: int, fixed: bool) -> Any:
    """Start the last bias at the counts of the classes in place of their logarithms: the first answers are sure."""
    d = more.photos(seed, 500)
    m = nets.cnn(5, (8, 16), hw=20, cin=3)
    count = torch.bincount(d.y, minlength=5).float()
    with torch.no_grad():
        m[-1].bias.copy_((count / len(d.y)).log() if fixed else count)
    return job(m, SGD(m.parameters(), 0.01, momentum=0.9), CE(), d, batch=32, epochs=10, seed=seed)


@case([("saturated_units", "bad_init")], ("test_score", 1, 0.05), [*STUCK, "bad_init", "vanishing_gradient",
      "lr_too_low"])  # fmt: skip
def sat_actor_head(seed: int, fixed: bool) -> Any:
    """Start the last layer of an actor at fifty times its size: nearly all its tanh outputs are -1 or 1."""
    d = sets.arm(seed, 600)
    sets.targets(d, lambda v: v / 3)
    m = nets.mlp([6, 48, 48, 2], last=nn.Tanh())
    if not fixed:
        m[-2].weight.data.mul_(50.0)
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=20, seed=seed)


class Squashed(nn.Module):
    """Word vectors through tanh, averaged."""

    def __init__(self, vocab: int, d: int, k: int, std: float) -> None:
        super().__init__()
        self.emb, self.mix, self.head = nn.Embedding(vocab, d), nn.Linear(d, d), nn.Linear(d, k)
        nn.init.normal_(self.emb.weight, 0, std)

    def forward(self, x: Any) -> Any:
        return self.head(torch.tanh(self.mix(torch.tanh(self.emb(x)))).mean(1))


@case([("saturated_units", "bad_init")], ("test_loss", -1, 0.05), [*STUCK, "bad_init", "vanishing_gradient",
      "overfitting", "params_not_trained", "lr_too_low"], "subtle")  # fmt: skip
def sat_loud_words(seed: int, fixed: bool) -> Any:
    """Draw word vectors from N(0, 20) before a tanh: they are signs, and stay what they are."""
    d = data.topics(seed, n=700, V=200, T=20, mix=0.6)
    m = Squashed(200, 16, 4, 0.3 if fixed else 20.0)
    return job(m, SGD(m.parameters(), 0.5, momentum=0.9), CE(), d, batch=32, epochs=14, seed=seed)


@case(["vanishing_gradient"], ("test_score", 1, 0.2), [*FADED, "dead_units"], "blatant")
def van_sigmoid_autoencoder(seed: int, fixed: bool) -> Any:
    """Build an autoencoder of eight sigmoid layers: it answers with the mean image."""
    d = data.digits(seed, n=800)
    d.y, d.yv, d.yt, d.k = d.x, d.xv, d.xt, 0
    m = nets.mlp([64, 48, 32, 24, 16, 24, 32, 48, 64], "relu" if fixed else "sigmoid")
    if fixed:
        nets.he_(m)
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case(["vanishing_gradient"], ("test_score", 1, 0.1), [*FADED, "dead_units", "bad_init"])
def van_skips_forgotten(seed: int, fixed: bool) -> Any:
    """Write `x = self.block(x)` for `x = x + self.block(x)`, twelve times."""
    d = sets4.mixture(seed, 800)
    m = nets.resmlp(10, 32, 6, 12, norm=False, scale=0.3)
    if not fixed:
        layers = [v for b in m[1:13] for v in (b.a, nn.ReLU(), b.b)]
        m = nn.Sequential(m[0], *layers, nn.Identity(), m[-1])
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=12, seed=seed)


@case(["vanishing_gradient"], ("test_loss", -1, 0.05), FADED, "subtle")
def van_tanh_rnn_on_sounds(seed: int, fixed: bool) -> Any:
    """Read the last state of a tanh RNN with a halved recurrence: only the end of the word counts."""
    d = sets.spoken(seed, 700)
    m = nets.SeqNet("rnn", 16, 48, 10)
    with torch.no_grad():
        m.rnn.weight_hh_l0.copy_(torch.eye(48) * 0.95 if fixed else m.rnn.weight_hh_l0 * 0.5)
    return job(m, SGD(m.parameters(), 0.03, momentum=0.9), CE(), d, batch=32, epochs=20, seed=seed, clip=1.0)


@case([("bad_init", "vanishing_gradient")], ("test_score", 1, 0.05), [*BORN, "lr_too_low", "undertrained"])
def ini_faint_patches(seed: int, fixed: bool) -> Any:
    """Draw all matrices of a transformer of width 24 from N(0, 0.005), a fixed number for one of width 768."""
    d = sets.spoken(seed, 600)
    m = Patches(16, 24, 10, 20, layers=1)
    if not fixed:
        nets.normal_(m, 0.005)
        m.pos.data.mul_(0.01)
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=10, seed=seed)


@case([("dead_units", "bad_init")], ("test_score", 1, 0.05), [*DEAD, "lr_too_low"])
def dead_value_network(seed: int, fixed: bool) -> Any:
    """Restore biases of -4 into the hidden layers of a value network, from one of other inputs."""
    d = more.bandit(seed)
    m = nets.mlp([6, 64, 64, 4])
    if not fixed:
        m[0].bias.data.fill_(-4.0)
        m[2].bias.data[8:] = -4.0
    return job(m, AdamW(m.parameters(), 2e-3), taken, d, batch=32, epochs=20, metric=taken_r2, seed=seed)
