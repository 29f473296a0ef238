"""Faulty trainings written before the doctor was asked: data and cost.

See `blind_faults.py`.
"""

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
    data,
    job,
    nets,
    np,
    optim,
    torch,
)

from benchmarks.cases.blind_faults import LOSS, ROUGH, case
from benchmarks.cases.blind_sets import (
    Coded,
    codes,
    conv1d,
    exact,
    longs,
    several_labels,
)


@case(["label_noise"], ("val_loss", -1, 0.15), ["converged_early", "plateau", "overfitting"])
def lbn_cnn_digits(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=900, image=True)
    if not fixed:
        d.y, d.yv = data.flip_labels(d.y, 0.2, 10, seed), data.flip_labels(d.yv, 0.2, 10, seed + 1)
    m = nets.cnn(10, (8, 16))
    return job(m, AdamW(m.parameters(), 3e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case(["label_noise"], ("val_loss", -1, 0.1), ["converged_early", "plateau", "overfitting", "underfitting"])
def lbn_pairs_of_classes(seed: int, fixed: bool) -> Any:
    d = data.blobs(seed, k=5, n=700, std=1.0, dim=5)
    if not fixed:
        swap = [1, 0, 3, 2, 4]
        d.y, d.yv = (data.flip_labels(v, 0.15, 5, seed + i, swap) for i, v in enumerate((d.y, d.yv)))
    m = nets.mlp([5, 24, 5], "elu")
    o = SGD(m.parameters(), 0.05, momentum=0.9)
    return job(m, o, CE(), d, batch=32, epochs=20, seed=seed, scheduler=optim.lr_scheduler.StepLR(o, 8, 0.3))


@case(
    [("shuffled_labels", "label_noise")],
    ("test_score", 1, 0.3),
    [*STUCK, "label_noise", "overfitting", "bad_features"],
)
def shl_topics(seed: int, fixed: bool) -> Any:
    d = data.topics(seed, n=500, V=150, T=16, mix=0.4)
    if not fixed:
        d.y, d.yv = data.permute(d.y, seed), data.permute(d.yv, seed + 1)
    m = nets.BagOfWords(150, 24, 4, hidden=32)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=15, seed=seed)


@case(
    [("shuffled_labels", "label_noise")],
    ("test_score", 1, 0.3),
    [*STUCK, "label_noise", "overfitting", "bad_features"],
)
def shl_labels(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=800, image=True)
    if not fixed:
        d.y, d.yv = data.permute(d.y, seed), data.permute(d.yv, seed + 1)
    m = nets.cnn(10, (8, 16), norm="gn")
    return job(m, AdamW(m.parameters(), 2e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case(["class_imbalance"], ("test_bal", 1, 0.03), ["undertrained", "underfitting", "overfitting"])
def imb_tabular_binary(seed: int, fixed: bool) -> Any:
    d = data.hardclass(seed, n=2500, d=12, inf=6, k=2, sep=1.0)
    d = data.imbalance(d, {0: 900, 1: 25}, seed)
    w = torch.tensor([1.0, 25.0]) if fixed else None
    m = nets.mlp([12, 32, 2])
    return job(m, AdamW(m.parameters(), 2e-3), CE(weight=w), d, batch=32, epochs=10, seed=seed)


@case(["class_imbalance"], ("test_bal", 1, 0.05), ["undertrained", "underfitting", "overfitting"])
def imb_waves_gru(seed: int, fixed: bool) -> Any:
    d = data.topics(seed, n=1600, V=150, T=12, k=3, mix=0.7)
    d = data.imbalance(d, {0: 420, 1: 420, 2: 14}, seed)
    w = torch.tensor([1.0, 1.0, 25.0]) if fixed else None
    m = nets.SeqNet("gru", 16, 24, 3, vocab=150)
    return job(m, Adam(m.parameters(), 3e-3), CE(weight=w), d, batch=32, epochs=8, seed=seed)


@case(["leakage"], ("optimism", -1, 0.05), ["overfitting", "converged_early", "label_noise"])
def lkg_copies_before_split(seed: int, fixed: bool) -> Any:
    d = data.hardclass(seed, n=250, d=30, inf=6, flip=0.0)
    if not fixed:
        take = torch.randperm(250, generator=torch.Generator().manual_seed(seed))[:150]
        d.xv, d.yv = torch.cat([d.xv[:100], d.x[take]]), torch.cat([d.yv[:100], d.y[take]])
    m = nets.mlp([30, 64, 2])
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=32, epochs=4, seed=seed)


@case(["leakage"], ("optimism", -1, 0.1), ["converged_early", "unscaled_inputs", "train_val_shift"])
def lkg_column(seed: int, fixed: bool) -> Any:
    d = data.hardclass(seed, n=500, d=20, inf=6, k=2, flip=0.1, sep=0.7)
    g = torch.Generator().manual_seed(seed + 5)
    if not fixed:
        for a, b in (("x", "y"), ("xv", "yv")):
            v = getattr(d, a)
            v[:, 11] = (getattr(d, b).float() - 0.5) * 2 + 0.2 * torch.randn(len(v), generator=g)
    m = nets.mlp([20, 48, 2])
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case(["train_val_shift"], ("val_loss", -1, 0.2), ["overfitting", "unscaled_inputs"])
def shf_scaled_apart(seed: int, fixed: bool) -> Any:
    d = data.waves(seed, n=400, T=32, k=4, noise=0.5)
    if not fixed:
        d.xv = d.xv * 0.25 + 1.0
    m = conv1d(4)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case(["train_val_shift"], ("val_score", 1, 0.05), ["overfitting", "leakage"])
def shf_inverted_images(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=900, image=True)
    if not fixed:
        d.xv = torch.roll(d.xv, 2, dims=3) + 0.8
    m = nets.cnn(10, (8, 16))
    return job(m, SGD(m.parameters(), 0.03, momentum=0.9), CE(), d, batch=32, epochs=10, seed=seed)


@case(["bad_features"], ("test_score", 1, 0.05), [*ROUGH, "overfitting", "train_val_shift"])
def bft_columns_zero(seed: int, fixed: bool) -> Any:
    d = data.friedman(seed, n=600, noise=0.5)
    if not fixed:
        for a in ("x", "xv", "xt"):
            getattr(d, a)[:, [0, 1, 3, 6]] = 0.0
    m = nets.mlp([10, 48, 1], "elu")
    return job(m, AdamW(m.parameters(), 3e-3), MSE(), d, batch=32, epochs=20, seed=seed)


@case(["bad_features"], ("test_score", 1, 0.2), [*ROUGH, "exploding_gradient", "lr_too_high"])
def bft_nan_cells(seed: int, fixed: bool) -> Any:
    d = data.cancer(seed)
    if not fixed:
        g = torch.Generator().manual_seed(seed + 3)
        for a in ("x", "xv"):
            v = getattr(d, a)
            v[torch.rand(v.shape, generator=g) < 0.002] = float("nan")
    m = nets.mlp([30, 32, 2], norm="ln")
    return job(m, SGD(m.parameters(), 0.05), CE(), d, batch=32, epochs=12, seed=seed)


@case(
    ["unshuffled_data"],
    ("test_score", 1, 0.05),
    [*UNSTABLE, "undertrained", "train_val_shift", "lr_too_high", "overfitting"],
)
def ush_conv1d_adam(seed: int, fixed: bool) -> Any:
    d = data.sort_by_label(data.waves(seed, n=600, T=32, k=4, noise=0.8))
    m = conv1d(4)
    return job(m, Adam(m.parameters(), 5e-3), CE(), d, batch=32, epochs=12, seed=seed, shuffle=fixed)


@case(["unshuffled_data"], LOSS, [*UNSTABLE, "undertrained", "train_val_shift", "lr_too_high", "overfitting"])
def ush_codes_by_target(seed: int, fixed: bool) -> Any:
    d = data.sort_by_label(longs(codes(seed)))
    m = Coded()
    o = SGD(m.parameters(), 0.03, momentum=0.9)
    return job(m, o, MSE(), d, batch=32, epochs=15, seed=seed, shuffle=fixed)


class Parsed(torch.utils.data.Dataset):
    """Rows kept as text and read anew in every epoch."""

    def __init__(self, x: Any, y: Any) -> None:
        self.lines, self.y = [",".join(f"{v:.6f}" for v in row) for row in x.flatten(1).tolist()], y

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, i: int) -> Any:
        for _ in range(10):
            row = np.array([float(v) for v in self.lines[i].split(",")], np.float32)
        return torch.from_numpy(row), self.y[i]


@case(["input_bound"], ("wall_us_per_sample", -1, 100), ["launch_bound", "undertrained"])
def cmp_text_rows(seed: int, fixed: bool) -> Any:
    d = several_labels(seed, n=500, d=60)
    m = nets.mlp([60, 48, 6])
    load = None if fixed else torch.utils.data.DataLoader(Parsed(d.x, d.y), 32, shuffle=True)
    return job(
        m,
        AdamW(m.parameters(), 5e-3),
        BCE(),
        d,
        batch=32,
        epochs=8,
        metric=exact,
        task="binary",
        seed=seed,
        loader=load,
    )


@case(["wrong_dtype"], ("us_per_sample", -1, 5), ["launch_bound"])
def cmp_double_conv(seed: int, fixed: bool) -> Any:
    d = data.digits(seed, n=500, image=True)
    m = nets.cnn(10, (24, 48))
    if not fixed:
        m = m.double()
        d.x, d.xv, d.xt = d.x.double(), d.xv.double(), d.xt.double()
    return job(m, SGD(m.parameters(), 0.05, momentum=0.9), CE(), d, batch=64, epochs=8, seed=seed)


@case([("launch_bound", "batch_too_small")], ("us_per_sample", -1, 50), ["batch_too_small", "undertrained"])
def cmp_tiny_batches(seed: int, fixed: bool) -> Any:
    d = data.wine(seed)
    m = nets.mlp([13, 12, 3], "tanh")
    o = SGD(m.parameters(), 0.1 if fixed else 0.02, momentum=0.5)
    return job(m, o, CE(), d, batch=25 if fixed else 2, epochs=40 if fixed else 10, seed=seed)
