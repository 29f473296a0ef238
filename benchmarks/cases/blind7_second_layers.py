"""Seventh blind set, second half: layers, starts, modes, and parameters that are left out."""

from __future__ import annotations

from typing import Any

from faultbench.lib import CE, MSE, SGD, STUCK, UNSTABLE, Adam, data, job, nets, nn, torch

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases.blind3_parts import written
from benchmarks.cases.blind7_parts import Deaf, Parted, Thinned, case, every


@case("B", [("batchnorm_misuse", "mode_misuse")], ("val_loss", -1, 0.1), ["mode_misuse", "overfitting",
      "train_val_shift"])  # fmt: skip
def bn_no_running_statistics(seed: int, fixed: bool) -> Any:
    """Norm by the statistics of the batch in validation too, where the batches are single pictures."""
    d = data.shapes(seed, n=500, noise=0.3, k=5)
    m = nets.cnn(5, (8, 16), norm="bn", hw=12)
    for i, layer in enumerate(m):
        if isinstance(layer, nn.BatchNorm2d):
            m[i] = nn.BatchNorm2d(layer.num_features, track_running_stats=fixed)
    o = Adam(m.parameters(), 3e-3)
    return job(m, o, CE(), d, batch=32, epochs=9, seed=seed, val_batch=1)


@case("B", [("dead_units", "bad_init")], ("test_score", 1, 0.3), [*STUCK, "bad_init", "vanishing_gradient",
      "params_not_trained"], "blatant")  # fmt: skip
def dead_all_below_zero(seed: int, fixed: bool) -> Any:
    """Draw weights from minus one to zero for pixels that are never negative: no unit ever fires."""
    d = data.digits(seed, n=700, scale=None)
    every(d, lambda v: v / 16)
    m = nets.mlp([64, 64, 10])
    if not fixed:
        nn.init.uniform_(m[0].weight, -0.2, 0.0)
    return job(m, SGD(m.parameters(), 0.1, momentum=0.9), CE(), d, batch=32, epochs=12, seed=seed)


@case("B", [("dead_units", "bad_init")], ("test_loss", -1, 0.05), [*STUCK, "bad_init", "vanishing_gradient"])
def dead_norms_shifted(seed: int, fixed: bool) -> Any:
    """Load the shifts of layer norms from a file of another net: nine units of ten lie four deviations below zero."""
    d = data.friedman(seed, n=600, noise=0.5)
    m = nets.mlp([10, 64, 64, 1], norm="ln")
    if not fixed:
        for layer in m:
            if isinstance(layer, nn.LayerNorm):
                layer.bias.data[6:] = -5.0
    return job(m, SGD(m.parameters(), 0.03, momentum=0.9), MSE(), d, batch=32, epochs=15, seed=seed)


@case("B", [("exploding_gradient", "bad_init")], ("test_score", 1, 0.2), [*UNSTABLE, *STUCK, "bad_init", "dead_units",
      "lr_too_high"], "blatant")  # fmt: skip
def exp_recurrence_of_relus(seed: int, fixed: bool) -> Any:
    """Start a recurrence of ReLUs at 1.6 times the identity: a step of thirty multiplies by a million."""
    d = data.running_sign(seed, n=500, T=25)
    m = nets.SeqNet("rnn", 1, 24, 2, nonlin="relu")
    with torch.no_grad():
        m.rnn.weight_hh_l0.copy_((0.9 if fixed else 1.6) * torch.eye(24))
    return job(
        m, SGD(m.parameters(), 0.02), CE(), d, batch=25, epochs=12, seed=seed, clip=1.0 if fixed else None
    )


@case("B", ["bad_init"], ("test_score", 1, 0.05), [*STUCK, "converged_early"])
def ini_widened_by_copies(seed: int, fixed: bool) -> Any:
    """Widen a net of three units to sixty by copying them, without noise: copies stay copies."""
    d = data.digits(seed, n=800)
    m = nets.mlp([64, 60, 10])
    if not fixed:
        with torch.no_grad():
            m[0].weight.copy_(m[0].weight[:3].repeat(20, 1))
            m[0].bias.copy_(m[0].bias[:3].repeat(20))
            m[2].weight.copy_(m[2].weight[:, :3].repeat(1, 20))
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=15, seed=seed)


@case("B", ["bad_init"], ("test_loss", -1, 0.03), ["exploding_gradient", "overfitting", "oscillation", "dead_units",
      *STUCK], "subtle")  # fmt: skip
