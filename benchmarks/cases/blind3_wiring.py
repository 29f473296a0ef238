"""Third blind set: losses that do not fit, gradients and parameters that go astray, cost (see `blind3_rates.py`)."""

from __future__ import annotations

import io
import time
import warnings
import zlib
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
    accuracy_round,
    job,
    make_loop,
    nets,
    nn,
    np,
    optim,
    torch,
)

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases.blind3_parts import (
    ROUGH,
    Bag,
    Factors,
    Looks,
    Named,
    Patches,
    Pool,
    Ranker,
    Rows,
    Seq,
    case,
    centre,
    hits,
    loader,
    pixels,
    resnet,
    spread,
    written,
)

FLAT = [*STUCK, "lr_too_low", "saturated_units", "vanishing_gradient"]


@case("A", ["loss_mismatch"], ("test_loss", -1, 0.3), FLAT)
def lss_softmax_twice_patches(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 600)
    m = nn.Sequential(Patches(16, 32, 10, 20, layers=1), nn.Identity() if fixed else nn.Softmax(1))
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case("A", ["loss_mismatch"], ("test_score", 1, 0.02), FLAT)
def lss_softmax_over_tags(seed: int, fixed: bool) -> Any:
    d = sets.tags(seed, 700)
    m = nets.mlp([24, 64, 8], last=nn.Sigmoid() if fixed else nn.Softmax(1))
    return job(m, Adam(m.parameters(), 3e-3), nn.BCELoss(), d, batch=32, epochs=15, task="binary",
               metric=lambda out, y: hits(out - 0.5, y), seed=seed)  # fmt: skip


