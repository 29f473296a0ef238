"""Sixth blind set: several faults at once.

The faults are proved as those of `blind6_loss.py`; the twin has none of them.
"""

from __future__ import annotations

from typing import Any

from faultbench.lib import (
    CE,
    MSE,
    SGD,
    STUCK,
    UNSTABLE,
    Adam,
    AdamW,
    data,
    job,
    make_loop,
    nets,
    nn,
    optim,
    torch,
)

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases import blind4_sets as sets4
from benchmarks.cases import blind6_data as more
from benchmarks.cases.blind3_parts import Patches, resnet
from benchmarks.cases.blind6_parts import Pooled, case, conv1d, taken, taken_r2

BOTH = [*UNSTABLE, *STUCK]


@case(["unscaled_inputs", "missing_zero_grad"], ("test_score", 1, 0.1), [*BOTH, "dead_units", "lr_too_high",
      "saturated_units"])  # fmt: skip
def mul_raw_wine_never_cleared(seed: int, fixed: bool) -> Any:
    """Feed wines as they are measured, and never clear the gradients."""
    d = data.wine(seed, scale="std" if fixed else None)
    m = nets.mlp([13, 32, 3])
    loop = None if fixed else make_loop(zero_grad=False)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=20, epochs=15, seed=seed, loop=loop)


@case(
    ["loss_mismatch", "lr_too_low"], ("test_score", 1, 0.1), [*STUCK, "vanishing_gradient", "saturated_units"]
)
def mul_softmax_and_slow(seed: int, fixed: bool) -> Any:
    """Put softmax before cross entropy in a transformer on sounds, trained at 1e-4."""
    d = sets.spoken(seed, 600)
    m: Any = Patches(16, 24, 10, 20, layers=1)
    if not fixed:
        m = nn.Sequential(m, nn.Softmax(-1))
    return job(m, Adam(m.parameters(), 3e-3 if fixed else 1e-4), CE(), d, batch=32, epochs=10, seed=seed)


@case(["class_imbalance", "underfitting"], ("test_bal", 1, 0.1), ["plateau", "undertrained", "dead_units",
      "converged_early"])  # fmt: skip
def mul_rare_and_two_units(seed: int, fixed: bool) -> Any:
    """Learn six bent groups, one of them rare, by two hidden units."""
    d = sets4.mixture(seed, 1400)
    d = data.imbalance(d, {0: 200, 1: 200, 2: 10, 3: 200, 4: 200, 5: 200}, seed)
    m = nets.mlp([10, 64 if fixed else 2, 6])
    w = torch.tensor([1.0, 1.0, 20.0, 1.0, 1.0, 1.0]) if fixed else None
    return job(m, Adam(m.parameters(), 5e-3), CE(weight=w), d, batch=32, epochs=15, seed=seed)


@case(["params_not_trained", "lr_too_low"], ("test_score", 1, 0.2), STUCK)
def mul_head_alone_and_slow(seed: int, fixed: bool) -> Any:
    """Train the head alone of a net that starts from nothing, at 1e-4."""
    d = more.chirps(seed, 600)
    m = conv1d(4, h=12)
    o = Adam(m.parameters(), 4e-3) if fixed else Adam(m[-1].parameters(), 1e-4)
    return job(m, o, CE(), d, batch=32, epochs=12, seed=seed)


@case(["unshuffled_data", "unscaled_targets"], ("test_score", 1, 0.06), [*BOTH, "train_val_shift", "lr_too_high",
      "lr_too_low", "dead_units"])  # fmt: skip
def mul_sorted_megapascals(seed: int, fixed: bool) -> Any:
    """Read the strengths of concrete from weak to strong, in MPa."""
    d = more.strength(seed, 700)
    if fixed:
        sets.targets(d, lambda v: (v - 37) / 15.6)
    else:
        d = data.sort_by_label(d)
    m = nets.mlp([5, 48, 1])
    return job(m, Adam(m.parameters(), 1e-2), MSE(), d, batch=32, epochs=15, seed=seed, shuffle=fixed)


@case(["weight_decay_misuse", ("lr_schedule", "lr_too_low")], ("test_score", 1, 0.1), [*STUCK, "lr_too_low",
      "vanishing_gradient"])  # fmt: skip
def mul_decays_of_both_kinds(seed: int, fixed: bool) -> Any:
    """Decay the weights by AdamW at 30 and the rate by 0.97 at each step."""
    d = data.digits(seed, n=800, image=True)
    m = nets.cnn(10, (8, 16))
    o = AdamW(m.parameters(), 4e-3, weight_decay=0.01 if fixed else 30.0)
    s = optim.lr_scheduler.ExponentialLR(o, 0.97)
    return job(
        m, o, CE(), d, batch=32, epochs=12, seed=seed, scheduler=s, sched_per="epoch" if fixed else "batch"
    )


