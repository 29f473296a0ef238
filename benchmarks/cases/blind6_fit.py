"""Sixth blind set: models that fit too much or too little, and the time of computing.

The faults are proved as those of `blind6_loss.py`.
"""

from __future__ import annotations

import io
from typing import Any

from faultbench.lib import BCE, CE, MSE, Adam, AdamW, data, job, nets, nn, torch

from benchmarks.cases import blind3_sets as sets
from benchmarks.cases import blind6_data as more
from benchmarks.cases.blind3_parts import Patches, Rows, loader
from benchmarks.cases.blind6_parts import COST, WALL, Codes, Pooled, Words, case

MEMORY = ["converged_early"]
SMALL = ["plateau", "dead_units", "converged_early"]
SLOW = ["launch_bound", "undertrained"]


@case(["overfitting"], ("test_loss", -1, 0.2), MEMORY, "blatant")
def ovf_reviews_bag(seed: int, fixed: bool) -> Any:
    """Train word vectors on six hundred sentences of reviews for thirty epochs: all are known by heart."""
    d = more.sentences(seed, 2500 if fixed else 600)
    m = Words(2000, 32, 2, hidden=32, drop=0.6 if fixed else 0.0)
    o = Adam(m.parameters(), 3e-3)
    return job(m, o, CE(), d, batch=32, epochs=5 if fixed else 30, seed=seed)


@case(["overfitting"], ("test_loss", -1, 0.1), MEMORY)
def ovf_earners_few(seed: int, fixed: bool) -> Any:
    """Fit a wide net to 150 people for seventy epochs."""
    d = more.earners(seed, 150)
    m = nets.mlp([6, 128, 128, 2])
    o = AdamW(m.parameters(), 2e-3, weight_decay=1.0 if fixed else 0.0)
    return job(m, o, CE(), d, batch=25, epochs=8 if fixed else 70, seed=seed)


@case(["overfitting"], ("test_loss", -1, 0.1), MEMORY)
def ovf_photos_cnn(seed: int, fixed: bool) -> Any:
    """Show a CNN the same 250 photographs thirty times."""
    d = more.photos(seed, 500 if fixed else 250)
    m = nets.cnn(5, (16, 24), hw=20, cin=3, drop=0.5 if fixed else 0.0)
    return job(m, Adam(m.parameters(), 2e-3), CE(), d, batch=25, epochs=7 if fixed else 30, seed=seed)


@case(["overfitting"], ("test_loss", -1, 0.03), MEMORY, "subtle")
def ovf_houses_subtle(seed: int, fixed: bool) -> Any:
    """Train on 300 houses for ninety epochs: the error of the others has been growing since the thirtieth."""
    d = sets.table(seed, "california_housing", 300)
    sets.targets(d, lambda v: (v - 2.07) / 1.15)
    m = nets.mlp([8, 64, 64, 1])
    o = AdamW(m.parameters(), 2e-3, weight_decay=0.5 if fixed else 0.0)
    return job(m, o, MSE(), d, batch=32, epochs=15 if fixed else 90, seed=seed)


@case(["underfitting"], ("test_score", 1, 0.1), [*SMALL, "overfitting"])
def und_bag_for_an_order(seed: int, fixed: bool) -> Any:
    """Average word vectors for a task in which the order of the words is the answer."""
    d = more.before(seed, 700)
    m = Pooled(nn.GRU, 16, 24, 4, vocab=16) if fixed else Words(16, 24, 4, hidden=16)
    return job(m, Adam(m.parameters(), 1e-2), CE(), d, batch=32, epochs=16, seed=seed)


@case(["underfitting"], ("test_score", 1, 0.1), SMALL)
def und_returns_linear(seed: int, fixed: bool) -> Any:
    """Take a linear function for the cost of a way to rest, which grows with the square of the distance."""
    d = more.returns(seed, 800)
    m = nets.mlp([4, 48, 1]) if fixed else nn.Linear(4, 1)
    return job(m, Adam(m.parameters(), 1e-2), MSE(), d, batch=32, epochs=20, seed=seed)


@case(["underfitting"], ("test_score", 1, 0.05), [*SMALL, "undertrained"])
def und_one_number_a_word(seed: int, fixed: bool) -> Any:
    """Give every word a vector of one number, for four topics."""
    d = data.topics(seed, n=800, V=120, T=20, mix=0.5)
    m = Words(120, 24 if fixed else 1, 4, hidden=24)
    return job(m, Adam(m.parameters(), 1e-2), CE(), d, batch=32, epochs=12, seed=seed)


@case(["underfitting"], ("test_score", 1, 0.05), [*SMALL, "undertrained", "mode_misuse"], "subtle")
def und_dropout_in_a_transformer(seed: int, fixed: bool) -> Any:
    """Set dropout to 0.8 and more in a transformer of width 24, as the last one with width 512 could stand."""
    d = sets.spoken(seed, 600)
    m = Patches(16, 24, 10, 20, layers=1, drop=0.1 if fixed else 0.85)
    if not fixed:
        m.inp = nn.Sequential(m.inp, nn.Dropout(0.8))
    return job(m, AdamW(m.parameters(), 3e-3), CE(), d, batch=32, epochs=12, seed=seed)