@case("A", ["loss_mismatch"], ("test_score", 1, 0.3), [*STUCK, "converged_early"])
def lss_column_against_row(seed: int, fixed: bool) -> Any:
    d = sets.scaled(sets.table(seed, "california_housing", 700), True)
    m = nets.mlp([8, 48, 48, 1])

    def loss(out: Any, y: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return F.l1_loss(out, y if fixed else y[:, 0])

    return job(m, Adam(m.parameters(), 2e-3), loss, d, batch=32, epochs=15, seed=seed)


@case("A", ["loss_mismatch"], ("test_score", 1, 0.1), [*FLAT, "unscaled_targets", "dead_units"])
def lss_sigmoid_for_torques(seed: int, fixed: bool) -> Any:
    d = sets.arm(seed)
    m = nets.mlp([6, 48, 48, 2], last=None if fixed else nn.Sigmoid())
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case("B", ["loss_mismatch"], ("test_score", 1, 0.3), [*ROUGH, "shuffled_labels", "exploding_gradient"])
def lss_rank_sign(seed: int, fixed: bool) -> Any:
    d = sets.duels(seed)
    m = Ranker(8)

    def loss(out: Any, y: Any) -> Any:
        wanted = 2 * y - 1
        return F.softplus((-1 if fixed else 1) * wanted * out).mean()

    return job(m, Adam(m.parameters(), 2e-3), loss, d, batch=32, epochs=12, task="binary", seed=seed)


@case("B", ["loss_mismatch"], ("test_score", 1, 0.1), [*STUCK, "converged_early", "overfitting"])
def lss_class_as_number(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 800, flat=True)
    m = nets.mlp([196, 64, 10 if fixed else 1])

    def near(out: Any, y: Any) -> Any:
        return F.mse_loss(out[:, 0], y.float())

    o = Adam(m.parameters(), 2e-3)
    if fixed:
        return job(m, o, CE(), d, batch=32, epochs=12, seed=seed)
    return job(m, o, near, d, batch=32, epochs=12, metric=accuracy_round, seed=seed)


@case("B", [("loss_mismatch", "lr_too_high")], ("test_score", 1, 0.05), [*ROUGH, "lr_too_high", "dead_units",
      "exploding_gradient"])  # fmt: skip
def lss_summed_squares(seed: int, fixed: bool) -> Any:
    d = sets.heaps(seed, 600)
    m = Pool()
    o = SGD(m.parameters(), 0.01)
    return job(
        m,
        o,
        nn.MSELoss(reduction="mean" if fixed else "sum"),
        d,
        batch=64,
        epochs=60 if fixed else 20,
        seed=seed,
    )


@case("B", ["loss_mismatch"], ("test_score", 1, 0.1), FLAT)
def lss_divergence_of_chances(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 700, flat=True)
    m = nets.mlp([320, 48, 10])

    def loss(out: Any, y: Any) -> Any:
        wanted = F.one_hot(y, 10).float() * 0.9 + 0.01
        return F.kl_div(F.log_softmax(out, 1) if fixed else F.softmax(out, 1), wanted, reduction="batchmean")

    return job(m, SGD(m.parameters(), 0.03, momentum=0.5), loss, d, batch=32, epochs=8, seed=seed)


ADRIFT = [*ROUGH, "lr_too_high", "dead_units", "saturated_units", "undertrained", "overfitting"]


@case("A", ["missing_zero_grad"], ("test_score", 1, 0.1), ADRIFT)
def zgr_arm_momentum(seed: int, fixed: bool) -> Any:
    d = sets.arm(seed)
    m = nets.mlp([6, 48, 48, 2], "tanh")
    o = SGD(m.parameters(), 0.03, momentum=0.5)
    return job(
        m, o, MSE(), d, batch=32, epochs=15, seed=seed, loop=None if fixed else make_loop(zero_grad=False)
    )


@case("A", ["missing_zero_grad"], ("test_loss", -1, 0.05), ADRIFT, "subtle")
def zgr_once_an_epoch(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 700)
    m = Seq(16, 32, 10)
    o = Adam(m.parameters(), 4e-3)
    loop = written(zero="step" if fixed else "epoch")
    return job(m, o, CE(), d, batch=32, epochs=9, seed=seed, loop=loop)


@case("B", ["missing_zero_grad"], ("test_loss", -1, 0.05), ADRIFT)
def zgr_letters_adamw(seed: int, fixed: bool) -> Any:
    d = sets.letters(seed, 500)
    m = nets.SeqNet("gru", 16, 48, 27, every=True, vocab=27)
    o = AdamW(m.parameters(), 5e-3)
    loop = None if fixed else make_loop(zero_grad=False)
    return job(m, o, nets.lm_loss, d, batch=20, epochs=7, task="lm", seed=seed, loop=loop)


@case("B", ["missing_zero_grad"], ("test_score", 1, 0.05), ADRIFT)
def zgr_in_the_closure(seed: int, fixed: bool) -> Any:
    d = sets.ratings(seed, 2500)
    m = Factors()
    o = optim.RMSprop(m.parameters(), 5e-3)
    loop = written(closure=True, zero="step" if fixed else "never")
    return job(m, o, MSE(), d, batch=64, epochs=20 if fixed else 10, seed=seed, loop=loop)


@case("A", ["params_not_trained"], ("test_score", 1, 0.05), [*STUCK, "overfitting", "lr_too_low"])
def pnt_optimizer_before_the_new_head(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 600)
    m = resnet(4, 10, blocks=1)
    old = list(m.parameters())
    m[-1] = nn.Linear(10, 10)
    m[0] = nn.Conv2d(1, 10, 3, stride=2, padding=1)
    o = Adam(m.parameters() if fixed else old, 4e-3)
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed)


class Inner(nn.Module):
    """An encoder run under no_grad, as in evaluation, and a head."""

    def __init__(self, encoder: Any, head: Any, learn: bool) -> None:
        super().__init__()
        self.encoder, self.head, self.learn = encoder, head, learn

    def forward(self, x: Any) -> Any:
        with torch.set_grad_enabled(self.learn and torch.is_grad_enabled()):
            h = self.encoder(x)
        return self.head(h)


@case("A", ["params_not_trained"], ("test_score", 1, 0.05), [*STUCK, "overfitting"], "subtle")
def pnt_encoder_without_gradient(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 600)
    m = Inner(Seq(16, 24, 24), nets.mlp([24, 24, 10]), fixed)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=22 if fixed else 10, seed=seed)