@case([("bad_features", "unscaled_inputs"), "loss_mismatch"], ("test_score", 1, 0.05), [*BOTH, "unscaled_inputs",
      "dead_units", "lr_too_high", "saturated_units", "vanishing_gradient", "overfitting"])  # fmt: skip
def mul_codes_of_gaps_and_sigmoids(seed: int, fixed: bool) -> Any:
    """Code gaps as 999, and end three classes in sigmoids before cross entropy."""
    d = data.hardclass(seed, n=800, d=12, inf=8, k=3, sep=1.8)
    g = torch.Generator().manual_seed(seed + 23)
    if not fixed:
        for a in ("x", "xv", "xt"):
            v = getattr(d, a)
            v[torch.rand(v.shape, generator=g) < 0.03] = 999.0
    m = nets.mlp([12, 48, 3], last=None if fixed else nn.Sigmoid())
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=15, seed=seed)


@case(["train_val_shift", "overfitting"], ("val_loss", -1, 0.3), ["bad_features"])
def mul_small_crops_by_heart(seed: int, fixed: bool) -> Any:
    """Learn 150 photographs by heart and validate on others that lack their left half."""
    d = more.photos(seed, 500 if fixed else 150)
    if not fixed:
        d.xv = torch.cat([torch.full_like(d.xv[..., :10], -2.0), d.xv[..., 10:]], -1)
    m = nets.cnn(5, (16, 24), hw=20, cin=3, drop=0.4 if fixed else 0.0)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=25, epochs=7 if fixed else 35, seed=seed)


@case([("mode_misuse", "batchnorm_misuse"), "lr_too_high"], ("test_score", 1, 0.1), [*BOTH, "batchnorm_misuse",
      "dead_units"])  # fmt: skip
def mul_eval_and_too_fast(seed: int, fixed: bool) -> Any:
    """Train a residual net in eval() at ten times a good rate."""
    d = sets.fashion(seed, 600, kept=6)
    m = resnet(6, 10)
    o = Adam(m.parameters(), 3e-3 if fixed else 0.1)
    return job(
        m, o, CE(), d, batch=32, epochs=8, seed=seed, loop=None if fixed else make_loop(train_mode=False)
    )


@case(["label_noise", ("batch_too_large", "undertrained")], ("val_loss", -1, 0.2), [*STUCK, "lr_too_low"])
def mul_wrong_sounds_all_at_once(seed: int, fixed: bool) -> Any:
    """Mistake three sounds in ten, and train on all of them at once."""
    d = sets.spoken(seed, 600)
    if not fixed:
        d.y, d.yv = data.flip_labels(d.y, 0.3, 10, seed), data.flip_labels(d.yv, 0.3, 10, seed + 1)
    m = Pooled(nn.GRU, 16, 24, 10)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32 if fixed else 600, epochs=10, seed=seed)


@case(["leakage", "overfitting"], ("test_loss", -1, 0.1), ["converged_early"])
def mul_seen_and_by_heart(seed: int, fixed: bool) -> Any:
    """Validate, for the most part, on the 200 rows that a wide net learns by heart."""
    d = data.hardclass(seed, n=200, d=40, inf=8, k=2, sep=1.2)
    if not fixed:
        d.xv, d.yv = torch.cat([d.x[:140], d.xv[:100]]), torch.cat([d.y[:140], d.yv[:100]])
    m = nets.mlp([40, 128, 128, 2], drop=0.5 if fixed else 0.0)
    return job(m, Adam(m.parameters(), 1e-3), CE(), d, batch=25, epochs=8 if fixed else 40, seed=seed)


@case(
    ["unscaled_targets", "lr_too_high"],
    ("test_score", 1, 0.3),
    [*BOTH, "dead_units", "bad_features"],
    "blatant",
)
def mul_returns_raw_and_fast(seed: int, fixed: bool) -> Any:
    """Regress rewards of thousands by SGD at 0.5."""
    d = more.bandit(seed)
    if not fixed:
        for a in ("y", "yv", "yt"):
            getattr(d, a)[:, 1] *= 2000.0
    m = nets.mlp([6, 48, 4])
    o = SGD(m.parameters(), 0.05 if fixed else 0.5)
    return job(m, o, taken, d, batch=32, epochs=25, metric=taken_r2, seed=seed)
