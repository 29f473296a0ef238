"""Fifth blind set, second author: depth, schedules, budgets, decay and capacity (see `blind5_second_loss.py`)."""

from __future__ import annotations

from typing import Any

from faultbench.lib import BCE, CE, MSE, SGD, STUCK, Adam, AdamW, data, job, nets, nn, optim, torch

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases.blind3_parts import Lambda, cosine
from benchmarks.cases.blind5_parts import case

DEEP = [*STUCK, "saturated_units", "bad_init"]
STEEP = [*STUCK, "bad_init", "vanishing_gradient", "overfitting"]
EARLY = [*STUCK, "lr_too_low"]
SHORT = ["lr_too_low", "underfitting", "batch_too_large"]
FULL = ["plateau", "dead_units", "converged_early"]
SEEN = ["converged_early"]


@case(["vanishing_gradient"], ("test_score", 1, 0.2), DEEP)
def van_rnn_first_token(seed: int, fixed: bool) -> Any:
    """Ask a plain RNN for what it saw fifty steps ago."""
    d = data.first_token(seed, n=700, T=50)
    m = nets.SeqNet("rnn", 4, 32, 4)
    if fixed:
        m.rnn = Late(4, 32)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=20, seed=seed, clip=1.0)


class Late(nn.Module):
    """A GRU that starts with its update gates nearly shut, so that it remembers."""

    def __init__(self, d: int, h: int) -> None:
        super().__init__()
        self.gru = nn.GRU(d, h, batch_first=True)
        nn.init.constant_(self.gru.bias_ih_l0[h : 2 * h], 4.0)

    def forward(self, x: Any) -> Any:
        return self.gru(x)


@case(["vanishing_gradient"], ("test_score", 1, 0.2), [*DEEP, "dead_units"], "blatant")
def van_plain_cnn_14(seed: int, fixed: bool) -> Any:
    """Stack fourteen convolutions without norm or skips, at torch's default weights."""
    d = data.shapes(seed, n=700, noise=0.2, k=4)
    m = nets.deep_cnn(4, 8, 14, "bn" if fixed else None)
    return job(m, SGD(m.parameters(), 0.01, momentum=0.9), CE(), d, batch=32, epochs=14, seed=seed)


@case(["vanishing_gradient"], ("test_score", 1, 0.3), [*DEEP, "dead_units"])
def van_relu_mlp_16(seed: int, fixed: bool) -> Any:
    """Stack sixteen ReLU layers at torch's default weights (gain 1/3)."""
    d = data.digits(seed, n=800)
    m = nets.mlp([64] + [48] * 16 + [10])
    if fixed:
        m = nets.resmlp(64, 48, 10, 8)
    return job(m, SGD(m.parameters(), 0.03), CE(), d, batch=32, epochs=12, seed=seed)


@case([("vanishing_gradient", "bad_init")], ("test_score", 1, 0.1), [*DEEP, "lr_too_low"])
def van_tanh_small_weights(seed: int, fixed: bool) -> Any:
    """Start six tanh layers at N(0, 0.05): the signal shrinks by two and more at each."""
    d = data.friedman(seed, n=500, noise=0.5)
    m = nets.xavier_(nets.mlp([10] + [64] * 6 + [1], "tanh"))
    if not fixed:
        nets.normal_(m, 0.05)
    return job(m, SGD(m.parameters(), 0.01, momentum=0.9), MSE(), d, batch=32, epochs=35, seed=seed)


@case(["vanishing_gradient"], ("test_score", 1, 0.1), DEEP)
def van_sigmoid6_adam(seed: int, fixed: bool) -> Any:
    """Train six sigmoid layers with Adam: nothing is learned."""
    d = data.circles(seed, n=600)
    m = nets.mlp([2] + [32] * 6 + [2], "tanh" if fixed else "sigmoid")
    return job(m, Adam(m.parameters(), 1e-3), CE(), d, batch=32, epochs=20, seed=seed)


@case([("saturated_units", "bad_init")], ("test_score", 1, 0.05), STEEP)
def sat_sigmoid_normal3(seed: int, fixed: bool) -> Any:
    """Draw the weights of sigmoid layers from N(0, 3)."""
    d = data.digits(seed, n=700)
    m = nets.mlp([64, 96, 96, 10], "sigmoid")
    if fixed:
        nets.xavier_(m, 2.0)
    else:
        nets.normal_(m, 3.0)
        nets.xavier_(m[-1:])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=15, seed=seed)


