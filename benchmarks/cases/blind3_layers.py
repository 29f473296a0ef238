"""Third blind set: first weights, signal through depth, units, batch norm, modes (see `blind3_rates.py`)."""

from __future__ import annotations

from typing import Any

from faultbench.lib import (
    BCE,
    CE,
    MSE,
    SGD,
    STUCK,
    UNSTABLE,
    Adam,
    AdamW,
    F,
    job,
    make_loop,
    nets,
    nn,
    optim,
    torch,
)

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases.blind3_parts import (
    LOSS,
    ROUGH,
    SCORE,
    Bag,
    Lambda,
    Patches,
    Pool,
    Ranker,
    Seq,
    case,
    resnet,
    written,
)

FADES = [*STUCK, "saturated_units", "bad_init", "lr_too_low"]
BURSTS = [*ROUGH, "bad_init", "lr_too_high", "dead_units", "saturated_units"]
SILENT = [*STUCK, "bad_init", "vanishing_gradient"]


@case("A", ["vanishing_gradient"], ("test_score", 1, 0.4), FADES, "blatant")
def van_arm_ten_sigmoids(seed: int, fixed: bool) -> Any:
    d = sets.arm(seed)
    m = nets.mlp([6, *[40] * 10, 2], "relu" if fixed else "sigmoid")
    if fixed:
        nets.he_(m)
    return job(m, Adam(m.parameters(), 1e-3), MSE(), d, batch=32, epochs=15, seed=seed)


@case("A", ["vanishing_gradient"], ("test_score", 1, 0.2), FADES)
def van_recall_plain_rnn(seed: int, fixed: bool) -> Any:
    d = sets.recall(seed, 600, 60)
    m = nets.SeqNet("rnn", 4, 32, 4, nonlin="relu" if fixed else "tanh")
    if fixed:
        nn.init.eye_(m.rnn.weight_hh_l0)
        nn.init.normal_(m.rnn.weight_ih_l0, 0, 0.1)
        for b in (m.rnn.bias_ih_l0, m.rnn.bias_hh_l0):
            nn.init.zeros_(b)
    return job(m, Adam(m.parameters(), 1e-3), CE(), d, batch=32, epochs=9, seed=seed, clip=1.0)


@case("B", ["vanishing_gradient"], ("test_score", 1, 0.2), FADES)
def van_plain_stack_of_convolutions(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 500)
    m = resnet(10, 10, blocks=7, norm=fixed, skip=fixed, act=torch.tanh)
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=8, seed=seed)


@case("B", ["vanishing_gradient"], ("test_score", 1, 0.3), FADES)
def van_heaps_squashed(seed: int, fixed: bool) -> Any:
    d = sets.heaps(seed, 500)
    m = Pool()
    act = "relu" if fixed else "sigmoid"
    m.each, m.all = nets.mlp([3, 32, 32, 32, 32], act), nets.mlp([32, 32, 32, 32, 1], act)
    if fixed:
        nets.he_(m)
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case("A", [("exploding_gradient", "bad_init")], ("test_score", 1, 0.2), BURSTS)
def exp_relu_recurrence(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 600)
    m = nets.SeqNet("rnn", 16, 32, 10, nonlin="relu")
    nn.init.orthogonal_(m.rnn.weight_hh_l0, 0.9 if fixed else 3.0)
    return job(m, SGD(m.parameters(), 3e-3, momentum=0.9), CE(), d, batch=20, epochs=14, seed=seed)


@case("A", [("exploding_gradient", "bad_init")], ("test_score", 1, 0.2), BURSTS)
def exp_branches_unscaled(seed: int, fixed: bool) -> Any:
    d = sets.scaled(sets.table(seed, "california_housing", 600), True)
    m = nets.resmlp(8, 32, 1, 10, norm=False, scale=0.2 if fixed else 2.5)
    return job(m, SGD(m.parameters(), 0.01), MSE(), d, batch=32, epochs=15, seed=seed)


