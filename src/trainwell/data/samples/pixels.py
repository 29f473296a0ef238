"""From the bytes of one image file to its pixels; the header is checked before anything is decoded."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainwell.data.samples.tree import BadItem
from trainwell.values.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""What Pillow may decode; its other formats start programs or are no photographs."""
MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"BM", b"GIF8", b"RIFF", b"II*\0", b"MM\0*", b"P5", b"P6")
MAX_PIXELS = 64_000_000
"""A larger image is not decoded: 64 million pixels are 200 MB in memory."""
ORIENTATION = 0x0112
SWAPPED = (5, 6, 7, 8)
"""EXIF orientations that swap height and width."""
GAP = 3.0
"""A JPEG may be decoded at a fraction of its size, as long as that is so many times what is needed. Source: Pillow's
documentation of `reducing_gap`, of which 3 can hardly be told from scaling the whole image."""
GRAY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L")


@dataclasses.dataclass(frozen=True)
class Header:
    """What the header of an image says.

    Args:
        height, width: upright.
        is_gray: whether it has one channel.
        odd: what is done to it beside decoding, in words; for the notes.
    """

    height: int
    width: int
    is_gray: bool
    odd: tuple[str, ...] = ()


def is_image(data: bytes) -> bool:
    """Whether bytes begin like an image."""
    return data.startswith(MAGIC) and (not data.startswith(b"RIFF") or data[8:12] == b"WEBP")