@case([("saturated_units", "bad_init")], ("test_score", 1, 0.05), STEEP)
def sat_rnn_recurrent(seed: int, fixed: bool) -> Any:
    """Multiply the recurrent weights of a tanh RNN by twenty: all states are -1 or 1."""
    d = data.running_sign(seed, n=600, T=12)
    m = nets.SeqNet("rnn", 1, 24, 2)
    if not fixed:
        with torch.no_grad():
            m.rnn.weight_hh_l0 *= 20
    o = Adam(m.parameters(), 4e-3)
    return job(m, o, CE(), d, batch=32, epochs=14, seed=seed, clip=1.0, scheduler=cosine(o, 14))


@case(["saturated_units", ("lr_too_high", "lr_schedule")], ("test_score", 1, 0.1), [*STEEP, "oscillation",
      "exploding_gradient", "lr_schedule"])  # fmt: skip
def sat_tanh_burst(seed: int, fixed: bool) -> Any:
    """Warm up the wrong way: ten steps of Adam at 0.5 push all tanh units into their flat parts."""
    d = data.digits(seed, n=800)
    m = nets.mlp([64, 64, 64, 10], "tanh")
    o = Adam(m.parameters(), 1e-3)
    s = Lambda(o, lambda t: 1.0 if fixed or t >= 10 else 1000.0)
    return job(m, o, CE(), d, batch=32, epochs=20, seed=seed, scheduler=s, sched_per="batch")


@case(["lr_schedule"], ("test_score", 1, 0.05), EARLY)
def sch_halved_each_epoch_gru(seed: int, fixed: bool) -> Any:
    """Multiply the rate of a GRU by 0.4 after each epoch: nothing is left after six."""
    d = sets.inputs(data.waves(seed, n=500, T=24, k=4, noise=0.5), lambda x: x.transpose(1, 2).contiguous())
    m = nets.SeqNet("gru", 1, 32, 4)
    o = Adam(m.parameters(), 5e-3)
    s = optim.lr_scheduler.ExponentialLR(o, 0.93 if fixed else 0.4)
    return job(m, o, CE(), d, batch=25, epochs=25, seed=seed, scheduler=s)


@case(["lr_schedule"], ("test_loss", -1, 0.2), EARLY)
def sch_warmup_4000_lm(seed: int, fixed: bool) -> Any:
    """Warm up over the 4000 steps of "Attention is all you need" in a run of 250."""
    d = data.chars(seed, n=500, T=24)
    m = nets.Transformer(d.k, 32, d.k, 24, layers=1, heads=4, lm=True)
    o = AdamW(m.parameters(), 5e-3)
    warm = 30 if fixed else 4000
    s = Lambda(o, lambda t: min(1.0, (t + 1) / warm))
    return job(
        m, o, nets.lm_loss, d, batch=16, epochs=8, task="lm", seed=seed, scheduler=s, sched_per="batch"
    )


@case(["lr_schedule"], ("test_score", 1, 0.03), EARLY, "subtle")
def sch_step_too_soon_subtle(seed: int, fixed: bool) -> Any:
    """Divide the rate by twenty after an eighth of the training, while the error still falls."""
    d = data.friedman(seed, n=600, noise=0.5)
    m = nets.mlp([10, 64, 64, 1])
    o = Adam(m.parameters(), 2e-3)
    s = optim.lr_scheduler.MultiStepLR(o, [20, 26] if fixed else [4, 26], 0.05)
    return job(m, o, MSE(), d, batch=32, epochs=30, seed=seed, scheduler=s)


@case(["undertrained"], ("test_score", 1, 0.05), SHORT)
def utr_digits_sgd(seed: int, fixed: bool) -> Any:
    """Stop SGD on digits after three epochs."""
    d = data.digits(seed)
    m = nets.mlp([64, 64, 64, 10])
    return job(m, SGD(m.parameters(), 0.05), CE(), d, batch=32, epochs=40 if fixed else 3, seed=seed)


@case(["undertrained"], ("test_loss", -1, 0.2), SHORT)
def utr_charlm_transformer(seed: int, fixed: bool) -> Any:
    """Train a character transformer for two epochs."""
    d = data.chars(seed, n=500, T=24)
    m = nets.Transformer(d.k, 32, d.k, 24, layers=1, heads=4, lm=True)
    o = AdamW(m.parameters(), 1e-3, weight_decay=0.1)
    return job(m, o, nets.lm_loss, d, batch=16, epochs=10 if fixed else 2, task="lm", seed=seed)


@case(["undertrained"], ("test_score", 1, 0.1), SHORT, "subtle")
def utr_spirals_subtle(seed: int, fixed: bool) -> Any:
    """Stop at twelve epochs a net that still draws the arms of the spirals."""
    d = data.spirals(seed, n=600, k=3)
    m = nets.mlp([2, 48, 48, 3], "tanh")
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=90 if fixed else 15, seed=seed)


