"""Samples as a person sees them: an image or a spectrum as a small picture, a text as itself."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from trainwell.app.sources import Prepared
    from trainwell.data.samples import SampleData

Array = np.ndarray[Any, np.dtype[Any]]

SIDE = 112
"""Pixels of the longer side of a picture in a report."""
LONGEST = 500
"""Characters of a text in a report."""


def show_samples(rows: list[dict[str, Any]], prepared: Prepared, folder: Path, part: str) -> None:
    """Add to rows of a report what they are: `title`, and `picture` (a PNG as a data address) or `text`."""
    made = _samples(prepared, folder)
    if made is None or part not in made.parts:
        return
    titles, x = made.titles.get(part, ()), made.parts[part][0][0]
    for row in rows:
        i = int(row["row"])
        title = titles[i] if i < len(titles) else f"row {i} (from 0)"
        if made.spec.kind == "text":
            row["text"] = title if len(title) <= LONGEST else title[:LONGEST] + " ..."
        else:
            row["title"], row["picture"] = title, picture(np.asarray(x[i]))


def _samples(prepared: Prepared, folder: Path) -> SampleData | None:
    """Return the samples as they were read; of features of a backbone, what they were computed from."""
    from trainwell.data.samples.kind import SampleData

    made = prepared.samples
    if not isinstance(made, SampleData):
        return None
    if made.kind != "features":
        return made
    from trainwell.app.transfer import read_samples

    source = prepared.source
    if "data" not in source:
        return None
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in source["options"].items()}
    return read_samples(source["data"], source.get("target"), options)[0]


def picture(pixels: Array) -> str:
    """Return an image or a spectrum as a small PNG in a data address.

    Shapes: pixels: (C, H, W), uint8, or numbers of any range, which are stretched from black to white.
    """
    image = pixels if pixels.dtype == np.uint8 else _stretched(pixels)
    image = _smaller(image[:3] if image.shape[0] >= 3 else image[:1])
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()


def _stretched(values: Array) -> Array:
    """Return numbers as grey values, low frequencies below."""
    found = np.nan_to_num(values[:1].astype(float))[:, ::-1]
    low, high = np.quantile(found, (0.01, 0.99))
    scaled = (found - low) / max(high - low, 1e-9)
    return np.asarray(np.clip(255 * scaled, 0, 255).astype(np.uint8))


def _smaller(image: Array) -> Array:
    """Return the image with means of whole blocks, so that it is hardly larger than SIDE."""
    step = max(1, round(max(image.shape[1:]) / SIDE))
    height, width = (n // step * step for n in image.shape[1:])
    if step == 1 or not height or not width:
        return image
    blocks = image[:, :height, :width].reshape(len(image), height // step, step, width // step, step)
    return np.asarray(blocks.mean((2, 4)).round().astype(np.uint8))


def png(image: Array) -> bytes:
    """Return a picture as PNG.

    Shapes: image: (1 or 3, H, W) uint8.
    Source: W3C PNG specification, third edition, sections 5 and 9 (filter 0 on every line).
    """
    channels, height, width = image.shape
    lines = np.zeros((height, 1 + width * channels), np.uint8)
    lines[:, 1:] = image.transpose(1, 2, 0).reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(held)) + name + held + struct.pack(">I", zlib.crc32(name + held))
        for name, held in parts
    )