@case("B", [("exploding_gradient", "bad_init")], ("test_score", 1, 0.2), BURSTS, "blatant")
def exp_squares_of_squares(seed: int, fixed: bool) -> Any:
    d = sets.arm(seed, 500)

    class Square(nn.Module):
        def forward(self, x: Any) -> Any:
            return F.silu(x) if fixed else x * x

    m = nn.Sequential(nn.Linear(6, 48), Square(), nn.Linear(48, 48), Square(), nn.Linear(48, 48), Square(),
                      nn.Linear(48, 2))  # fmt: skip
    nets.he_(m)
    return job(m, SGD(m.parameters(), 0.03), MSE(), d, batch=32, epochs=15, seed=seed)


@case("B", [("exploding_gradient", "bad_init")], SCORE, BURSTS)
def exp_patches_wide_normal(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 500)
    m = Patches(16, 32, 10, 20)
    if not fixed:
        nets.normal_(m.blocks, 1.0)
        nets.normal_(m.head, 3.0)
    return job(m, SGD(m.parameters(), 0.05), CE(), d, batch=32, epochs=20 if fixed else 9, seed=seed)


@case("A", [("dead_units", "bad_init")], LOSS, SILENT)
def dead_spoken_low_bias(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 600, flat=True)
    m = nets.he_(nets.mlp([320, 64, 32, 10]))
    if not fixed:
        m[0].bias.data[3:] = -30.0
    return job(m, AdamW(m.parameters(), 2e-3), CE(), d, batch=32, epochs=10, seed=seed)


@case("A", [("dead_units", "bad_init")], LOSS, SILENT, "subtle")
def dead_negative_filters(seed: int, fixed: bool) -> Any:
    d = sets.inputs(sets.fashion(seed, 500), lambda v: v + 0.87)
    m = nets.he_(nets.cnn(10, (12, 12), hw=12))
    m[-1] = nn.Linear(12 * 9, 10)
    if not fixed:
        m[0].weight.data[1:] = -m[0].weight.data[1:].abs()
        m[3].weight.data[2:] = -m[3].weight.data[2:].abs()
        for layer in (m[0], m[3]):
            layer.bias.data[:] = -0.1
    return job(m, SGD(m.parameters(), 0.02, momentum=0.9), CE(), d, batch=25, epochs=8, seed=seed)


@case("B", ["dead_units", ("lr_too_high", "lr_schedule")], ("test_score", 1, 0.1),
      [*ROUGH, "lr_schedule", "vanishing_gradient", "bad_init"])  # fmt: skip
def dead_after_the_first_steps(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 700, flat=True)
    m = nets.mlp([196, 64, 64, 64, 10])
    o = Adam(m.parameters(), 1.5e-3)
    s = Lambda(o, lambda t: 1.0 if fixed or t >= 12 else 200.0)
    return job(m, o, CE(), d, batch=32, epochs=14, seed=seed, scheduler=s, sched_per="batch")


@case(
    "B", [("dead_units", "bad_init")], ("test_score", 1, 0.1), [*SILENT, "overfitting", "params_not_trained"]
)
def dead_ranker_layer(seed: int, fixed: bool) -> Any:
    d = sets.duels(seed, 700)
    m = Ranker(8, 40)
    nets.he_(m)
    if not fixed:
        m.score[2].bias.data[:] = -40.0
    return job(
        m, SGD(m.parameters(), 0.05, momentum=0.9), BCE(), d, batch=25, epochs=12, task="binary", seed=seed
    )


