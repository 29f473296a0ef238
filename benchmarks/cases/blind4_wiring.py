"""Fourth blind set: losses that do not fit, gradients and parameters that go astray, cost (see `blind4_rates.py`)."""

from __future__ import annotations

import time
from typing import Any

from faultbench.lib import (
    BCE,
    CE,
    MSE,
    SGD,
    STUCK,
    Adam,
    AdamW,
    F,
    data,
    job,
    nets,
    nn,
    np,
    torch,
)

from benchmarks.cases import blind3_sets
from benchmarks.cases import blind4_sets as sets
from benchmarks.cases.blind3_parts import Rows, hits, loader
from benchmarks.cases.blind4_parts import (
    COST,
    LOSS,
    ROUGH,
    SCORE,
    WALL,
    Both,
    Causal,
    Crossed,
    Experts,
    Neighbours,
    case,
    sliced,
)

FLAT = [*STUCK, "lr_too_low", "saturated_units", "vanishing_gradient"]
ADRIFT = [*ROUGH, "lr_too_high", "dead_units", "saturated_units", "undertrained", "overfitting"]


@case("A", ["loss_mismatch"], ("test_loss", -1, 0.2), FLAT)
def lss_softmax_of_graphs(seed: int, fixed: bool) -> Any:
    d = sets.graphs(seed, 600)
    m = nn.Sequential(Neighbours(), nn.Identity() if fixed else nn.Softmax(-1))
    return job(m, SGD(m.parameters(), 0.1, momentum=0.9), CE(), d, batch=25, epochs=10, seed=seed)


@case("A", ["loss_mismatch"], ("test_score", 1, 0.05), [*FLAT, "exploding_gradient", "lr_too_high"])
def lss_minus_one_for_no(seed: int, fixed: bool) -> Any:
    d = data.binary(data.circles(seed))
    if not fixed:
        sets.targets(d, lambda v: 2 * v - 1)
    m = nets.mlp([2, 32, 32, 1])

    def right(out: Any, y: Any) -> float:
        return float(((out > 0) == (y > 0.5)).float().mean())

    return job(
        m, Adam(m.parameters(), 1e-2), BCE(), d, batch=32, epochs=14, task="binary", metric=right, seed=seed
    )


@case("B", ["loss_mismatch"], ("test_score", 1, 0.1), [*STUCK, "shuffled_labels"])
def lss_traffic_flat_against_column(seed: int, fixed: bool) -> Any:
    d = sets.pendulum(seed, 600)
    sets.targets(d, lambda v: v[:, :1])
    m = nets.mlp([4, 48, 48, 1], "elu")

    def loss(out: Any, y: Any) -> Any:
        return (out - (y if fixed else y.squeeze(1))).abs().mean()

    return job(m, Adam(m.parameters(), 3e-3), loss, d, batch=30, epochs=45, seed=seed)


@case(
    "B",
    ["loss_mismatch"],
    ("test_score", 1, 0.2),
    [*ROUGH, "converged_early", "exploding_gradient"],
    "blatant",
)
def lss_cosine_with_the_wrong_sign(seed: int, fixed: bool) -> Any:
    d = sets.pendulum(seed, 600)
    m = nets.mlp([4, 48, 2])

    def loss(out: Any, y: Any) -> Any:
        value = F.cosine_similarity(out, y, dim=1).mean()
        return 1 - value if fixed else 1 + value

    def alike(out: Any, y: Any) -> float:
        return float(F.cosine_similarity(out, y, dim=1).mean())

    return job(m, Adam(m.parameters(), 3e-3), loss, d, batch=30, epochs=12, metric=alike, seed=seed)


@case("A", [("loss_mismatch", "lr_too_low")], ("test_score", 1, 0.1), [*FLAT, "lr_too_low"])
def lss_divided_by_the_batch_twice(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, 700, k=4, noise=0.25)
    m = nets.cnn(4, (12, 24), hw=12)

    def loss(out: Any, y: Any) -> Any:
        value = F.cross_entropy(out, y)
        return value if fixed else value / len(y)

    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), loss, d, batch=50, epochs=10, seed=seed)


@case("B", ["loss_mismatch"], ("test_score", 1, 0.05), FLAT)
def lss_view_in_place_of_permute(seed: int, fixed: bool) -> Any:
    d = sets.markov(seed, 500, vocab=12)
    m = Causal(12, 24)

    def loss(out: Any, y: Any) -> Any:
        # cross_entropy wants (rows, classes, places)
        logits = out.transpose(1, 2) if fixed else out.reshape(out.shape[0], out.shape[2], out.shape[1])
        return F.cross_entropy(logits, y)

    return job(m, Adam(m.parameters(), 5e-3), loss, d, batch=25, epochs=10, task="lm", seed=seed)


