"""What makes a score too good to be true: a column that tells the target, rows that stand in two parts."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping

import numpy as np

from trainwell.data.cells import MOMENTS, NUMBERS, Cells
from trainwell.data.notes import Note, warning
from trainwell.data.read import Table
from trainwell.data.splits import random_of

LEAK_ROWS, LEAK_LEAST = 20_000, 60
"""Training rows that the suspicion looks at, at most and at least."""
LEAK_BINS = 64
LEAK_ACCURACY, LEAK_R2 = 0.97, 0.99
LEAK_ERROR = 0.25
"""A leak makes at most this share of the errors of always naming the commonest class."""


def leaks(cells: Mapping[str, Cells], target: np.ndarray, num_classes: int, split_seed: int) -> list[Note]:
    """Warn of columns that alone predict the target nearly perfectly, on rows that they were not fitted on.

    Each column is cut into 64 bins of equal numbers of rows (or its values); two halves of the training part
    predict each other. Numbers are predicted by rank, so that a long tail does not hide a copy.

    Args:
        cells: typed cells of the training rows by column.
        target: class indices, or numbers when `num_classes` is 0.
    """
    if len(target) < LEAK_LEAST:
        return []
    rows = random_of(split_seed, "leaks").permutation(len(target))[:LEAK_ROWS]
    y = target[rows] if num_classes else _ranks(target[rows])
    base = np.bincount(y, minlength=num_classes).max() / len(y) if num_classes else 0.0
    notes = []
    for name, column in cells.items():
        bins = _bins(column.take(rows))
        if num_classes:
            score = _accuracy(bins, y, num_classes)
            found = score > LEAK_ACCURACY and 1 - score <= LEAK_ERROR * (1 - base)
            said = f"{score:.1%} of held-out rows right (always the commonest class: {base:.1%})"
        else:
            score = _r2(bins, y)
            found, said = score > LEAK_R2, f"R2 {score:.3f} on the ranks of held-out rows"
        if found:
            mend = f"If it is not known at prediction time: --drop {name}"
            notes.append(warning("leak", f"'{name}' alone predicts the target: {said}. {mend}", name))
    return notes


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return mid-ranks in [0, 1]; equal values share a rank."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts + 1) / 2)[index] / max(1, len(values) - 1))


def _bins(cells: Cells) -> np.ndarray:
    """Return the bin of each row; missing cells are a bin of their own."""
    if cells.form not in (NUMBERS, MOMENTS):
        return cells.values + 1
    missing = cells.missing
    kept = cells.values[~missing].astype(np.float64)
    out = np.zeros(len(cells), np.int64)
    if len(kept):
        edges = np.unique(np.percentile(kept, np.linspace(0, 100, LEAK_BINS + 1)[1:-1], method="higher"))
        out[~missing] = np.searchsorted(edges, kept, side="left") + 1
    return out


def _halves(num: int) -> tuple[tuple[slice, slice], ...]:
    first, second = slice(0, num // 2), slice(num // 2, num)
    return (first, second), (second, first)


def _accuracy(bins: np.ndarray, y: np.ndarray, num_classes: int) -> float:
    right, num_bins = 0, int(bins.max()) + 1
    for fit, held in _halves(len(y)):
        counts = np.bincount(bins[fit] * num_classes + y[fit], minlength=num_bins * num_classes)
        counts = counts.reshape(num_bins, num_classes)
        guess = np.where(
            counts.sum(1) > 0, counts.argmax(1), np.bincount(y[fit], minlength=num_classes).argmax()
        )
        right += int((guess[bins[held]] == y[held]).sum())
    return right / len(y)


def _r2(bins: np.ndarray, y: np.ndarray) -> float:
    lost, num_bins = 0.0, int(bins.max()) + 1
    for fit, held in _halves(len(y)):
        counts = np.bincount(bins[fit], minlength=num_bins)
        sums = np.bincount(bins[fit], y[fit], minlength=num_bins)
        guess = np.where(counts > 0, sums / np.maximum(counts, 1), y[fit].mean())
        lost += float(((guess[bins[held]] - y[held]) ** 2).sum())
    spread = float(((y - y.mean()) ** 2).sum())
    return 1 - lost / spread if spread > 0 else 0.0


def row_hashes(columns: Mapping[str, Cells]) -> np.ndarray:
    """Return one 64-bit number per row; equal cells give equal numbers, whatever table they stand in."""
    total = np.zeros(len(next(iter(columns.values()))), np.uint64)
    for name, cells in columns.items():
        salt = np.uint64(zlib.crc32(name.encode()))
        total = _mixed(total * np.uint64(0x100000001B3) ^ _mixed(_cell_bits(cells) ^ salt))
    return total


def _cell_bits(cells: Cells) -> np.ndarray:
    if cells.form == NUMBERS:
        numbers = cells.values + 0.0  # -0.0 becomes 0.0
        numbers[np.isnan(numbers)] = np.nan
        return numbers.view(np.uint64)
    if cells.form == MOMENTS:
        return cells.values.astype(np.int64).view(np.uint64)
    words = [hashlib.blake2b(w.encode(), digest_size=8).digest() for w in cells.words]
    return np.asarray(np.append(np.frombuffer(b"".join(words), np.uint64), np.uint64(1))[cells.values])


def _mixed(bits: np.ndarray) -> np.ndarray:
    """Spread the bits (the finalizer of splitmix64)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(bits ^ (bits >> np.uint64(31)))


def duplicates(
    parts: Mapping[str, np.ndarray],
    labelled: Mapping[str, np.ndarray],
    tables: Mapping[str, Table],
    rows: Mapping[str, np.ndarray],
) -> list[Note]:
    """Warn of rows that stand in two parts.

    Args:
        parts: hashes of the features per part. labelled: hashes of features and target per part.
        tables, rows: where the rows of each part stand.
    """
    notes = []
    names = list(parts)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            same = np.isin(parts[other], parts[one])
            if not same.any():
                continue
            full = np.isin(labelled[other], labelled[one])
            shown = [tables[other].row(r) for r in rows[other][same][:3]]
            repeated = 1 - len(np.unique(parts["train"])) / len(parts["train"])
            notes.append(warning(
                "duplicates",
                f"{same.sum()} of {len(same)} rows of the {other} part have the features of a row of the "
                f"{one} "
                f"part, {full.sum()} of them its target too ({tables[other].where}: {', '.join(shown)}"
                f"{', ...' if same.sum() > 3 else ''}); {repeated:.1%} of the training rows repeat another. "
                "Remove them from training: --on-duplicates remove",
            ))  # fmt: skip
    return notes
