"""Small folders of images with two classes that a small network can tell apart."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def picture(label: int, seed: int, side: int = 20) -> np.ndarray:
    """Return an image whose left (0) or right (1) half is bright, (side, side, 3) uint8."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 90, (side, side, 3))
    half = slice(0, side // 2) if label == 0 else slice(side // 2, side)
    pixels[:, half] += 150
    return pixels.astype(np.uint8)


def encode(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def class_folders(root: Path, per_class: int = 30, kind: str = "png") -> Path:
    for label, name in enumerate(("left", "right")):
        (root / name).mkdir(parents=True)
        for i in range(per_class):
            data = encode(picture(label, 1000 * label + i), kind.upper())
            (root / name / f"{i:03d}.{kind}").write_bytes(data)
    return root


def bomb(side: int) -> bytes:
    """Return a PNG of side x side pixels that is small on the disk and huge when it is decoded."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    packer = zlib.compressobj(9)
    row = bytes(1 + side * 3)
    body = b"".join(packer.compress(row) for _ in range(min(side, 2000))) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
