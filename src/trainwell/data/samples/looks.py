"""Images that look the same, by a perceptual hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trainwell.data.notes import Note, warning

SAME_LOOK_SHOWN = 3
NEAR_BITS = 3
"""Two images look the same when at most so many of 64 bits differ. docs/log-transfer.md has the counts on CIFAR-10."""
LIKENESS, LIKENESS_SIDE = 0.98, 16
"""Correlation of 16 x 16 means of two images with like hashes, below which they only have a shape in common. Copies that
were scaled, recompressed and made brighter have .98 and more; two trousers of Fashion-MNIST with like hashes .94 in the
median (docs/log-transfer.md)."""
SIDE = 72
"""Larger images are thinned out to about this side before they are hashed."""
MIN_SPREAD = 12.0
"""Deviation of the block means, of 255, below which a hash says nothing: flat images share one."""
BAND_BITS = 16
PAIRS, HASHED_ROWS = 256, 1024
"""Images that are compared, and hashed, at a time."""


def look_hashes(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return 64 bits of every image that scaling and recompressing hardly change, and whether they say something.

    Shapes: images (N, C, H, W), H and W at least 9; returns (N,) uint64 and (N,) bool.
    Source: N. Krawetz 2013, "Kind of like that" (dHash), on 9 x 8 means of blocks.
    """
    if len(images) > HASHED_ROWS:
        blocks = [look_hashes(images[i : i + HASHED_ROWS]) for i in range(0, len(images), HASHED_ROWS)]
        bits_, telling = zip(*blocks, strict=True)
        return np.concatenate(bits_), np.concatenate(telling)
    gray = _gray(images)
    means = _blocks(_blocks(gray, 1, 8), 2, 9)
    bits = (means[:, :, 1:] > means[:, :, :-1]).reshape(len(images), 64)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0], means.std((1, 2)) > MIN_SPREAD


def _alike(images: np.ndarray, some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Say which of the pairs are copies, (N,) bool; a block of images is read at a time."""
    found = np.zeros(len(some), bool)
    for start in range(0, len(some), PAIRS):
        part = slice(start, start + PAIRS)
        found[part] = likeness(images[some[part]], images[others[part]]) >= LIKENESS
    return found


def likeness(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the correlation of images with others, pair by pair, on means of blocks. Shapes: (N, C, H, W); (N,)."""
    both = []
    for images in (some, others):
        gray = _gray(images)
        high, wide = (min(LIKENESS_SIDE, n) for n in gray.shape[1:])
        flat = _blocks(_blocks(gray, 1, high), 2, wide).reshape(len(gray), -1)
        both.append(flat - flat.mean(1, keepdims=True))
    norms = np.sqrt(np.square(both[0]).sum(1) * np.square(both[1]).sum(1))
    return np.asarray((both[0] * both[1]).sum(1) / np.maximum(norms, 1e-9))


def _gray(images: np.ndarray) -> np.ndarray:
    """Return the mean of the channels of thinned-out images, (N, h, w) float32."""
    step = max(1, min(images.shape[2:]) // SIDE)
    thin = images[:, :, ::step, ::step]
    return thin.mean(1, dtype=np.float32) if thin.shape[1] > 1 else thin[:, 0].astype(np.float32)


def _blocks(gray: np.ndarray, axis: int, count: int) -> np.ndarray:
    """Return the means of `count` runs along an axis."""
    edges = np.linspace(0, gray.shape[axis], count + 1).astype(int)
    sums = np.add.reduceat(gray, edges[:-1], axis)
    shape = [1] * gray.ndim
    shape[axis] = count
    return np.asarray(sums / np.diff(edges).reshape(shape), np.float32)


def nearest_looks(known: np.ndarray, asked: np.ndarray, bits: int = NEAR_BITS) -> np.ndarray:
    """Return for each asked hash the position of a known one that differs in at most `bits` bits, -1 where none does.

    Two hashes that differ in fewer bits than there are bands agree in one band: only those are compared.

    Shapes: (N,) and (M,) uint64; returns (M,) int64. `bits` < 64 / BAND_BITS.
    """
    assert bits < 64 // BAND_BITS
    found = np.full(len(asked), -1, np.int64)
    least = np.full(len(asked), bits + 1, np.int64)
    mask = np.uint64((1 << BAND_BITS) - 1)
    for shift in range(0, 64, BAND_BITS):
        ours, theirs = ((h >> np.uint64(shift)) & mask for h in (known, asked))
        order = np.argsort(ours, kind="stable")
        first = np.searchsorted(ours[order], theirs, "left")
        last = np.searchsorted(ours[order], theirs, "right")
        for i in np.flatnonzero(last > first).tolist():
            places = order[first[i] : last[i]]
            apart = np.bitwise_count(known[places] ^ asked[i])
            best = int(apart.argmin())
            if apart[best] < least[i]:
                least[i], found[i] = int(apart[best]), places[best]
    return found


def same_looks(
    hashes: tuple[np.ndarray, np.ndarray],
    rows: Mapping[str, np.ndarray],
    names: Sequence[str],
    images: np.ndarray,
) -> tuple[list[Note], dict[str, int]]:
    """Warn of images that stand in the training part and look the same in another one.

    Args:
        hashes: of all images, and whether each says something.
        rows: per part the positions of its images. names: of all images.
        images: all, (N, C, H, W); those with like hashes are compared.
    Returns: the notes, and per part how many of its images look like one of the training part.
    """
    bits, telling = hashes
    notes, counts = [], {}
    train = rows["train"][telling[rows["train"]]]
    for part in (n for n in rows if n != "train"):
        asked = rows[part][telling[rows[part]]]
        near = nearest_looks(bits[train], bits[asked])
        both = np.flatnonzero(near >= 0)
        both = both[_alike(images, asked[both], train[near[both]])]
        counts[part] = len(both)
        if not len(both):
            continue
        few = "; ".join(
            f"{names[asked[i]]} and {names[train[near[i]]]}" for i in both[:SAME_LOOK_SHOWN].tolist()
        )
        said = f"{len(both)} of {len(rows[part])} images of the {part} part look like one of the training part: {few}"
        notes.append(warning("duplicates", f"{said}. Its scores are too good by about their share."))
    return notes, counts
