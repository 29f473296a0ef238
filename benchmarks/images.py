"""Broken and hostile files among 2,000 images: are they named, are the others right, how much memory does it take?

    python benchmarks/images.py

20 of 2,020 files are bombs, cut off, empty, of another kind, or pipes. The others hold their label in their first pixels.
"""

from __future__ import annotations

import io
import json
import os
import resource
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

ROWS, SIDE = 2000, 96


def bomb(side: int) -> bytes:
    """Return a PNG of side x side pixels whose data unpack to gigabytes."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    packer, row = zlib.compressobj(9), bytes(1 + side * 3)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def write(root: Path) -> list[str]:
    """Write the images; return the names of those that must be left out."""
    rng = np.random.default_rng(0)
    for i in range(ROWS):
        pixels = rng.integers(0, 200, (SIDE, SIDE, 3), np.uint8)
        pixels[:, : SIDE // 2] = np.minimum(pixels[:, : SIDE // 2] + 55 * (i % 2), 255)
        folder = root / ("bright" if i % 2 else "dark")
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{i:05d}.jpg")
    whole = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (SIDE, SIDE, 3), np.uint8)).save(whole, "JPEG")
    huge = bomb(16000)
    hostile = [
        huge,
        bomb(12000),
        whole.getvalue()[:900],
        whole.getvalue()[:-1500],
        b"",
        b"text",
        b"\xff\xd8\xff\xe0",
    ]
    named = []
    for i in range(20):
        name = f"{'dark' if i % 2 else 'bright'}/zz{i:02d}.jpg"
        if i == 19:
            os.mkfifo(root / name)
        else:
            (root / name).write_bytes(hostile[i % len(hostile)])
        named.append(name)
    return named


def main() -> None:
    from trainwell.data.samples import kind_of

    with tempfile.TemporaryDirectory() as home:
        os.environ["TRAINWELL_CACHE"] = f"{home}/cache"
        root = Path(home) / "data"
        root.mkdir()
        hostile = write(root)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = kind_of(root, None, {})
        assert found is not None
        data = found[0].prepare(root, None, {"max_bad": "1%"})
        told = next(n.message for n in data.notes if n.code == "bad_items")
        wrong = 0
        for (x,), y in data.parts.values():
            left = x[:, :, :, : SIDE // 2].mean((1, 2, 3)) - x[:, :, :, SIDE // 2 :].mean((1, 2, 3))
            wrong += int(((left < 20).astype(int) != y).sum())
        rows = sum(len(y) for _, y in data.parts.values())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({
        "hostile": len(hostile), "kept": rows, "mislabelled": wrong, "told": told[:60],
        "peak_mb": peak // 1024, "peak_before_mb": before // 1024,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