@case(["wrong_dtype"], COST, SLOW)
def cmp_double_transformer(seed: int, fixed: bool) -> Any:
    """Train a transformer on sounds in float64, as soundfile gave them."""
    d = sets.spoken(seed, 240)
    m = Patches(16, 64, 10, 20, layers=1)
    if not fixed:
        m = m.double()
        sets.inputs(d, lambda v: v.double())
    return job(m, Adam(m.parameters(), 1e-3), CE(), d, batch=50, epochs=12, seed=seed)


@case(["wrong_dtype"], COST, [*SLOW, "overfitting"])
def cmp_double_autoencoder(seed: int, fixed: bool) -> Any:
    """Reconstruct clothes in float64 after dividing bytes by 255.0 in numpy."""
    d = sets.fashion(seed, 800, flat=True)
    d.y, d.yv, d.yt, d.k = d.x, d.xv, d.xt, 0
    m = nets.mlp([196, 256, 24, 256, 196])
    if not fixed:
        m = m.double()
        for change in (sets.inputs, sets.targets):
            change(d, lambda v: v.double())
    return job(m, Adam(m.parameters(), 1e-3), MSE(), d, batch=64, epochs=12, seed=seed)


@case(["input_bound"], WALL, SLOW)
def cmp_pictures_turned_by_pillow(seed: int, fixed: bool) -> Any:
    """Turn and resize every picture by Pillow, from a compressed file and back, in each epoch."""
    from PIL import Image

    d = more.photos(seed, 150)

    def turned(x: Any) -> Any:
        array = ((x + 2) * 64).clamp(0, 255).byte().permute(1, 2, 0).numpy()
        file = io.BytesIO()
        Image.fromarray(array).resize((72, 72)).save(file, "PNG")
        image = Image.open(file).rotate(5, resample=Image.BICUBIC).resize((20, 20))
        return (
            torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(20, 20, 3).permute(2, 0, 1)
            / 64
            - 2.0
        )

    m = nets.cnn(5, (8, 16), hw=20, cin=3)
    ld = None if fixed else loader(Rows(d.x, d.y, turned), 25, seed)
    return job(m, Adam(m.parameters(), 4e-3), CE(), d, batch=25, epochs=5, seed=seed, loader=ld)


@case(["input_bound"], WALL, SLOW)
def cmp_sentences_split_each_time(seed: int, fixed: bool) -> Any:
    """Keep sentences as text and look every word up in a list, in each epoch."""
    d = data.topics(seed, n=300, V=200, T=20, mix=0.5)
    names = [f"word{i}" for i in range(2000)]

    def looked_up(x: Any) -> Any:
        text = " ".join(names[10 * i] for i in x.tolist())
        return torch.tensor([names.index(w) // 10 for w in text.split()])

    m = Words(200, 24, 4, hidden=24)
    ld = None if fixed else loader(Rows(d.x, d.y, looked_up), 32, seed)
    return job(m, Adam(m.parameters(), 6e-3), CE(), d, batch=32, epochs=8, seed=seed, loader=ld)


class OneByOne(nn.Module):
    """Runs a recurrent cell step by step and row by row in Python."""

    def __init__(self, h: int, k: int) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(1, h), nn.Linear(h, k)

    def forward(self, x: Any) -> Any:
        rows = []
        for row in x:
            state = torch.zeros(1, self.cell.hidden_size)
            for value in row[0]:
                state = self.cell(value.reshape(1, 1), state)
            rows.append(state)
        return self.head(torch.cat(rows))


class AtOnce(OneByOne):
    """The same over all rows at a time."""

    def forward(self, x: Any) -> Any:
        state = torch.zeros(len(x), self.cell.hidden_size)
        for t in range(x.shape[2]):
            state = self.cell(x[:, :, t], state)
        return self.head(state)


@case(["launch_bound"], COST, ["undertrained", "underfitting", "lr_too_low", "batch_too_small", "plateau"])
def cmp_cell_row_by_row(seed: int, fixed: bool) -> Any:
    """Run a GRU cell over each row and each step in a Python loop."""
    d = data.running_sign(seed, n=128, T=6, nv=60)
    sets.inputs(d, lambda v: v.transpose(1, 2))
    d.xt, d.yt = d.xt[:100], d.yt[:100]
    m = (AtOnce if fixed else OneByOne)(12, 2)
    return job(m, Adam(m.parameters(), 3e-2), CE(), d, batch=16, epochs=7, seed=seed)


@case([("launch_bound", "batch_too_small")], COST, ["batch_too_small", "undertrained"])
def cmp_people_by_threes(seed: int, fixed: bool) -> Any:
    """Feed codes of people three at a time to a small net."""
    d, vocab = more.people(seed, 1200)
    m = Codes(vocab, 8, d=3, h=8)
    o = Adam(m.parameters(), 8e-3 if fixed else 1e-3)
    return job(m, o, BCE(), d, batch=60 if fixed else 3, epochs=10 if fixed else 3, task="binary", seed=seed)