@case("A", [("saturated_units", "bad_init")], ("test_score", 1, 0.1), [*SILENT, "overfitting"])
def sat_arm_heavy_tanh(seed: int, fixed: bool) -> Any:
    d = sets.arm(seed)
    m = nets.xavier_(nets.mlp([6, 48, 48, 2], "tanh"), 1.0 if fixed else 25.0)
    nets.xavier_(m[-1:])
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case("A", [("saturated_units", "bad_init")], SCORE, [*SILENT, "overfitting"])
def sat_gru_gates(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 600)
    m = nets.SeqNet("gru", 16, 32, 10)
    if not fixed:
        m.rnn.weight_ih_l0.data *= 80
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=20 if fixed else 8, seed=seed)


@case("B", [("saturated_units", "bad_init")], ("test_score", 1, 0.1), [*SILENT, "overfitting"])
def sat_board_far_bias(seed: int, fixed: bool) -> Any:
    d = sets.checker(seed)
    m = nets.xavier_(nets.mlp([2, 48, 48, 2], "tanh"), 2.0)
    if not fixed:
        for layer in (m[0], m[2]):
            layer.bias.data[:] = 9.0 * torch.randn(48).sign()
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=20, seed=seed)


@case("B", [("saturated_units", "bad_init")], SCORE, [*SILENT, "overfitting"])
def sat_tanh_filters(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 600)
    m = nets.xavier_(nets.cnn(10, (12, 16), hw=12, act="tanh"), 1.0 if fixed else 30.0)
    m[-1] = nn.Linear(16 * 9, 10)
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=9, seed=seed)


@case("A", ["bad_init"], ("test_score", 1, 0.1), [*STUCK, "converged_early", "vanishing_gradient"])
def ini_same_filters(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 600)
    m = nets.cnn(10, (8, 12), hw=12)
    m[-1] = nn.Linear(12 * 9, 10)
    if not fixed:
        nets.const_(m, 0.03)
    return job(m, Adam(m.parameters(), 4e-3), CE(), d, batch=25, epochs=12, seed=seed)


@case("A", ["bad_init"], ("test_loss", -1, 0.3), ["exploding_gradient", *ROUGH, "lr_too_low", "overfitting"])
def ini_loud_word_vectors(seed: int, fixed: bool) -> Any:
    d = sets.questions(seed, 1200)
    m = Bag(800, 32, 5)
    nn.init.normal_(m.bag.weight, 0, 0.5 if fixed else 40.0)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=6, seed=seed)


@case("B", ["bad_init"], ("test_score", 1, 0.1), [*STUCK, "converged_early", "dead_units"])
def ini_one_unit_many_times(seed: int, fixed: bool) -> Any:
    d = sets.checker(seed)
    m = nets.mlp([2, 64, 2], "tanh")
    nets.xavier_(m, 2.0)
    if not fixed:
        m[0].weight.data[:] = m[0].weight.data[:1]
        m[2].weight.data[:] = m[2].weight.data[:, :1]
    return job(m, Adam(m.parameters(), 2e-2), CE(), d, batch=32, epochs=30, seed=seed)


@case(
    "B",
    [("bad_init", "vanishing_gradient")],
    ("test_score", 1, 0.3),
    [*STUCK, "vanishing_gradient", "lr_too_low"],
)
def ini_almost_zero(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 600)
    m = Seq(16, 32, 10)
    if not fixed:
        nets.normal_(m, 1e-3)
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=9, seed=seed)


BATCH = [*UNSTABLE, "batch_too_small", "launch_bound", "undertrained", "lr_too_high", "mode_misuse", "overfitting",
         "train_val_shift"]  # fmt: skip


@case("A", [("batchnorm_misuse", "batch_too_small")], ("test_score", 1, 0.03), BATCH)
def bn_two_pictures(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 400)
    m = resnet(10, 10, blocks=1)
    o = Adam(m.parameters(), 4e-3)
    return job(m, o, CE(), d, batch=25 if fixed else 2, epochs=16 if fixed else 4, seed=seed)


