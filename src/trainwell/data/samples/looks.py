"""Images that look the same, by a perceptual hash."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trainwell.data.notes import Note, warning
from trainwell.data.samples.files import Items

SAME_LOOK_SHOWN = 3


def look_hashes(images: np.ndarray) -> np.ndarray:
    """Return 64 bits of every image that scaling and recompressing hardly change (a difference hash).

    Source: N. Krawetz 2013, "Kind of like that" (dHash), on 9 x 8 means of blocks.
    """
    gray = images.mean(1) if images.shape[1] > 1 else images[:, 0]
    rows = np.array_split(np.arange(gray.shape[1]), 8)
    columns = np.array_split(np.arange(gray.shape[2]), 9)
    means = np.stack([gray[:, r].mean(1) for r in rows], 1)
    means = np.stack([means[:, :, c].mean(2) for c in columns], 2)
    bits = (means[:, :, 1:] > means[:, :, :-1]).reshape(len(images), 64)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def same_looks(
    parts: Mapping[str, np.ndarray], items: Items, kept: np.ndarray, rows: Mapping[str, np.ndarray]
) -> list[Note]:
    """Warn of images that stand in the training part and look the same in another one."""
    if min(parts["train"].shape[2:]) < 9:
        return []
    hashes = {n: look_hashes(x) for n, x in parts.items()}
    notes = []
    for name in (n for n in parts if n != "train"):
        known = {int(h): i for i, h in enumerate(hashes["train"].tolist())}
        both = [i for i, h in enumerate(hashes[name].tolist()) if h in known and _is_textured(parts[name][i])]
        if not both:
            continue

        def pair(i: int, name: str = name, known: dict[int, int] = known) -> str:
            other = known[int(hashes[name][i])]
            return f"{items.names[kept[rows[name][i]]]} and {items.names[kept[rows['train'][other]]]}"

        few = "; ".join(pair(i) for i in both[:SAME_LOOK_SHOWN])
        said = f"{len(both)} of {len(parts[name])} images of the {name} part look like one of the training part: {few}"
        notes.append(warning("duplicates", f"{said}. Its scores are too good by about their share."))
    return notes


def _is_textured(image: np.ndarray) -> bool:
    """Whether the hash of an image says something: flat ones share one."""
    return float(image.std()) > 16
