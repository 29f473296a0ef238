"""Eighth blind set, first half: time that is spent on something else than learning.

Every fault is proved by a twin that does clearly better (`python benchmarks/faultbench.py --blind8 A --prove`).
"""

from __future__ import annotations

import ast
import io
from decimal import Decimal
from typing import Any

from faultbench.lib import CE, MSE, Adam, data, job, nets, nn, np, torch

from benchmarks.cases.blind7_parts import batches, every
from benchmarks.cases.blind8_parts import COST, WALL, case, over_time


@case("A", ["wrong_dtype"], COST, ["launch_bound"])
def cmp_float64_autoencoder(seed: int, fixed: bool) -> Any:
    """Compute an autoencoder in float64, since numpy drew its rows so."""
    d = data.digits(seed, n=1000)
    d.y, d.yv, d.yt, d.k = d.x, d.xv, d.xt, 0
    m = nets.mlp([64, 384, 32, 384, 64], "gelu")
    if not fixed:
        m = m.double()
        d = every(d, torch.Tensor.double, ("x", "xv", "xt", "y", "yv", "yt"))
    return job(m, Adam(m.parameters(), 1e-3), MSE(), d, batch=64, epochs=8, seed=seed)


@case("A", ["wrong_dtype"], COST, ["launch_bound"])
def cmp_float64_for_accuracy(seed: int, fixed: bool) -> Any:
    """Call .double() on a CNN "for accuracy" and cast the pictures in its first layer."""
    d = data.shapes(seed, n=500, noise=0.3, k=4)
    m = nets.cnn(4, (16, 32), hw=12)
    if not fixed:
        m = nn.Sequential(Cast(), m.double())
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=50, epochs=6, seed=seed)


class Cast(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.double()


class Records(torch.utils.data.Dataset):
    """Rows kept as lines of text and parsed whenever they are asked for."""

    def __init__(self, x: Any, y: Any) -> None:
        self.lines = [repr({f"f{i:02d}": v for i, v in enumerate(row)}) for row in x.tolist()]
        self.y = y

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> Any:
        row = ast.literal_eval(self.lines[i])
        return torch.tensor([float(Decimal(str(row[k]))) for k in sorted(row)]), self.y[i]


@case("A", ["input_bound"], WALL, ["launch_bound", "undertrained"])
def cmp_input_records(seed: int, fixed: bool) -> Any:
    """Parse every row from its line of text in each epoch."""
    d = data.digits(seed, n=400)
    m = nets.mlp([64, 32, 10])
    loader = None if fixed else batches(Records(d.x, d.y), 32, seed)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=32, epochs=6, seed=seed, loader=loader)


class Archive(torch.utils.data.Dataset):
    """Pictures in compressed archives, opened whenever they are asked for."""

    def __init__(self, x: Any, y: Any) -> None:
        self.files, self.y = [], y
        for image in x.numpy():
            file = io.BytesIO()
            parts = {"mask": image > 0, "scale": image.std(), "mean": image.mean(), "size": image.shape}
            np.savez_compressed(file, image=image, place=np.arange(2), **parts)
            self.files.append(file.getvalue())

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> Any:
        with np.load(io.BytesIO(self.files[i])) as archive:
            parts = {name: archive[name] for name in archive.files}
        return torch.as_tensor(parts["image"]), self.y[i]


@case("A", ["input_bound"], WALL, ["launch_bound", "undertrained"])
def cmp_input_archives(seed: int, fixed: bool) -> Any:
    """Unpack one .npz archive for every picture and epoch."""
    d = data.digits(seed, n=500, image=True)
    m = nets.mlp([64, 64, 10], flat=True)
    loader = None if fixed else batches(Archive(d.x, d.y), 25, seed)
    return job(m, Adam(m.parameters(), 3e-3), CE(), d, batch=25, epochs=5, seed=seed, loader=loader)


@case(
    "A", [("launch_bound", "batch_too_small")], ("us_per_sample", -1, 50), ["batch_too_small", "undertrained"]
)
def cmp_launch_b3(seed: int, fixed: bool) -> Any:
    """Feed a tiny regression three rows at a time."""
    d = data.sine(seed, n=600, noise=0.1, freq=1.0)
    m = nets.mlp([1, 24, 1], "tanh")
    batch, epochs, rate = (60, 40, 2e-2) if fixed else (3, 6, 3e-3)
    return job(m, Adam(m.parameters(), rate), MSE(), d, batch=batch, epochs=epochs, seed=seed)


class Stepped(nn.Module):
    """A GRU whose steps are a loop in Python over single numbers' worth of arithmetic."""

    def __init__(self, h: int, k: int) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(1, h), nn.Linear(h, k)

    def forward(self, x: Any) -> Any:
        h = x.new_zeros(len(x), self.cell.hidden_size)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
        return self.head(h)


@case("A", ["launch_bound"], ("us_per_sample", -1, 50), ["batch_too_small", "undertrained"])
def cmp_launch_cell_by_cell(seed: int, fixed: bool) -> Any:
    """Loop over the steps of a small GRU in Python, at a batch of twelve."""
    d = over_time(data.waves(seed, n=600, T=24, k=3, noise=0.4))
    m = nets.SeqNet("gru", 1, 16, 3) if fixed else Stepped(16, 3)
    batch, epochs, rate = (48, 10, 1e-2) if fixed else (12, 5, 5e-3)
    return job(m, Adam(m.parameters(), rate), CE(), d, batch=batch, epochs=epochs, seed=seed)