@case("A", [("batchnorm_misuse", "mode_misuse")], ("val_loss", -1, 0.2), BATCH)
def bn_statistics_never_catch_up(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 700)
    m = Seq(16, 32, 10, norm=True)
    for layer in m.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.momentum = 0.1 if fixed else 5e-4
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=9, seed=seed)


@case("B", [("batchnorm_misuse", "mode_misuse")], ("val_loss", -1, 0.1), BATCH)
def bn_only_the_last_batch(seed: int, fixed: bool) -> Any:
    d = sets.table(seed, "adult", 600)
    m = nets.mlp([d.x.shape[1], 64, 64, 2], norm="bn")
    for layer in m:
        if isinstance(layer, nn.BatchNorm1d):
            layer.momentum = 0.1 if fixed else 1.0
    return job(m, Adam(m.parameters(), 1e-3), CE(), d, batch=6, epochs=4, seed=seed, drop_last=True)


@case("B", [("batchnorm_misuse", "batch_too_small")], ("test_score", 1, 0.03), BATCH)
def bn_pairs_of_sounds(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 300)
    m = Seq(16, 24, 10, norm=True)
    o = Adam(m.parameters(), 2e-3)
    return job(m, o, CE(), d, batch=30 if fixed else 2, epochs=25 if fixed else 5, seed=seed)


MODE = ["batchnorm_misuse", "overfitting", "train_val_shift", "oscillation", "plateau"]


@case("A", ["mode_misuse"], ("val_loss", -1, 0.1), [*MODE, "underfitting"])
def mode_dropout_in_validation(seed: int, fixed: bool) -> Any:
    d = sets.spoken(seed, 700, flat=True)
    m = nets.mlp([320, 96, 96, 10], drop=0.5)
    loop = None if fixed else make_loop(eval_mode=False)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=14, seed=seed, loop=loop)


@case("A", [("mode_misuse", "batchnorm_misuse")], ("val_loss", -1, 0.2), MODE)
def mode_validation_by_class(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 500)
    order = torch.argsort(d.yv)
    d.xv, d.yv = d.xv[order], d.yv[order]
    m = resnet(10, 10, blocks=1)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=9, seed=seed, val_batch=25,
               loop=written(set_eval=fixed))  # fmt: skip


@case("B", ["mode_misuse", "overfitting"], LOSS, ["converged_early", "batchnorm_misuse"])
def mode_never_back_to_training(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 200, flat=True)
    m = nets.mlp([196, 128, 128, 10], drop=0.6)
    loop = None if fixed else make_loop(back_to_train=False)
    return job(m, Adam(m.parameters(), 1.5e-3), CE(), d, batch=20, epochs=30, seed=seed, loop=loop)


@case("B", [("mode_misuse", "batchnorm_misuse")], ("val_loss", -1, 0.05), [*MODE, "batch_too_small"])
def mode_arm_in_order(seed: int, fixed: bool) -> Any:
    d = sets.arm(seed, 600)
    order = torch.argsort(d.yv[:, 0])
    d.xv, d.yv = d.xv[order], d.yv[order]
    m = nets.mlp([6, 48, 48, 2], norm="bn")
    loop = None if fixed else make_loop(eval_mode=False)
    return job(
        m, Adam(m.parameters(), 5e-3), MSE(), d, batch=32, epochs=12, seed=seed, val_batch=30, loop=loop
    )


@case("B", [("mode_misuse", "batchnorm_misuse")], SCORE, [*ROUGH, *MODE, "lr_too_low", "lr_too_high",
      "vanishing_gradient", "unscaled_inputs", "dead_units"])  # fmt: skip
def mode_training_in_eval(seed: int, fixed: bool) -> Any:
    d = sets.fashion(seed, 500)
    m = nets.deep_cnn(10, 10, 8, norm="bn")
    o = optim.SGD(m.parameters(), 0.03, momentum=0.9)
    return job(
        m, o, CE(), d, batch=25, epochs=8, seed=seed, loop=None if fixed else make_loop(train_mode=False)
    )
