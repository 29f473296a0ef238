"""Fifth blind set, second author: scale, order, origin of rows; several faults (see `blind5_second_loss.py`)."""

from __future__ import annotations

from typing import Any

from faultbench.core import Data
from faultbench.lib import (
    CE,
    MSE,
    SGD,
    STUCK,
    UNSTABLE,
    Adam,
    data,
    job,
    make_loop,
    nets,
    nn,
    np,
    optim,
    torch,
)

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases.blind5_parts import case

APART = ["overfitting"]
LOST = [*STUCK, "label_noise", "overfitting", "bad_features"]
SCALE = [*STUCK, *UNSTABLE, "dead_units", "lr_too_high"]
FAR = [*STUCK, "lr_too_low", "exploding_gradient", "train_val_shift"]
ORDER = [*UNSTABLE, "undertrained", "train_val_shift", "lr_too_high", "overfitting"]


@case(["train_val_shift"], ("val_score", 1, 0.1), [*APART, "unscaled_inputs", "bad_features"])
def shf_val_in_other_units(seed: int, fixed: bool) -> Any:
    """Standardise training and forget validation, which stays in raw grams and degrees."""
    d = data.wine(seed) if fixed else data.wine(seed, scale=None)
    if not fixed:
        scaled = data.wine(seed)
        d.x, d.xt = scaled.x, scaled.xt
    m = nets.mlp([13, 32, 3])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=20, epochs=24, seed=seed)


@case(["train_val_shift"], ("val_score", 1, 0.1), [*APART, "bad_features"])
def shf_val_turned(seed: int, fixed: bool) -> Any:
    """Read the validation images column by column: all digits lie on their side."""
    d = data.digits(seed, n=700, image=True)
    if not fixed:
        d.xv = d.xv.transpose(2, 3).contiguous()
    m = nets.cnn(10, (8, 16))
    return job(m, SGD(m.parameters(), 0.02, momentum=0.9), CE(), d, batch=32, epochs=10, seed=seed)


@case(["train_val_shift"], ("val_score", 1, 0.03), APART, "subtle")
def shf_noisier_camera_subtle(seed: int, fixed: bool) -> Any:
    """Take the validation pictures with another camera, whose noise is twice as strong."""
    d = data.shapes(seed, n=700, noise=0.25, k=6)
    if not fixed:
        other = torch.Generator().manual_seed(seed + 73)
        d.xv = d.xv + 0.45 * torch.randn(d.xv.shape, generator=other)
    m = nets.cnn(6, (12, 24), hw=12)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=10, seed=seed)


@case(["train_val_shift"], ("val_score", 1, 0.05), [*APART, "unscaled_targets"])
def shf_series_new_level(seed: int, fixed: bool) -> Any:
    """Forecast a series whose level and swing grew after the last training row."""
    d = data.series(seed, n=600, T=12)
    if not fixed:
        for a in ("xv", "yv"):
            setattr(d, a, 2 * getattr(d, a) + 8)
    m = nets.mlp([12, 32, 1], "tanh")
    return job(m, Adam(m.parameters(), 4e-3), MSE(), d, batch=32, epochs=15, seed=seed)


@case([("shuffled_labels", "label_noise")], ("test_score", 1, 0.5), LOST, "blatant")
def shl_digits_cnn(seed: int, fixed: bool) -> Any:
    """List the images by name and the labels by date."""
    d = data.digits(seed, n=600, image=True)
    if not fixed:
        d.y, d.yv = data.permute(d.y, seed), data.permute(d.yv, seed + 1)
    m = nets.cnn(10, (8, 16))
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=16, seed=seed)


@case([("shuffled_labels", "label_noise")], ("test_score", 1, 0.3), LOST)
def shl_topics_off_by_one(seed: int, fixed: bool) -> Any:
    """Lose the header row of the labels alone: every text has the topic of the next one."""
    d = data.topics(seed, n=600, V=150, mix=0.5)
    if not fixed:
        d.y, d.yv = d.y.roll(-1), d.yv.roll(-1)
    m = nets.BagOfWords(150, 24, 4, hidden=32)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=10, seed=seed)


@case([("shuffled_labels", "label_noise")], ("test_score", 1, 0.3), [*LOST, "train_val_shift"])
def shl_cancer_train_only(seed: int, fixed: bool) -> Any:
    """Sort the training features and not the diagnoses; validation came from another file."""
    d = data.cancer(seed)
    if not fixed:
        d.y = data.permute(d.y, seed)
    m = nets.mlp([30, 24, 2])
    return job(m, SGD(m.parameters(), 0.05), CE(), d, batch=32, epochs=15, seed=seed)


