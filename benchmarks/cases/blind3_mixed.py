"""Third blind set: several faults at once, roots with loud consequences, and more of cost (see `blind3_rates.py`)."""

from __future__ import annotations

from typing import Any

from faultbench.lib import BCE, CE, MSE, SGD, STUCK, Adam, AdamW, data, job, make_loop, nets, nn, torch

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases.blind3_parts import ROUGH, Factors, Patches, Seq, case, written

COST = ("us_per_sample", -1, 5)


@case("A", ["unscaled_inputs"], ("test_score", 1, 0.1), [*ROUGH, "saturated_units", "vanishing_gradient",
      "lr_too_low", "bad_init", "overfitting"])  # fmt: skip
def mul_loud_pixels_flatten_units(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 800, flat=True)
    if not fixed:
        sets.inputs(d, lambda v: v * 84 + 73)
    m = nets.mlp([196, 32, 32, 10], "sigmoid")
    return job(m, Adam(m.parameters(), 4e-3), CE(), d, batch=32, epochs=20, seed=seed)


@case("A", ["label_noise", "overfitting"], ("test_loss", -1, 0.3), ["converged_early", "plateau"])
def mul_noisy_sounds_learnt_by_heart(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 500, flat=True)
    if not fixed:
        d.y = data.flip_labels(d.y, 0.25, 10, seed)
        d.yv = data.flip_labels(d.yv, 0.25, 10, seed + 1)
    m = nets.mlp([320, 128, 10])
    return job(m, Adam(m.parameters(), 1e-3), CE(), d, batch=25, epochs=6 if fixed else 50, seed=seed)


@case("A", ["loss_mismatch", "params_not_trained"], ("test_score", 1, 0.1), [*STUCK, "lr_too_low", "saturated_units",
      "vanishing_gradient", "overfitting"])  # fmt: skip
def mul_softmax_on_a_frozen_body(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 600)
    m = nn.Sequential(Seq(16, 24, 10), nn.Identity() if fixed else nn.Softmax(1))
    m[0].net.requires_grad_(fixed)
    return job(m, SGD((p for p in m.parameters() if p.requires_grad), 0.1, momentum=0.9), CE(), d, batch=32, epochs=10,
               seed=seed)  # fmt: skip


@case("A", ["lr_too_low", ("weight_decay_misuse", "underfitting")], ("test_score", 1, 0.1), [*STUCK,
      "vanishing_gradient"])  # fmt: skip
def mul_slow_and_pulled_to_zero(seed: int, fixed: bool) -> Any:
    d = sets.arm(seed)
    m = nets.mlp([6, 48, 48, 2])
    o = SGD(m.parameters(), 0.1 if fixed else 2e-3, momentum=0.8, weight_decay=0.0 if fixed else 0.5)
    return job(m, o, MSE(), d, batch=32, epochs=15, seed=seed)


@case("A", ["lr_too_high"], ("test_score", 1, 0.1), [*ROUGH, "dead_units", "vanishing_gradient", "bad_init"])
def mul_fast_steps_kill_units(seed: int, fixed: bool) -> Any:
    d = sets.arm(seed)
    m = nets.mlp([6, 48, 48, 2])
    return job(m, Adam(m.parameters(), 4e-3 if fixed else 0.4), MSE(), d, batch=32, epochs=15, seed=seed)


@case("B", ["unscaled_targets", "unscaled_inputs"], ("test_score", 1, 0.2), [*ROUGH, "lr_too_low", "lr_too_high",
      "dead_units", "exploding_gradient"])  # fmt: skip
def mul_salaries_raw_on_both_sides(seed: int, fixed: bool) -> Any:
    d = sets.table(seed, "employee_salaries", 800, fixed)
    if fixed:
        sets.targets(d, lambda v: (v - 73000) / 29000)
    m = nets.mlp([d.x.shape[1], 48, 1])
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=15, seed=seed)


@case("B", ["lr_too_low", ("mode_misuse", "batchnorm_misuse")], ("val_loss", -1, 0.3), [*STUCK, "batchnorm_misuse",
      "train_val_shift", "overfitting"])  # fmt: skip
def mul_slow_and_never_in_eval(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 600)
    m = Seq(16, 24, 10, norm=True)
    order = torch.argsort(d.yv)
    d.xv, d.yv = d.xv[order], d.yv[order]
    loop = None if fixed else make_loop(eval_mode=False)
    o = SGD(m.parameters(), 0.05 if fixed else 3e-3, momentum=0.5)
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed, val_batch=10, loop=loop)