@case("B", ["params_not_trained"], ("test_score", 1, 0.1), [*STUCK, "overfitting", "underfitting"])
def pnt_frozen_word_table(seed: int, fixed: bool) -> Any:
    d = sets.news(seed, 1500)
    m = Bag(2000, 12, 4)
    m.bag.weight.requires_grad_(fixed)
    return job(
        m, Adam((p for p in m.parameters() if p.requires_grad), 5e-3), CE(), d, batch=32, epochs=8, seed=seed
    )


@case("B", ["params_not_trained"], ("test_score", 1, 0.1), [*STUCK, "overfitting", "lr_too_low"])
def pnt_other_copy_of_the_net(seed: int, fixed: bool) -> Any:
    d = sets.arm(seed)
    m = nets.mlp([6, 48, 48, 2])
    if not fixed:
        for layer in (m[0], m[2]):
            layer.weight = nn.Parameter(layer.weight.data.clone())
    o = Adam(m.parameters(), 3e-3)
    if not fixed:
        for layer in (m[0], m[2]):
            layer.weight = nn.Parameter(layer.weight.data * 0.3)
    return job(m, o, MSE(), d, batch=32, epochs=15, seed=seed)


@case("B", [("params_not_trained", "missing_zero_grad")], ("test_score", 1, 0.3), [*STUCK, "lr_too_low",
      "vanishing_gradient"], "blatant")  # fmt: skip
def pnt_cleared_before_the_step(seed: int, fixed: bool) -> Any:
    d = sets.questions(seed, 900)
    m = Bag(800, 32, 5)
    o = SGD(m.parameters(), 0.1, momentum=0.9)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed, loader=loader(Named(d.x, d.y), 32, seed),
               loop=written(named=True, zero="step" if fixed else "late"))  # fmt: skip


COST, WALL = ("us_per_sample", -1, 5), ("wall_us_per_sample", -1, 50)


@case("A", ["input_bound"], WALL, ["launch_bound", "undertrained"])
def cmp_pictures_decoded_each_time(seed: int, fixed: bool) -> Any:
    blobs, y = sets.cifar_bytes()
    order = np.random.default_rng(seed + 41).permutation(len(blobs))  # that of sets.parts
    d = sets.cifar(seed, 400)
    assert torch.equal(d.y, torch.as_tensor(y[order[:400]]))
    m = resnet(10, 8, 3, blocks=1)
    raw = [blobs[i] for i in order[:400]]
    ld = loader(Rows(d.x, d.y) if fixed else Rows(raw, d.y, sets.decode), 40, seed)
    return job(
        m, Adam(m.parameters(), 3e-3), CE(), d, batch=40, epochs=5, seed=seed, loader=None if fixed else ld
    )


@case("A", ["input_bound"], WALL, ["launch_bound", "undertrained"])
def cmp_far_store(seed: int, fixed: bool) -> Any:
    d = sets.arm(seed, 300)
    m = nets.mlp([6, 64, 64, 2])

    def fetch(row: Any) -> Any:
        time.sleep(0.0012)
        return row

    ld = None if fixed else loader(Rows(d.x, d.y, fetch), 30, seed)
    return job(m, Adam(m.parameters(), 5e-3), MSE(), d, batch=30, epochs=6, seed=seed, loader=ld)


@case("B", ["input_bound"], WALL, ["launch_bound", "undertrained"])
def cmp_packed_rows(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 400)

    def pack(row: Any) -> bytes:
        file = io.BytesIO()
        np.save(file, row.numpy().astype(np.float64))
        return zlib.compress(file.getvalue(), 9)

    def unpack(blob: bytes) -> Any:
        return torch.as_tensor(np.load(io.BytesIO(zlib.decompress(blob)))).float()

    ld = None if fixed else loader(Rows([pack(row) for row in d.x], d.y, unpack), 40, seed)
    m = nn.Sequential(nn.Flatten(), nets.mlp([320, 32, 10]))
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=40, epochs=8, seed=seed, loader=ld)