@case("A", ["loss_mismatch"], ("test_score", 1, 0.02), [*FLAT, "dead_units"])
def lss_relu_before_cross_entropy(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, 800)
    m = nets.mlp([64, 48, 48, 10], last=nn.Identity() if fixed else nn.ReLU())
    return job(m, SGD(m.parameters(), 0.1), CE(), d, batch=32, epochs=8, seed=seed)


@case("B", ["loss_mismatch"], ("test_loss", -1, 0.2), FLAT)
def lss_spirals_twice_squashed(seed: int, fixed: bool) -> Any:
    d = data.binary(data.spirals(seed, 600, k=2))
    m = nets.mlp([2, 48, 48, 1], last=nn.Identity() if fixed else nn.Sigmoid())
    return job(m, Adam(m.parameters(), 5e-3), BCE(), d, batch=32, epochs=15, task="binary", seed=seed,
               metric=(lambda o, y: hits(o, y)) if fixed else (lambda o, y: hits(o - 0.5, y)))  # fmt: skip


@case("A", ["missing_zero_grad"], ("test_score", 1, 0.05), ADRIFT)
def zgr_never_with_adagrad(seed: int, fixed: bool) -> Any:
    d = sets.ripple(seed, 700)
    m = nets.mlp([2, 48, 48, 1], "tanh")
    o = SGD(m.parameters(), 0.05, nesterov=True, momentum=0.8)
    return job(
        m, o, MSE(), d, batch=32, epochs=20, seed=seed, loop=sliced() if fixed else sliced(zero_every=10**9)
    )


@case("B", ["missing_zero_grad"], LOSS, ADRIFT, "subtle")
def zgr_every_tenth_step(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, 700, k=5, noise=0.3)
    m = nets.cnn(5, (12, 24), hw=12)
    o = SGD(m.parameters(), 0.04, momentum=0.9)
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed, loop=sliced(zero_every=1 if fixed else 10))


@case("A", ["params_not_trained"], SCORE, [*STUCK, "overfitting"])
def pnt_experts_in_a_list(seed: int, fixed: bool) -> Any:
    d = sets.mixture(seed, 900)
    m = Experts(10, 16, 6, hidden=not fixed)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=30, epochs=15, seed=seed)


@case("A", ["params_not_trained"], ("test_score", 1, 0.05), [*STUCK, "overfitting"], "subtle")
def pnt_only_names_with_weight(seed: int, fixed: bool) -> Any:
    d = sets.adding(seed, 800, 10)
    m = Both(2, 24, 1, kind=nn.GRU)
    if not fixed:
        for name, p in m.named_parameters():
            p.requires_grad_("rnn" not in name)
    chosen = [p for p in m.parameters() if p.requires_grad]
    return job(m, Adam(chosen, 5e-3), MSE(), d, batch=20, epochs=12, seed=seed)


class Fresh(nn.Module):
    """A middle layer that a helper function makes anew in each call."""

    def __init__(self, kept: bool) -> None:
        super().__init__()
        self.a, self.c = nn.Linear(64, 48), nn.Linear(48, 10)
        if kept:
            self.b = nn.Linear(48, 48)
        self.kept = kept

    def forward(self, x: Any) -> Any:
        middle = self.b if self.kept else nn.Linear(48, 48)
        return self.c(torch.relu(middle(torch.relu(self.a(x)))))


@case("B", ["params_not_trained"], SCORE, [*ROUGH, "undertrained", "overfitting"])
def pnt_layer_made_in_forward(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, 800)
    m = Fresh(fixed)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=10, seed=seed)


class Cut(nn.Module):
    """Convolutions whose features pass through numpy (`.data`) before the head."""

    def __init__(self, cut: bool) -> None:
        super().__init__()
        self.body, self.head = nets.cnn(5, (12, 24), hw=12)[:-1], nn.Linear(24 * 9, 5)
        self.cut = cut

    def forward(self, x: Any) -> Any:
        h = self.body(x)
        if self.cut:
            h = h.data
        return self.head(h)


@case("B", ["params_not_trained"], SCORE, [*STUCK, "overfitting"])
def pnt_features_through_data(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, 700, k=5, noise=0.25)
    m = Cut(not fixed)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case("A", ["input_bound"], WALL, ["launch_bound", "undertrained"])
def cmp_waits_for_a_disk(seed: int, fixed: bool) -> Any:
    d = data.waves(seed, 240, T=48, k=3, noise=0.2)

    def read(row: Any) -> Any:
        time.sleep(0.0015)
        return row

    m = nn.Sequential(nn.Conv1d(1, 12, 7, padding=3), nn.ReLU(), nn.Flatten(), nn.Linear(12 * 48, 3))
    ld = loader(Rows(d.x, d.y, None if fixed else read), 24, seed)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=24, epochs=6, seed=seed, loader=ld)


