"""Seventh blind set, first half: rates, schedules, batches, decay, budget and fit.

Every fault is proved by a twin that does clearly better (`python benchmarks/faultbench.py --blind7 A --prove`).
"""

from __future__ import annotations

from typing import Any

from faultbench.lib import CE, MSE, SGD, STUCK, UNSTABLE, Adam, AdamW, data, job, nets, nn, optim

from benchmarks.cases.blind7_parts import Lambda, case, harmonics

SHORT = ["lr_too_low", "underfitting", "batch_too_large"]


@case("A", ["lr_too_high"], ("test_score", 1, 0.05), [*UNSTABLE, "dead_units"])
def lrh_cnn_adam(seed: int, fixed: bool) -> Any:
    """Take a rate for SGD, 0.1, over to Adam."""
    d = data.digits(seed, n=800, image=True)
    m = nets.cnn(10, (8, 16, 32), act="elu")
    return job(m, Adam(m.parameters(), 2e-3 if fixed else 0.1), CE(), d, batch=32, epochs=10, seed=seed)


@case("A", ["lr_too_high"], ("test_loss", -1, 0.05), [*UNSTABLE, "overfitting", "dead_units"])
def lrh_heavy_ball(seed: int, fixed: bool) -> Any:
    """Raise momentum from 0.9 to 0.99 and leave the rate: the steps are ten times as long."""
    d = data.shapes(seed, n=600, noise=0.3, k=5)
    m = nets.cnn(5, (8, 16), hw=12, act="elu")
    o = SGD(m.parameters(), 0.012, momentum=0.9 if fixed else 0.99)
    return job(m, o, CE(), d, batch=32, epochs=14, seed=seed)


@case("A", [("lr_too_low", "params_not_trained")], ("test_score", 1, 0.05), [*STUCK, "params_not_trained"])
def lrl_body_as_if_pretrained(seed: int, fixed: bool) -> Any:
    """Give the body 1e-6 and the head 3e-3, a recipe for fine-tuning, where nothing was pre-trained."""
    d = data.shapes(seed, n=600, noise=0.3, k=5)
    m = nets.cnn(5, (12, 24), hw=12)
    groups = [
        {"params": m[:-1].parameters(), "lr": 3e-3 if fixed else 1e-6},
        {"params": m[-1].parameters()},
    ]
    return job(m, AdamW(groups, 3e-3), CE(), d, batch=32, epochs=10, seed=seed)


@case("A", ["lr_too_low"], ("test_score", 1, 0.2), STUCK)
def lrl_adadelta(seed: int, fixed: bool) -> Any:
    """Give Adadelta 0.001, as another library does by default; here the default is 1."""
    d = data.digits(seed, n=800)
    m = nets.mlp([64, 64, 32, 10], "gelu")
    o = optim.Adadelta(m.parameters(), lr=1.0 if fixed else 1e-3)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed)


@case("A", ["lr_schedule"], ("test_loss", -1, 0.2), [*STUCK, "lr_too_low"])
def sch_warm_up_of_a_paper(seed: int, fixed: bool) -> Any:
    """Warm up for 4000 steps, as in the paper, in a run of 300."""
    d = data.chars(seed, n=600, T=24)
    m = nets.SeqNet("lstm", 24, 48, d.k, every=True, vocab=d.k)
    o = Adam(m.parameters(), 6e-3)
    s = Lambda(o, lambda t: min(1.0, (t + 1) / (30 if fixed else 4000)))
    return job(
        m, o, nets.lm_loss, d, batch=20, epochs=10, task="lm", seed=seed, scheduler=s, sched_per="batch"
    )


@case("A", [("batch_too_small", "lr_too_high")], ("test_score", 1, 0.03), [*UNSTABLE, "lr_too_high", "dead_units",
      "launch_bound"])  # fmt: skip
def bts_shapes_one_by_one(seed: int, fixed: bool) -> Any:
    """Step after every picture with momentum, at a rate made for batches."""
    d = data.shapes(seed, n=500, noise=0.4, k=4)
    m = nets.cnn(4, (8, 16), hw=12)
    o = SGD(m.parameters(), 0.015, momentum=0.9)
    return job(m, o, CE(), d, batch=32 if fixed else 1, epochs=20 if fixed else 5, seed=seed)