@case("B", ["train_val_shift", "label_noise"], ("val_loss", -1, 0.3), ["overfitting", "converged_early", "plateau",
      "underfitting"])  # fmt: skip
def mul_wrong_labels_other_light(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 900)
    if not fixed:
        d.y = data.flip_labels(d.y, 0.25, 10, seed)
        d.yv = data.flip_labels(d.yv, 0.25, 10, seed + 1)
        d.xv = 0.4 * d.xv + 1.0
    m = nets.cnn(10, (8, 12), hw=12)
    m[-1] = nn.Linear(12 * 9, 10)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=10, seed=seed)


@case(
    "B", ["lr_schedule", "class_imbalance"], ("test_bal", 1, 0.1), [*STUCK, "lr_too_low", "converged_early"]
)
def mul_rate_gone_rare_class_lost(seed: int, fixed: bool) -> Any:
    d = data.imbalance(sets.table(seed, "adult", 1500), {0: 950, 1: 40}, seed)
    m = nets.mlp([d.x.shape[1], 32, 2])
    o = Adam(m.parameters(), 3e-3)
    s = torch.optim.lr_scheduler.StepLR(o, 30, 1.0 if fixed else 0.1)
    w = torch.tensor([1.0, 20.0 if fixed else 1.0])
    return job(m, o, CE(weight=w), d, batch=32, epochs=10, seed=seed, scheduler=s, sched_per="batch")


@case("B", ["bad_init"], ("test_score", 1, 0.1), [*ROUGH, "exploding_gradient", "saturated_units",
      "vanishing_gradient", "lr_too_low", "lr_too_high"])  # fmt: skip
def mul_loud_head_drowns_the_rest(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 600, flat=True)
    m = nets.mlp([320, 48, 48, 10], "tanh")
    if not fixed:
        m[-1].weight.data *= 150.0
    return job(
        m, SGD(m.parameters(), 0.02, momentum=0.5), CE(), d, batch=32, epochs=30 if fixed else 10, seed=seed
    )


class Stair(nn.Module):
    """Many narrow layers, one after another."""

    def __init__(self, steps: int, width: int = 6) -> None:
        super().__init__()
        self.inp, self.out = nn.Linear(6, width), nn.Linear(width, 2)
        self.steps = nn.ModuleList(nn.Linear(width, width) for _ in range(steps))

    def forward(self, x: Any) -> Any:
        h = self.inp(x)
        for step in self.steps:
            h = h + torch.tanh(step(h))
        return self.out(h)


@case("A", [("launch_bound", "batch_too_small")], COST, ["batch_too_small", "undertrained", "underfitting"])
def cmp_narrow_stairs(seed: int, fixed: bool) -> Any:
    d = sets.arm(seed, 240)
    m = Stair(12)
    o = Adam(m.parameters(), 5e-3 if fixed else 1e-3, foreach=False)
    return job(m, o, MSE(), d, batch=24 if fixed else 2, epochs=12 if fixed else 4, seed=seed)


@case("B", [("launch_bound", "batch_too_small")], COST, ["batch_too_small", "undertrained"])
def cmp_ratings_by_fours(seed: int, fixed: bool) -> Any:
    d = sets.ratings(seed, 1600)
    m = Factors()
    o = Adam(m.parameters(), 1e-2)
    return job(m, o, MSE(), d, batch=64 if fixed else 4, epochs=22 if fixed else 3, seed=seed,
               loop=written(closure=True))  # fmt: skip


@case("A", ["wrong_dtype"], COST, ["launch_bound", "undertrained"])
def cmp_double_patches(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 400)
    m = Patches(16, 64, 10, 20, layers=1)
    if not fixed:
        m = m.double()
        sets.inputs(d, lambda v: v.double())
    return job(m, AdamW(m.parameters(), 1e-3), CE(), d, batch=40, epochs=14, seed=seed)


@case("B", ["wrong_dtype"], COST, ["launch_bound", "undertrained", "overfitting"])
def cmp_double_by_default(seed: int, fixed: bool) -> Any:
    d = sets.tags(seed, 700)
    m = nets.mlp([24, 384, 384, 8])
    if not fixed:
        m = m.double()
        sets.inputs(d, lambda v: v.double())
        sets.targets(d, lambda v: v.double())
    o = SGD(m.parameters(), 0.2, momentum=0.9)
    return job(m, o, BCE(), d, batch=50, epochs=5, task="binary", seed=seed)