@case("B", ["input_bound"], WALL, ["launch_bound", "undertrained"])
def cmp_spectra_made_each_time(seed: int, fixed: bool) -> Any:
    d = data.waves(seed, 300, T=64, k=4, noise=0.4)
    kept = [v.squeeze(1).numpy() for v in (d.x, d.xv, d.xt)]

    def spectrum(row: Any) -> Any:
        steps = [np.abs(np.fft.rfft(row * np.hanning(64) * np.exp(-0.01 * s))) for s in range(40)]
        return torch.as_tensor(np.mean(steps, 0), dtype=torch.float32) / 8

    d.x, d.xv, d.xt = (torch.stack([spectrum(r) for r in v]) for v in kept)
    m = nets.mlp([33, 32, 4])
    ld = None if fixed else loader(Rows(kept[0], d.y, spectrum), 30, seed)
    return job(m, Adam(m.parameters(), 1e-2), CE(), d, batch=30, epochs=8, seed=seed, loader=ld)


class Loop(nn.Module):
    """A recurrence written cell by cell."""

    def __init__(self, whole: bool) -> None:
        super().__init__()
        self.cell, self.rnn, self.head = (
            nn.LSTMCell(2, 12),
            nn.LSTM(2, 12, batch_first=True),
            nn.Linear(12, 1),
        )
        self.whole = whole
        (self.cell if whole else self.rnn).requires_grad_(False)

    def forward(self, x: Any) -> Any:
        if self.whole:
            return self.head(self.rnn(x)[0][:, -1])
        state = None
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
        return self.head(state[0])


@case("A", [("launch_bound", "batch_too_small")], COST, ["batch_too_small", "undertrained", "underfitting", "lr_too_low",
      "params_not_trained"])  # fmt: skip
def cmp_two_codes_at_a_time(seed: int, fixed: bool) -> Any:
    d = sets.clicks(seed, 1500)
    m = Crossed(4, 8)
    o = Adam(m.parameters(), 2e-2 if fixed else 8e-3, foreach=False)
    return job(m, o, BCE(), d, batch=64 if fixed else 2, epochs=12 if fixed else 2, task="binary", seed=seed)


@case("B", [("launch_bound", "batch_too_small")], COST, ["batch_too_small", "undertrained", "underfitting"])
def cmp_graphs_one_by_one(seed: int, fixed: bool) -> Any:
    d = sets.graphs(seed, 400)
    m = Neighbours(8)
    o = AdamW(m.parameters(), 1e-2 if fixed else 1e-3, foreach=False)
    return job(m, o, CE(), d, batch=40 if fixed else 1, epochs=12 if fixed else 3, seed=seed)


@case("A", ["wrong_dtype"], COST, ["launch_bound", "undertrained"])
def cmp_double_recurrence(seed: int, fixed: bool) -> Any:
    d = blind3_sets.spoken(seed, 300, speakers=True)
    m = Both(16, 96, 6, kind=nn.GRU)
    if not fixed:
        m = m.double()
        sets.inputs(d, lambda v: v.double())
    return job(m, Adam(m.parameters(), 8e-3), CE(), d, batch=60, epochs=7, seed=seed)


@case("B", ["wrong_dtype"], COST, ["launch_bound", "undertrained", "overfitting"])
def cmp_double_for_a_surface(seed: int, fixed: bool) -> Any:
    d = sets.ripple(seed, 1500)
    m = nets.mlp([2, 256, 256, 1], "tanh")
    if not fixed:
        m = m.double()
        sets.targets(sets.inputs(d, lambda v: v.double()), lambda v: v.double())
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=150, epochs=10, seed=seed)


@case("B", ["loss_mismatch", "lr_too_high"], ("test_score", 1, 0.05), [*ROUGH, *FLAT, "dead_units"])
def mul_softmax_and_a_fast_rate(seed: int, fixed: bool) -> Any:
    d = data.shapes(seed, 700, k=4, noise=0.25)
    m = nn.Sequential(*nets.cnn(4, (12, 24), hw=12), nn.Identity() if fixed else nn.Softmax(1))
    return job(m, Adam(m.parameters(), 3e-3 if fixed else 0.2), CE(), d, batch=32, epochs=10, seed=seed)


@case("A", ["params_not_trained", "unscaled_inputs"], ("test_score", 1, 0.1), [*ROUGH, "saturated_units",
      "dead_units", "overfitting", "lr_too_low"])  # fmt: skip
def mul_raw_bytes_on_a_frozen_body(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, 800, image=True)
    m = nets.cnn(10, (8, 16))
    if not fixed:
        sets.inputs(d, lambda v: v * 300 + 400)
        for layer in list(m)[:-1]:
            layer.requires_grad_(False)
    o = Adam([p for p in m.parameters() if p.requires_grad], 3e-3)
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed)