@case("A", [("batch_too_large", "undertrained")], ("test_score", 1, 0.1), [*STUCK, "lr_too_low"])
def btl_topics_all_at_once(seed: int, fixed: bool) -> Any:
    """Feed a small transformer its whole training set as one batch, since it fits in memory."""
    d = data.topics(seed, n=600, V=200, T=16, mix=0.5)
    m = nets.Transformer(200, 24, 4, 16, layers=1)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=24 if fixed else 600, epochs=12, seed=seed)


@case("A", [("weight_decay_misuse", "underfitting")], ("test_loss", -1, 0.05), STUCK, "subtle")
def wdm_letters(seed: int, fixed: bool) -> Any:
    """Decay all of a language model by 3, vectors and biases too, where 0.03 was meant."""
    d = data.chars(seed, n=600, T=24)
    m = nets.SeqNet("gru", 24, 48, d.k, every=True, vocab=d.k)
    o = AdamW(m.parameters(), 6e-3, weight_decay=0.03 if fixed else 3.0)
    return job(m, o, nets.lm_loss, d, batch=25, epochs=8, task="lm", seed=seed, clip=1.0)


@case("A", ["undertrained"], ("test_score", 1, 0.1), SHORT)
def utr_spirals_few_rounds(seed: int, fixed: bool) -> Any:
    """Stop after eight of the eighty epochs that three spirals need."""
    d = data.spirals(seed, n=600)
    m = nets.mlp([2, 48, 48, 3], "tanh")
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=60 if fixed else 8, seed=seed)


@case("A", ["overfitting"], ("test_loss", -1, 0.1), ["converged_early"])
def ovf_harmonics(seed: int, fixed: bool) -> Any:
    """Fit forty noisy points by fifteen harmonics and a net on top, for a long time."""
    d = harmonics(data.sine(seed, n=40, noise=0.5), 2 if fixed else 15)
    m = nets.mlp([d.x.shape[1], 48, 1])
    return job(m, Adam(m.parameters(), 4e-3), MSE(), d, batch=10, epochs=150, seed=seed)


@case("A", ["overfitting"], ("test_loss", -1, 0.3), ["converged_early"], "blatant")
def ovf_wide_table(seed: int, fixed: bool) -> Any:
    """Learn 120 rows of 60 columns by heart in a wide net."""
    d = data.hardclass(seed, n=120, d=60, inf=8, sep=1.2)
    m = nets.mlp([60, 256, 256, 2])
    o = Adam(m.parameters(), 1e-3)
    return job(m, o, CE(), d, batch=20, epochs=4 if fixed else 60, seed=seed)


@case(
    "A", ["underfitting"], ("test_score", 1, 0.05), ["plateau", "undertrained", "converged_early"], "subtle"
)
def und_five_units(seed: int, fixed: bool) -> Any:
    """Tell waves apart by a recurrence with five units."""
    d = data.waves(seed, n=500, T=24, k=4, noise=0.5)
    for a in ("x", "xv", "xt"):
        setattr(d, a, getattr(d, a).transpose(1, 2).contiguous())
    m = nets.SeqNet("gru", 1, 32 if fixed else 5, 4)
    return job(m, Adam(m.parameters(), 1e-2), CE(), d, batch=25, epochs=20, seed=seed, clip=1.0)


@case("A", ["underfitting"], ("test_score", 1, 0.2), ["plateau", "undertrained", "converged_early"])
def und_kernels_of_one(seed: int, fixed: bool) -> Any:
    """Leave kernel_size=1 in the convolutions: no unit sees more than a pixel."""
    d = data.shapes(seed, n=600, noise=0.25, k=4)
    k = 3 if fixed else 1
    m = nn.Sequential(nn.Conv2d(1, 16, k, padding=k // 2), nn.ReLU(), nn.Conv2d(16, 32, k, padding=k // 2),
                      nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(32, 4))  # fmt: skip
    return job(m, Adam(m.parameters(), 4e-3), CE(), d, batch=32, epochs=14, seed=seed)
