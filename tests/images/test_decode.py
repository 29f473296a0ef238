"""What becomes of odd, broken and hostile image files."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.images.samples import bomb, class_folders, encode, picture
from trainwell.data.samples import KINDS, kind_of
from trainwell.data.samples.kind import SampleData
from trainwell.data.samples.pixels import decode, header_of
from trainwell.data.samples.tree import BadItem
from trainwell.values.errors import DataError, UsageError


def prepared(source: object, target: str | None = None, **options: object) -> SampleData:
    found = kind_of(source, target, options)
    assert found is not None
    return found[0].prepare(source, target, options)


def small(data: bytes | np.ndarray, channels: int = 3, side: int = 20) -> np.ndarray:
    return decode(data, (channels, side, side), 1.0, False)


def test_png_and_arrays_give_the_same_pixels() -> None:
    pixels = picture(0, 1)
    assert np.array_equal(small(encode(pixels)), pixels.transpose(2, 0, 1))
    assert np.array_equal(small(pixels), pixels.transpose(2, 0, 1))


def test_scaling_agrees_with_pillow() -> None:
    pixels = picture(1, 2, 40)
    expected = Image.fromarray(pixels).resize((20, 20), Image.Resampling.BILINEAR)
    assert np.array_equal(small(pixels), np.asarray(expected).transpose(2, 0, 1))


def test_exif_turns_an_image_upright() -> None:
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(pixels, "JPEG", exif=exif.tobytes(), quality=95)
    header = header_of(data)
    assert (header.height, header.width) == (16, 8)
    upright = decode(data, (3, 16, 8), 1.0, False)
    assert upright[:, :6].mean() > 250 and upright[:, 10:].mean() < 5


def test_sixteen_bit_cmyk_palette_and_alpha_become_eight_bit_rgb() -> None:
    deep = np.full((20, 20), 65535, np.uint16)
    deep[:10] = 257 * 7
    assert small(encode(deep))[:, 0, 0].tolist() == [7] * 3
    assert small(encode(deep))[:, -1, 0].tolist() == [255] * 3
    cmyk = io.BytesIO()
    Image.new("CMYK", (20, 20), (0, 255, 255, 0)).save(cmyk, "JPEG")
    red = small(cmyk.getvalue()).mean((1, 2))
    assert red[0] > 200 and red[1] < 60
    clear = io.BytesIO()
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(clear, "PNG")
    assert small(clear.getvalue()).min() == 255
    assert header_of(encode(deep)).is_gray and "16 bit" in header_of(encode(deep)).odd[0]


def test_animated_images_give_their_first_frame() -> None:
    out = io.BytesIO()
    frames = [Image.new("RGB", (20, 20), c) for c in ("red", "blue")]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    assert any("animated" in word for word in header_of(out.getvalue()).odd)
    assert small(out.getvalue())[0].min() > 200


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty|no image"),
        (b"GIF89a", "damaged|no image"),
        (b"\xff\xd8\xff" + b"no jpeg" * 9, "no image|damaged"),
        (bomb(30_000), "pixels, more than"),
        (encode(picture(0, 3), "JPEG")[:400], "damaged|no image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "no image"),
    ],
)
def test_broken_files_say_why(data: bytes, reason: str) -> None:
    def read() -> None:
        header_of(data)
        small(data)

    with pytest.raises(BadItem, match=reason):
        read()


def test_broken_files_are_named_skipped_and_never_mislabelled(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", 50)
    (root / "left" / "010.png").write_bytes(b"not an image")
    (root / "right" / "003.png").write_bytes(encode(picture(1, 3))[:-60])
    os.mkfifo(root / "right" / "pipe.png")
    (root / "left" / "bomb.png").write_bytes(bomb(20_000))
    with pytest.raises(DataError, match=r"3 of 102 images are broken, more than the 1 % .*max_bad='3%'"):
        prepared(root)
    data = prepared(root, max_bad="5%")
    assert sum(len(y) for _, y in data.parts.values()) == 98
    told = next(n.message for n in data.notes if n.code == "bad_items")
    for name in ("left/010.png", "right/003.png", "right/pipe.png", "left/bomb.png"):
        assert name in told
    for (x,), y in data.parts.values():
        bright_right = x[:, :, :, 10:].mean((1, 2, 3)) > x[:, :, :, :10].mean((1, 2, 3))
        assert np.array_equal(bright_right.astype(int), y)


def test_folders_named_as_parts_are_the_parts(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", 20)
    class_folders(tmp_path / "validation", 6)
    data = prepared(tmp_path)
    assert {n: len(y) for n, (_, y) in data.parts.items()} == {"train": 40, "val": 12}
    assert data.task.classes == ("left", "right")


def test_the_same_image_in_two_parts_is_told(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", 20)
    class_folders(tmp_path / "test", 6)
    (tmp_path / "test" / "left" / "copy.png").write_bytes(
        (tmp_path / "train" / "left" / "004.png").read_bytes()
    )
    messages = [n.message for n in prepared(tmp_path).notes if n.code == "duplicates"]
    assert any("test part" in m for m in messages)


def test_a_table_of_files_and_one_of_bytes_give_the_same_data(tmp_path: Path) -> None:
    import pandas as pd

    root = class_folders(tmp_path / "data", 20)
    files = sorted(str(p.relative_to(root)) for p in root.rglob("*.png"))
    labels = [f.split("/")[0] for f in files]
    pd.DataFrame({"file": files, "label": labels}).to_csv(root / "labels.csv", index=False)
    frame = pd.DataFrame({"image": [(root / f).read_bytes() for f in files], "label": labels})
    frame.to_parquet(tmp_path / "images.parquet")
    by_folder, by_table = prepared(root), prepared(tmp_path / "images.parquet")
    again = prepared(root / "labels.csv", "label")
    for part, ((x,), y) in by_folder.parts.items():
        for other in (by_table, again):
            assert np.array_equal(other.parts[part][0][0], x)
            assert np.array_equal(other.parts[part][1], y)
    assert by_folder.fingerprint == by_table.fingerprint == again.fingerprint


def test_options_of_tables_are_refused(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", 12)
    with pytest.raises(UsageError, match="'drop' does not apply to data of the kind image"):
        kind_of(root, None, {"drop": ("a",)})
    with pytest.raises(UsageError, match=r"^max_bad='lots': expected a share"):
        prepared(root, max_bad="lots")


def test_a_transform_survives_the_way_to_disk(tmp_path: Path) -> None:
    from trainwell.data.samples import transform_of

    made = prepared(class_folders(tmp_path / "data", 12)).transform
    assert transform_of(made.to_dict()) == made
    assert set(KINDS) >= {"image"}