@case("B", ["input_bound"], WALL, ["launch_bound", "undertrained", "overfitting"])
def cmp_words_looked_up_each_time(seed: int, fixed: bool) -> Any:
    d = sets.news(seed, 600)
    known = {str(i): i for i in range(2000)}
    raw = [" ".join(map(str, row.tolist())) for row in d.x]

    def read(text: str) -> Any:
        ids = []
        for word in text.split():
            for cut in range(len(word), 0, -1):  # the longest known piece first
                if word[:cut] in known and sum(ord(c) for c in text[:100]) > 0:
                    ids.append(known[word[:cut]])
                    break
        return torch.tensor(ids)

    ld = None if fixed else loader(Rows(raw, d.y, read), 60, seed)
    m = Bag(2000, 24, 4)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=60, epochs=6, seed=seed, loader=ld)


class Stepped(nn.Module):
    """A cell called once a frame from Python, or the same cell as one call over all frames."""

    def __init__(self, whole: bool) -> None:
        super().__init__()
        self.rnn, self.head, self.whole = nn.GRU(16, 16, batch_first=True), nn.Linear(16, 10), whole

    def forward(self, x: Any) -> Any:
        if self.whole:
            return self.head(self.rnn(x)[0][:, -1])
        h = None
        for t in range(x.shape[1]):
            _, h = self.rnn(x[:, t : t + 1], h)
        return self.head(h[0])


@case("A", [("launch_bound", "batch_too_small")], COST, ["batch_too_small", "undertrained"])
def cmp_frame_by_frame(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 240)
    m = Stepped(fixed)
    return job(
        m,
        Adam(m.parameters(), 5e-3),
        CE(),
        d,
        batch=4 if not fixed else 24,
        epochs=40 if fixed else 5,
        seed=seed,
    )


@case("B", [("launch_bound", "batch_too_small")], COST, ["batch_too_small", "undertrained", "underfitting"])
def cmp_board_three_rows(seed: int, fixed: bool) -> Any:
    d = sets.checker(seed, 600)
    m = nets.mlp([2, 24, 24, 2])
    o = AdamW(m.parameters(), 1e-2 if fixed else 1e-3, foreach=False)
    return job(m, o, CE(), d, batch=50 if fixed else 3, epochs=24 if fixed else 6, seed=seed)


@case("A", ["wrong_dtype"], COST, ["launch_bound", "undertrained"])
def cmp_double_convolutions(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 400)
    m = nets.cnn(10, (16, 32), hw=12)
    m[-1] = nn.Linear(32 * 9, 10)
    if not fixed:
        m = m.double()
        sets.inputs(d, lambda v: v.double())
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=40, epochs=5, seed=seed)


@case("B", ["wrong_dtype"], COST, ["launch_bound", "undertrained", "overfitting"])
def cmp_double_looks(seed: int, fixed: bool) -> Any:
    d = sets.views(seed, 400)
    m = Looks(h=512, code=64)
    if not fixed:
        m = m.double()
        sets.inputs(d, lambda v: v.double())
    return job(m, Adam(m.parameters(), 1e-3), CE(), d, batch=40, epochs=4, seed=seed)


@case("A", ["loss_mismatch"], ("test_score", 1, 0.05), [*ROUGH, "underfitting"])
def lss_variance_without_log(seed: int, fixed: bool) -> Any:
    d = sets.wobble(seed)
    m = nets.mlp([3, 48, 2])

    def raw(out: Any, y: Any) -> Any:
        return (0.5 * out[:, 1:] + 0.5 * (y - out[:, :1]) ** 2 / out[:, 1:]).mean()

    return job(m, Adam(m.parameters(), 5e-3), spread if fixed else raw, d, batch=32, epochs=20, metric=centre,
               seed=seed)  # fmt: skip


@case("B", ["loss_mismatch"], ("test_score", 1, 0.02), FLAT)
def lss_pixels_twice_squashed(seed: int, fixed: bool) -> Any:
    d = sets.masks(seed, 250)
    m = nn.Sequential(pixels(10), nn.Identity() if fixed else nn.Sigmoid())
    metric = hits if fixed else lambda out, y: hits(out - 0.5, y)
    return job(
        m, Adam(m.parameters(), 5e-3), BCE(), d, batch=25, epochs=8, task="binary", metric=metric, seed=seed
    )
