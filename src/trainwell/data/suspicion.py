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
FEW_VALUES = 64
"""A number with at most so many values is looked up, one with more is compared with its neighbours."""
LEAK_CELLS = 2_000_000
"""Cells that the suspicion looks at, so that wide tables do not wait."""
LEAK_ACCURACY, LEAK_R2 = 0.97, 0.99
LEAK_ERROR = 0.25
"""A leak makes at most this share of the errors of always naming the commonest class."""


def leaks(cells: Mapping[str, Cells], target: np.ndarray, num_classes: int, split_seed: int) -> list[Note]:
    """Warn of columns that alone predict the target nearly perfectly, on rows that they were not fitted on.

    A row is predicted by the rows of the other half with the same value or, of numbers with many values, by
    its neighbours in order. Targets are predicted by rank, so that a long tail does not hide a copy. A column
    is judged on all rows, and on those where it is not missing if they are at least half.

    Args:
        cells: typed cells of the training rows by column.
        target: class indices, or numbers when `num_classes` is 0.
    """
    if len(target) < LEAK_LEAST:
        return []
    most = max(1000, min(LEAK_ROWS, LEAK_CELLS // max(1, len(cells))))
    rows = random_of(split_seed, "leaks").permutation(len(target))[:most]
    y = target[rows] if num_classes else _ranks(target[rows])
    notes = []
    for name, column in cells.items():
        sampled = column.take(rows)
        guess, present = _guess(sampled, y, num_classes), ~sampled.missing
        said = _verdict(guess, y, num_classes)
        if not said and not present.all() and present.sum() >= max(LEAK_LEAST, len(y) / 2):
            said = _verdict(guess[present], y[present], num_classes)
        if said:
            mend = f"If it is not known at prediction time: --drop {name}"
            notes.append(warning("leak", f"'{name}' alone predicts the target: {said}. {mend}", name))
    return notes


def _verdict(guess: np.ndarray, y: np.ndarray, num_classes: int) -> str:
    """Return how well the guesses do if that is suspicious, else the empty string."""
    if num_classes:
        score, base = float((guess == y).mean()), np.bincount(y).max() / len(y)
        if score <= LEAK_ACCURACY or 1 - score > LEAK_ERROR * (1 - base) or base == 1:
            return ""
        return f"{score:.1%} of held-out rows right (always the commonest class: {base:.1%})"
    spread = float(((y - y.mean()) ** 2).sum())
    score = 1 - float(((guess - y) ** 2).sum()) / spread if spread else 0.0
    return f"R2 {score:.3f} on the ranks of held-out rows" if score > LEAK_R2 else ""


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return mid-ranks in [0, 1]; equal values share a rank."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts + 1) / 2)[index] / max(1, len(values) - 1))


def _guess(cells: Cells, y: np.ndarray, num_classes: int) -> np.ndarray:
    """Predict every row from other rows by this column alone."""
    if cells.form not in (NUMBERS, MOMENTS):
        return _guess_by_value(cells.values + 1, y, num_classes)
    missing = cells.missing
    distinct, value = np.unique(cells.values[~missing], return_inverse=True)
    known = (~missing).astype(np.int64)
    if len(distinct) <= FEW_VALUES:
        known[~missing] = value + 1
        return _guess_by_value(known, y, num_classes)
    guess = _guess_by_value(known, y, num_classes)
    order = np.flatnonzero(~missing)[np.argsort(value, kind="stable")]
    guess[order] = _guess_by_neighbours(y[order], num_classes)
    return guess


def _guess_by_value(value: np.ndarray, y: np.ndarray, num_classes: int) -> np.ndarray:
    """Predict each half by what the other half has for the same value."""
    guess, num_values, half = np.empty_like(y), int(value.max()) + 1, len(y) // 2
    for fit, held in ((slice(0, half), slice(half, None)), (slice(half, None), slice(0, half))):
        counts = np.bincount(value[fit], minlength=num_values)
        if num_classes:
            pairs = np.bincount(value[fit] * num_classes + y[fit], minlength=num_values * num_classes)
            best = pairs.reshape(num_values, num_classes).argmax(1)
            best[counts == 0] = np.bincount(y[fit]).argmax()
        else:
            best = np.bincount(value[fit], y[fit], minlength=num_values) / np.maximum(counts, 1)
            best[counts == 0] = y[fit].mean()
        guess[held] = best[value[held]]
    return guess


def _guess_by_neighbours(y: np.ndarray, num_classes: int) -> np.ndarray:
    """Predict each row of a sorted column by two rows on either side; at the ends by those of one side."""
    at = np.arange(len(y))
    votes = np.tile(np.bincount(y) / (2 * len(y)), (len(y), 1)) if num_classes else np.zeros(len(y))
    for shift in (-2, -1, 1, 2):
        beside = np.where((at + shift < 0) | (at + shift >= len(y)), at - shift, at + shift)
        if num_classes:
            votes[at, y[beside]] += 1
        else:
            votes += y[beside] / 4
    return votes.argmax(1) if num_classes else votes


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