def require_pillow() -> None:
    """Raise a UsageError that says how to install Pillow, where it is missing."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        raise UsageError("images need an extra: pip install 'trainwell[image]'.") from None


def header_of(data: Any) -> Header:
    """Return the header of encoded bytes, or of an array (H, W) or (H, W, C).

    Raises:
        BadItem: it is no image, or one that is too large.
    """
    if isinstance(data, np.ndarray):
        beyond = ("of four channels, of which the first three are taken",) * (data.shape[2:] == (4,))
        return Header(data.shape[0], data.shape[1], data.ndim == 2 or data.shape[2] == 1, beyond)
    image = _open(data)
    width, height = image.size
    orientation = _orientation(image)
    if orientation in SWAPPED:
        width, height = height, width
    odd = [
        word
        for word, holds in (
            ("turned upright by their EXIF tag", orientation > 1),
            ("CMYK, turned into RGB", image.mode == "CMYK"),
            ("16 bit, cut to 8", image.mode.startswith("I")),
            ("animated, of which the first frame is taken", _is_animated(image)),
            ("transparent, laid on white", _has_alpha(image)),
        )
        if holds
    ]
    return Header(height, width, image.mode in GRAY, tuple(odd))


def _open(data: bytes) -> Image:
    import PIL.Image

    try:
        image = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
    except PIL.UnidentifiedImageError:
        raise BadItem("is no image of a known format") from None
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        pixels = "".join(c for c in str(error).partition(" pixels")[0] if c.isdigit())
        raise BadItem(f"has {int(pixels or 0):,} pixels, more than {MAX_PIXELS:,}") from None
    except Exception as error:  # decoders raise whatever they please on a damaged file
        raise BadItem(f"has a damaged header ({_words(error)})") from None
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadItem(f"has {width} x {height} pixels, more than {MAX_PIXELS:,}")
    if width < 1 or height < 1:
        raise BadItem("has no pixels")
    return image


def _words(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:120]


def _orientation(image: Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:
        return 1  # a damaged tag turns nothing


def _is_animated(image: Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False)) and image.format != "MPO"
    except Exception:
        return False


def _has_alpha(image: Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info


def decode(data: Any, size: tuple[int, int, int], crop: float, bicubic: bool) -> np.ndarray:
    """Return the pixels of an image, scaled and cut to the centre.

    Args:
        data: encoded bytes, or an array (H, W) or (H, W, C) of uint8.
        size: channels (1 or 3), height and width of the result.
        crop: share of the short side that is kept; the image is scaled so that the rest is cut off.
        bicubic: how to scale; else bilinear. Both with antialiasing, as Pillow does.
    Shapes: returns (channels, height, width) uint8.
    Raises:
        BadItem: the file is damaged.
    """
    channels, height, width = size
    needed = (math.ceil(GAP * height / crop), math.ceil(GAP * width / crop))
    pixels = data if isinstance(data, np.ndarray) else _fast(data, channels, needed)
    if pixels is None:
        pixels = _by_pillow(data, channels, needed)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape[2] < channels or channels == 1 < pixels.shape[2]:
        pixels = _with_channels(pixels, channels)
    if pixels.shape[:2] != (height, width) or crop != 1.0:
        pixels = _fitted(pixels, height, width, crop, bicubic)
    return np.ascontiguousarray(pixels[:, :, :channels].transpose(2, 0, 1))


def _fast(data: bytes, channels: int, needed: tuple[int, int]) -> np.ndarray | None:
    """Decode an upright JPEG with simplejpeg where it is installed; None leaves it to Pillow."""
    if not data.startswith(b"\xff\xd8\xff") or b"Exif\0" in data[:64] or b"Adobe" in data[:512]:
        return None
    try:
        import simplejpeg
    except ImportError:
        return None
    try:
        return np.asarray(simplejpeg.decode_jpeg(
            data, "GRAY" if channels == 1 else "RGB", min_height=needed[0], min_width=needed[1], min_factor=2.0
        ))  # fmt: skip
    except ValueError:
        return None  # Pillow decides whether it is damaged, and says why


def _by_pillow(data: bytes, channels: int, needed: tuple[int, int]) -> np.ndarray:
    from PIL import Image, ImageOps

    image = _open(data)
    try:
        image.draft(None, (max(needed), max(needed)))  # which side is upright is seen later
        image.load()
        if _orientation(image) > 1:
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):
            return _from_deep(np.asarray(image))
        if image.mode == "F":
            raise BadItem("holds floating-point numbers; save it with 8 or 16 bit")
        if _has_alpha(image):
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.asarray(image.convert("L" if channels == 1 else "RGB"))
    except BadItem:
        raise
    except Exception as error:
        raise BadItem(f"is damaged ({_words(error)})") from None


def _from_deep(numbers: np.ndarray) -> np.ndarray:
    """Cut 16 bit to 8, so that 65535 becomes 255."""
    if numbers.min() < 0 or numbers.max() > 65535:
        raise BadItem("holds numbers beyond 16 bit")
    return np.asarray((numbers.astype(np.uint32) + 128) // 257, np.uint8)


def _with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    if channels == 3:
        return np.repeat(pixels[:, :, :1], 3, 2) if pixels.shape[2] < 3 else pixels[:, :, :3]
    red, green, blue = (pixels[:, :, i].astype(np.uint32) for i in range(3))
    gray = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16  # as Pillow
    return np.asarray(gray, np.uint8)[:, :, None]


def _fitted(pixels: np.ndarray, height: int, width: int, crop: float, bicubic: bool) -> np.ndarray:
    """Cut the centre of the wanted proportions out and scale it.

    What is cut out has whole pixels and the centre of the image: scaling by torch takes a fifth of Pillow's time.
    """
    import torch
    from torch.nn.functional import interpolate

    rows, columns = pixels.shape[:2]
    scale = min(rows / height, columns / width) * crop
    high, wide = _within(scale * height, rows), _within(scale * width, columns)
    top, left = (rows - high) // 2, (columns - wide) // 2
    centre = pixels[top : top + high, left : left + wide]
    held = torch.from_numpy(centre if centre.flags.writeable else centre.copy()).permute(2, 0, 1)[None]
    way = "bicubic" if bicubic else "bilinear"
    made = interpolate(held, (height, width), mode=way, antialias=True)
    return np.asarray(made[0].permute(1, 2, 0).numpy())


def _within(length: float, side: int) -> int:
    """Return the whole number next to a length that leaves as much at one end of the side as at the other."""
    odd = side % 2
    return max(2 - odd, min(side, 2 * round((length - odd) / 2) + odd))


def common_size(headers: Sequence[Header], wanted: int | None, largest: int) -> tuple[int, int]:
    """Return height and width for all: theirs if they agree and are small, else a square.

    Args:
        wanted: the side of the square if the user named one.
        largest: the side above which images are scaled down.
    """
    if wanted:
        return wanted, wanted
    sizes = {(h.height, h.width) for h in headers}
    if len(sizes) == 1 and max(next(iter(sizes))) <= largest:
        return next(iter(sizes))
    short = float(np.median([min(h.height, h.width) for h in headers]))
    side = max(16, int(min(largest, short)) // 16 * 16)
    return side, side