@case(["unscaled_inputs"], ("test_score", 1, 0.1), SCALE, "blatant")
def uns_friedman_powers(seed: int, fixed: bool) -> Any:
    """Measure ten features in units from thousandths to tens of thousands."""
    d = data.friedman(seed, n=600, noise=0.5)
    if not fixed:
        units = 10.0 ** torch.tensor([-2.0, 3, 0, 4, -1, 2, 4, 1, 3, 0])
        sets.inputs(d, lambda x: x * units)
    m = nets.mlp([10, 64, 64, 1])
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=25, seed=seed)


@case(["unscaled_inputs"], ("test_score", 1, 0.1), SCALE)
def uns_pixels_sgd(seed: int, fixed: bool) -> Any:
    """Feed pixels of 0 to 255 to a small CNN with SGD at the rate for scaled ones."""
    d = data.digits(seed, n=700, image=True, scale="global" if fixed else None)
    if not fixed:
        sets.inputs(d, lambda x: x * 16)
    m = nets.cnn(10, (8, 16))
    return job(m, SGD(m.parameters(), 0.03), CE(), d, batch=32, epochs=26, seed=seed)


@case(["unscaled_inputs"], ("test_loss", -1, 0.05), [*SCALE, "saturated_units"], "subtle")
def uns_offset_subtle(seed: int, fixed: bool) -> Any:
    """Leave moons at their coordinates on the map, 60 east and 45 north."""
    d = data.moons(seed, n=600, noise=0.2)
    if not fixed:
        sets.inputs(d, lambda x: x + torch.tensor([60.0, 45.0]))
    m = nets.mlp([2, 32, 32, 2])
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=25, seed=seed)


@case(["unscaled_targets"], ("test_score", 1, 0.3), [*FAR, "vanishing_gradient"])
def unt_prices_adam(seed: int, fixed: bool) -> Any:
    """Predict prices of 300,000 give or take 80,000 from a net whose outputs start near zero."""
    d = data.friedman(seed, n=600, noise=0.5)
    if not fixed:
        sets.targets(d, lambda y: 80_000 * y + 300_000)
    m = nets.mlp([10, 64, 64, 1])
    return job(m, Adam(m.parameters(), 2e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case(
    ["unscaled_targets"],
    ("test_score", 1, 0.3),
    [*UNSTABLE, "lr_too_high", "dead_units", "bad_features"],
    "blatant",
)
def unt_thousands_sgd(seed: int, fixed: bool) -> Any:
    """Use SGD at 0.02 on targets in thousands: NaN after a few steps."""
    d = data.linreg(seed, n=400, noise=1.0)
    if fixed:
        sets.targets(d, lambda y: y / 3)
    else:
        sets.targets(d, lambda y: y * 1500)
    m = nets.mlp([8, 32, 1])
    return job(m, SGD(m.parameters(), 0.02), MSE(), d, batch=32, epochs=25, seed=seed)


@case(["unscaled_targets"], ("test_score", 1, 0.02), [*FAR, "undertrained"], "subtle")
def unt_friedman_raw_subtle(seed: int, fixed: bool) -> Any:
    """Leave Friedman's targets as they are, at 14 with a spread of 5."""
    d = data.friedman(seed, n=500, noise=0.5, yscale=fixed)
    m = nets.mlp([10, 48, 48, 1])
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=25, seed=seed)


@case(["unshuffled_data"], ("test_score", 1, 0.05), [*ORDER, "batchnorm_misuse", "mode_misuse"], "blatant")
def ush_batchnorm_sorted(seed: int, fixed: bool) -> Any:
    """Read the digits folder by folder into a net with batch norm: each batch holds one digit."""
    d = data.sort_by_label(data.digits(seed, n=800))
    m = nets.mlp([64, 64, 64, 10], norm="bn")
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=10, seed=seed, shuffle=fixed)


@case(["unshuffled_data"], ("test_loss", -1, 0.05), ORDER)
def ush_topics_by_topic(seed: int, fixed: bool) -> Any:
    """Concatenate four files of one topic each and do not shuffle."""
    d = data.sort_by_label(data.topics(seed, n=700, V=150, mix=0.6))
    m = nets.Transformer(150, 32, 4, 20, layers=1, heads=2)
    return job(m, Adam(m.parameters(), 6e-3), CE(), d, batch=32, epochs=7, seed=seed, shuffle=fixed)