def ini_loud_head(seed: int, fixed: bool) -> Any:
    """Draw the last layer from N(0, 1) in a regression: the first answers are five times too large."""
    d = data.friedman(seed, n=600, noise=0.5)
    m = nets.mlp([10, 64, 64, 1])
    if not fixed:
        nn.init.normal_(m[-1].weight, 0, 1.0)
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=15, seed=seed)


@case("B", ["mode_misuse"], ("val_loss", -1, 0.05), ["underfitting", "train_val_shift", "undertrained"])
def mode_dropout_by_default(seed: int, fixed: bool) -> Any:
    """Call F.dropout without training=self.training: it drops in validation as well."""
    d = sets.spoken(seed, 800, flat=True)
    m = Thinned(320, 64, 10, fixed)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case("B", [("mode_misuse", "batchnorm_misuse")], ("val_loss", -1, 0.1), ["batchnorm_misuse", "overfitting",
      "train_val_shift", "underfitting"])  # fmt: skip
def mode_train_ignores_its_argument(seed: int, fixed: bool) -> Any:
    """Override train() to set something else, and pass True on whatever it was asked: eval() does nothing."""
    d = data.friedman(seed, n=600, noise=0.5)
    m = Deaf(nets.mlp([10, 64, 64, 1], norm="bn", drop=0.2), fixed)
    return job(m, Adam(m.parameters(), 5e-3), MSE(), d, batch=32, epochs=15, seed=seed, val_batch=6)


@case("B", ["params_not_trained"], ("test_score", 1, 0.05), [*STUCK, "overfitting"])
def pnt_new_vectors(seed: int, fixed: bool) -> Any:
    """Make new word vectors for a larger vocabulary when the optimiser already holds the old ones."""
    d = data.topics(seed, n=500, V=250, T=12, mix=0.6)
    m = nets.BagOfWords(80, 8, 4, hidden=32)
    if fixed:
        m.emb = nn.Embedding(250, 8)
    o = Adam(m.parameters(), 4e-3)
    if not fixed:
        m.emb = nn.Embedding(250, 8)
    return job(m, o, CE(), d, batch=25, epochs=12, seed=seed)


@case("B", ["params_not_trained"], ("test_score", 1, 0.1), [*STUCK, "overfitting"])
def pnt_cut_before_the_head(seed: int, fixed: bool) -> Any:
    """Leave a detach() from a plot of the features between body and head."""
    d = data.shapes(seed, n=600, noise=0.25, k=5)
    net = nets.cnn(5, (8, 16), hw=12)
    m = Parted(net[:-1], net[-1], not fixed)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=10, seed=seed)


@case("B", ["saturated_units", "lr_too_high"], ("test_score", 1, 0.05), [*UNSTABLE, *STUCK, "lr_too_high",
      "vanishing_gradient"])  # fmt: skip
def sat_driven_to_the_walls(seed: int, fixed: bool) -> Any:
    """Train a tanh net at a rate that drives its units to plus and minus one in the first steps."""
    d = data.digits(seed, n=700)
    m = nets.mlp([64, 48, 48, 10], "tanh")
    return job(
        m, SGD(m.parameters(), 0.05 if fixed else 1.5, momentum=0.9), CE(), d, batch=32, epochs=12, seed=seed
    )


@case("B", ["vanishing_gradient"], ("test_score", 1, 0.3), [*STUCK, "bad_init", "overfitting"])
def van_twelve_tanh_layers(seed: int, fixed: bool) -> Any:
    """Stack twelve tanh layers at PyTorch's default start, where each halves what comes back."""
    d = data.digits(seed, n=700)
    m = nets.mlp([64] + [32] * 12 + [10], "tanh")
    if fixed:
        nets.xavier_(m, 1.4)
    return job(m, SGD(m.parameters(), 0.03), CE(), d, batch=32, epochs=12, seed=seed)


@case("B", ["missing_zero_grad"], ("test_loss", -1, 0.05), [*UNSTABLE, "lr_too_high", "dead_units", "undertrained",
      "overfitting", "saturated_units"])  # fmt: skip
def zgr_once_an_epoch(seed: int, fixed: bool) -> Any:
    """Call zero_grad() in the outer loop, once an epoch."""
    d = data.friedman(seed, n=500, noise=0.5)
    m = nets.mlp([10, 48, 1])
    loop = written(zero="step" if fixed else "epoch")
    return job(m, SGD(m.parameters(), 0.07), MSE(), d, batch=25, epochs=20, seed=seed, loop=loop)