@case([("weight_decay_misuse", "underfitting")], ("test_score", 1, 0.1), STUCK)
def wdm_cnn_adam_l2(seed: int, fixed: bool) -> Any:
    """Give Adam an L2 term of 0.3, which drowns the gradient of the loss."""
    d = data.digits(seed, n=700, image=True)
    m = nets.cnn(10, (8, 16))
    o = Adam(m.parameters(), 3e-3, weight_decay=1e-4 if fixed else 0.3)
    return job(m, o, CE(), d, batch=32, epochs=15, seed=seed)


@case([("weight_decay_misuse", "underfitting")], ("test_loss", -1, 0.1), STUCK, "blatant")
def wdm_transformer_topics(seed: int, fixed: bool) -> Any:
    """Decay all of a transformer by AdamW at 100, embeddings and norms too."""
    d = data.topics(seed, n=700, V=150, mix=0.6)
    m = nets.Transformer(150, 32, 4, 20, layers=1, heads=2)
    o = AdamW(m.parameters(), 2e-3, weight_decay=0.1 if fixed else 100.0)
    return job(m, o, CE(), d, batch=32, epochs=5, seed=seed)


@case([("weight_decay_misuse", "underfitting")], ("test_loss", -1, 0.1), STUCK, "subtle")
def wdm_sgd_subtle(seed: int, fixed: bool) -> Any:
    """Use weight_decay=0.05 with SGD on digits: they are told apart, but with little confidence."""
    d = data.digits(seed)
    m = nets.mlp([64, 64, 10])
    o = SGD(m.parameters(), 0.05, momentum=0.9, weight_decay=1e-4 if fixed else 0.05)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed)


@case(["overfitting"], ("test_loss", -1, 0.2), SEEN, "blatant")
def ovf_cnn_hundred_shapes(seed: int, fixed: bool) -> Any:
    """Show a CNN the same 120 noisy pictures sixty times."""
    d = data.shapes(seed, n=1500 if fixed else 120, noise=0.5, k=4)
    m = nets.cnn(4, (16, 32), hw=12)
    return job(
        m,
        Adam(m.parameters(), 2e-3),
        CE(),
        d,
        batch=32 if fixed else 16,
        epochs=12 if fixed else 60,
        seed=seed,
    )


@case(["overfitting"], ("test_loss", -1, 0.2), SEEN)
def ovf_transformer_topics(seed: int, fixed: bool) -> Any:
    """Train a transformer for thirty epochs on 150 short texts."""
    d = data.topics(seed, n=1200 if fixed else 150, V=200, mix=0.75)
    m = nets.Transformer(200, 32, 4, 20, layers=1, heads=2)
    return job(
        m,
        AdamW(m.parameters(), 2e-3),
        CE(),
        d,
        batch=32 if fixed else 16,
        epochs=5 if fixed else 30,
        seed=seed,
    )


@case(["overfitting"], ("test_loss", -1, 0.05), SEEN, "subtle")
def ovf_hardclass_subtle(seed: int, fixed: bool) -> Any:
    """Keep on training a wide net on 400 rows: the validation loss creeps up for most of the run."""
    d = data.hardclass(seed, n=400, d=20, inf=8, flip=0.15)
    m = nets.mlp([20, 96, 2])
    o = AdamW(m.parameters(), 2e-3, weight_decay=1.0 if fixed else 0.0)
    return job(m, o, CE(), d, batch=32, epochs=12 if fixed else 50, seed=seed)


@case(["underfitting"], ("test_score", 1, 0.3), FULL, "blatant")
def und_logistic_xor(seed: int, fixed: bool) -> Any:
    """Ask a logistic regression for XOR."""
    d = data.binary(data.xor(seed))
    m = nets.mlp([2, 16, 1]) if fixed else nn.Linear(2, 1)
    return job(m, Adam(m.parameters(), 1e-2), BCE(), d, batch=32, epochs=25, task="binary", seed=seed)


@case(["underfitting"], ("test_loss", -1, 0.15), FULL)
def und_charlm_gru3(seed: int, fixed: bool) -> Any:
    """Model characters with a GRU of three units."""
    d = data.chars(seed, n=1200, T=24)
    m = nets.SeqNet("gru", 24, 48 if fixed else 3, d.k, every=True, vocab=d.k)
    return job(m, Adam(m.parameters(), 6e-3), nets.lm_loss, d, batch=32, epochs=8, task="lm", seed=seed)


@case(["underfitting"], ("test_score", 1, 0.1), FULL)
def und_two_filters(seed: int, fixed: bool) -> Any:
    """Tell six shapes apart by two filters per layer."""
    d = data.shapes(seed, n=700, noise=0.25, k=6)
    c = 16 if fixed else 2
    m = nets.cnn(6, (c, c), hw=12)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=14 if fixed else 25, seed=seed)