@case(
    ["loss_mismatch", "unscaled_inputs"],
    ("test_score", 1, 0.05),
    [*SCALE, "saturated_units", "vanishing_gradient"],
)
def mul_softmax_raw_cancer(seed: int, fixed: bool) -> Any:
    """Train on raw measurements with softmax before CrossEntropyLoss."""
    d = data.cancer(seed, scale="std" if fixed else None)
    m = nets.mlp([30, 32, 2], last=None if fixed else nn.Softmax(-1))
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=15, seed=seed)


@case(["label_noise", "overfitting"], ("test_loss", -1, 0.3), ["converged_early"])
def mul_noise_learnt_by_heart(seed: int, fixed: bool) -> Any:
    """Train a wide net for sixty epochs on digits of which a fifth is labelled wrong."""
    d = data.digits(seed, n=400, noise=3.0)
    if not fixed:
        d.y, d.yv = data.flip_labels(d.y, 0.2, 10, seed), data.flip_labels(d.yv, 0.2, 10, seed + 1)
    m = nets.mlp([64, 256, 10])
    return job(m, Adam(m.parameters(), 1e-3), CE(), d, batch=32, epochs=10 if fixed else 60, seed=seed)


@case(["unscaled_inputs", "unscaled_targets"], ("test_score", 1, 0.2), [*SCALE, *FAR])
def mul_both_sides_raw(seed: int, fixed: bool) -> Any:
    """Predict yearly sales in euros from a year, a price and a number of visitors, all as they are."""
    d = sales(seed, fixed)
    m = nets.mlp([3, 48, 48, 1])
    return job(m, Adam(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=25, seed=seed)


def sales(seed: int, scaled: bool) -> Data:
    """Return sales by year, price and visitors."""
    r = np.random.default_rng(seed + 3)
    year, price, visits = r.integers(1990, 2024, 1300), r.uniform(0.5, 9.0, 1300), r.uniform(2e3, 9e4, 1300)
    sold = visits * (1 + 0.03 * (year - 1990)) * np.exp(-price / 5) * price * r.normal(1, 0.05, 1300)
    return data.split(
        np.stack([year, price, visits], 1), sold, 500, 300, seed, 0, "std" if scaled else None, scaled
    )


@case(["unshuffled_data", "lr_too_high"], ("test_score", 1, 0.1), [*ORDER, "dead_units", "saturated_units"])
def mul_sorted_and_fast(seed: int, fixed: bool) -> Any:
    """Read shapes class by class, with a momentum of 0.9 at ten times the rate that serves."""
    d = data.shapes(seed, n=600, noise=0.25, k=4)
    if not fixed:
        d = data.sort_by_label(d)
    m = nets.cnn(4, (12, 24), "bn", hw=12)
    o = SGD(m.parameters(), 0.02 if fixed else 0.4, momentum=0.9)
    return job(m, o, CE(), d, batch=32, epochs=10, seed=seed, shuffle=fixed)


@case([("vanishing_gradient", "saturated_units"), "lr_too_low"], ("test_score", 1, 0.3), [*STUCK, "bad_init"])
def mul_deep_sigmoid_slow(seed: int, fixed: bool) -> Any:
    """Train five sigmoid layers by SGD at 0.001 on wines."""
    d = data.wine(seed)
    m = nets.mlp([13] + [32] * 5 + [3], "relu" if fixed else "sigmoid")
    if fixed:
        nets.he_(m)
    return job(m, SGD(m.parameters(), 0.05 if fixed else 1e-3), CE(), d, batch=10, epochs=18, seed=seed)


@case(
    ["missing_zero_grad", "lr_schedule"],
    ("test_loss", -1, 0.05),
    [*UNSTABLE, *STUCK, "lr_too_high", "lr_too_low"],
)
def mul_kept_gradients_and_gamma(seed: int, fixed: bool) -> Any:
    """Never clear gradients, and step an ExponentialLR of 0.9 with every batch."""
    d = data.digits(seed, n=800)
    m = nets.mlp([64, 64, 10])
    o = SGD(m.parameters(), 0.1)
    s = optim.lr_scheduler.ExponentialLR(o, 0.9)
    return job(m, o, CE(), d, batch=32, epochs=14, seed=seed, scheduler=s, sched_per="epoch" if fixed else "batch",
               loop=None if fixed else make_loop(zero_grad=False))  # fmt: skip
