"""Images: a folder per class, a folder or archive with a table, a table with bytes or file names, uint8 arrays."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from trainwell.data.notes import Note, info
from trainwell.data.samples import pixels, store
from trainwell.data.samples.files import Items, bytes_column, items_of, meant, names_column, peek
from trainwell.data.samples.kind import Arrays, Kind, LazyParts, SampleData, register_transform
from trainwell.data.samples.looks import look_hashes, same_looks
from trainwell.data.samples.parts import (
    Bad,
    bad_notes,
    encode_labels,
    fingerprint_of,
    joined,
    kind_note,
    split_items,
    titles_of,
)
from trainwell.data.samples.pixels import SUFFIXES, Header, common_size, decode, header_of, is_image
from trainwell.data.samples.tree import BadItem, Tree, is_tree
from trainwell.values.errors import DataError, UsageError
from trainwell.values.recipe import Recipe
from trainwell.values.task import InputSpec, Task

WHOLE, LARGEST = 64, 96
"""Images of one size up to WHOLE pixels stay as they are; others become squares of up to LARGEST pixels, so that a
network can be trained on a CPU in minutes. `--set` of another size is `--size`."""
BLOCK_PIXELS = 32 << 20
"""Numbers of one block of images that is decoded for a prediction."""
FORMAT = 2
"""Of the pixels on the disk; another way of scaling is another format."""
KEEP_BYTES = 8 << 20
"""Pixels below this size are decoded faster than they are looked up on the disk."""


@dataclasses.dataclass(frozen=True)
class ImageTransform:
    """What turns image files into arrays of one size.

    Args:
        channels, height, width: of every image.
        crop: share of the short side that is kept; the rest is cut off around the centre.
        bicubic: how images are scaled; else bilinear.
        target: name of the column of the labels, where a table gives them.
    """

    channels: int
    height: int
    width: int
    crop: float = 1.0
    bicubic: bool = False
    target: str = ""

    @property
    def spec(self) -> InputSpec:
        return InputSpec(kind="image", shape=(self.channels, self.height, self.width))

    def decode(self, data: Any) -> np.ndarray:
        """Return the pixels of one image, (channels, height, width) uint8."""
        return decode(data, (self.channels, self.height, self.width), self.crop, self.bicubic)

    def batches(self, source: Any) -> Iterator[Arrays]:
        """Yield the images of a source in order, (N, C, H, W) uint8.

        Raises:
            DataError: a file is broken; every row needs a prediction.
        """
        items = find_items(source, None)
        for start in range(0, len(items), self._block):
            rows = range(start, min(start + self._block, len(items)))
            yield (self._whole(items, rows),)

    def names(self, source: Any) -> Sequence[str]:
        """Return the names of the files of a source; none where its images are no files."""
        items = find_items(source, None)
        return items.names if items.are_files else ()

    def labelled(self, source: Any, task: Task) -> Iterator[tuple[Arrays, np.ndarray]]:
        """Yield the images of a labelled source in order with their encoded targets."""
        items = find_items(source, self.target or None)
        targets = encode_labels(task, items, np.arange(len(items)))
        at = 0
        for (images,) in self.batches(source):
            yield (images,), targets[at : at + len(images)]
            at += len(images)

    @property
    def _block(self) -> int:
        return max(1, BLOCK_PIXELS // (self.channels * self.height * self.width))

    def _whole(self, items: Items, rows: Sequence[int]) -> np.ndarray:
        try:
            with quiet():
                return np.stack([self._one(items, i) for i in rows])
        except BadItem as error:
            raise DataError(f"{error}. Every row needs a prediction; mend or remove the file.") from None

    def _one(self, items: Items, i: int) -> np.ndarray:
        try:
            return self.decode(items.read(i))
        except BadItem as error:
            raise BadItem(f"{items.called(i)} {error}") from None

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "image", **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ImageTransform:
        return cls(**{k: v for k, v in data.items() if k != "kind"})


register_transform("image", ImageTransform)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let no decoder write warnings to the terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Images(Kind):
    """Photographs and drawings, decoded once to uint8."""

    name: ClassVar[str] = "image"
    suffixes: ClassVar[tuple[str, ...]] = SUFFIXES
    options: ClassVar[tuple[str, ...]] = ("size", "crop", "bicubic", "channels")

    @classmethod
    def claims(cls, source: Any, target: str | None, options: Mapping[str, Any]) -> str:
        if _is_array_part(source) or (
            isinstance(source, tuple | list) and source and _is_array_part(source[0])
        ):
            return "uint8 arrays with height and width"
        if is_tree(source):
            found = [n for n in Tree(Path(source)).names if n.lower().endswith(SUFFIXES)]
            return f"{len(found)} image files in {source}" if found else ""
        if isinstance(source, str | Path) and str(source).lower().endswith(".npz"):
            return "an .npz file with images" if Path(source).is_file() else ""
        frame = peek(source)
        column = bytes_column(frame, is_image)
        if column:
            return f"the column '{column}' holds encoded images"
        base = Path(source).parent if isinstance(source, str | Path) else Path()
        column = names_column(frame, lambda c: (base / c).exists(), SUFFIXES)
        return f"the column '{column}' names image files" if column else ""

    @classmethod
    def prepare(cls, source: Any, target: str | None, options: Mapping[str, Any]) -> SampleData:
        pixels.require_pillow()
        wanted = (options["group"],) if options.get("group") else ()
        main, given = _parts_given(source)
        found = {"train": meant(find_items(main, target, wanted), target)}
        for name in ("val", "test"):
            more = given.get(name) if options.get(name) is None else options[name]
            if more is not None:
                found[name] = find_items(more, target)
        items, parts = joined(found)
        images, transform, kept, digests, notes = read_images(items, options)
        transform = dataclasses.replace(transform, target=items.target)
        split = split_items(items, parts, kept, options)
        said, alike = _alike(images, split.rows, [items.names[i] for i in kept.tolist()], digests, transform)
        notes = [*notes, *split.notes, *said]
        print_ = fingerprint_of(digests, split, transform.to_dict())
        return SampleData(
            cls.name, split.task, transform, LazyParts(images, split.rows, split.targets), split.provenance, print_,
            tuple(notes), titles_of(items.names, split, kept), {"alike": alike} if alike else {},
        )  # fmt: skip

    @classmethod
    def recipe(cls, preset: str, task: Task, num_rows: int, spec: InputSpec) -> Recipe:
        from trainwell.data.samples.presets import image_recipe

        return image_recipe(preset, task, num_rows, spec)


def _is_array_part(data: Any) -> bool:
    """Whether the data are (images, labels) in memory."""
    if not (isinstance(data, tuple | list) and len(data) == 2):
        return False
    x = data[0]
    return str(getattr(x, "dtype", "")).endswith("uint8") and getattr(x, "ndim", 0) in (3, 4)


def _parts_given(source: Any) -> tuple[Any, dict[str, Any]]:
    """Tell (images, labels) from (train, val) and (train, val, test) of those, and read an .npz file."""
    if isinstance(source, str | Path) and str(source).lower().endswith(".npz"):
        return _from_npz(Path(source))
    if (
        isinstance(source, tuple | list)
        and not _is_array_part(source)
        and source
        and _is_array_part(source[0])
    ):
        return source[0], dict(zip(("val", "test"), source[1:], strict=False))
    return source, {}


def _from_npz(path: Path) -> tuple[Any, dict[str, Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {k: file[k] for k in file.files}
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from None
    parts = {n: (held.get(f"x_{n}"), held.get(f"y_{n}")) for n in ("train", "val", "test")}
    if parts["train"][0] is None:
        parts["train"] = (held.get("x"), held.get("y"))
    if any(p is None for p in parts["train"]) or not _is_array_part(parts["train"]):
        raise DataError(
            f"{path}: expected uint8 images x_train (or x) and labels y_train (or y), got {', '.join(held)}."
        )
    return parts["train"], {n: p for n, p in parts.items() if n != "train" and p[0] is not None}


def find_items(source: Any, target: str | None, wanted: Sequence[str] = ()) -> Items:
    """Return the images of a source of any form."""
    if isinstance(source, str | Path) and str(source).lower().endswith(".npz"):
        source = _from_npz(Path(source))[0]
    if _is_array_part(source):
        return _of_arrays(source[0], source[1])
    if str(getattr(source, "dtype", "")).endswith("uint8"):
        return _of_arrays(source, None)
    return items_of(source, target, SUFFIXES, is_image, wanted)


def _of_arrays(x: Any, y: Any) -> Items:
    array = np.asarray(x)
    if array.ndim == 3 and array.shape[-1] in (3, 4):
        array = array[None]  # one image: no image is 3 pixels wide
    if array.ndim == 4 and array.shape[-1] not in (1, 3, 4) and array.shape[1] in (1, 3, 4):
        array = array.transpose(0, 2, 3, 1)
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[-1] not in (1, 3, 4)):
        raise DataError(
            f"images in memory have the shape (N, H, W), (N, H, W, C) or (N, C, H, W) with C of 1, 3 or 4, got "
            f"{np.shape(x)}."
        )
    labels = None if y is None else np.asarray(y)
    if labels is not None and len(labels) != len(array):
        raise DataError(f"there are {len(array)} images and {len(labels)} labels; they must agree.")
    labels = labels[:, 0] if labels is not None and labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels is not None and labels.ndim != 1:
        raise DataError(
            f"labels of images have the shape ({len(array)},), got {labels.shape}; take y.argmax(1) of one-hot rows."
        )
    names = [f"row {i} (from 0)" for i in range(len(array))]
    return Items(names, array.__getitem__, "the arrays", labels, "y")


def read_images(
    items: Items, options: Mapping[str, Any]
) -> tuple[np.ndarray, ImageTransform, np.ndarray, list[str], list[Note]]:
    """Check all headers, decide the size, then decode what is whole.

    Returns: images (N, C, H, W) uint8, the transform, the positions of the items that were kept, a hash of the
        content of each, and notes.
    Raises:
        DataError: more files are broken than `max_bad` allows.
    """
    digests: list[str] = []
    headers: list[Header | None] = []
    bad: dict[int, str] = {}
    with quiet():
        for i in range(len(items)):
            header, digest, reason = _look(items, i)
            headers.append(header)
            digests.append(digest)
            if reason:
                bad[i] = reason
        whole = [h for h in headers if h is not None]
        bad_notes(_named(items, bad), len(items), options.get("max_bad"), "images")
        transform = _transform(whole, options)
        good = np.array([i for i, h in enumerate(headers) if h is not None], np.int64)
        images, kept = _decoded(items, good, transform, digests, bad)
    found = _named(items, dict(sorted(bad.items())))
    notes = [
        kind_note("image", f"{len(kept)} images from {items.where}"),
        *_header_notes(whole, transform),
        *bad_notes(found, len(items), options.get("max_bad"), "images"),
    ]
    return images, transform, kept, [digests[i] for i in kept.tolist()], notes


def _look(items: Items, i: int) -> tuple[Header | None, str, str]:
    """Return the header of an item, a hash of its content, and why it cannot be used."""
    try:
        data = items.read(i)
        content = data.tobytes() if isinstance(data, np.ndarray) else data
        return header_of(data), hashlib.blake2b(content, digest_size=16).hexdigest(), ""
    except BadItem as error:
        return None, "", str(error)


def _named(items: Items, bad: Mapping[int, str]) -> list[Bad]:
    return [Bad(items.names[i], reason) for i, reason in bad.items()]


def _transform(headers: Sequence[Header], options: Mapping[str, Any]) -> ImageTransform:
    size = options.get("size")
    if size is not None and not (str(size).isdigit() and 8 <= int(size) <= 1024):
        raise UsageError(f"--size must be a whole number of 8 to 1024 pixels, got {size!r}.")
    sizes = {(h.height, h.width) for h in headers}
    largest = WHOLE if len(sizes) == 1 and max(next(iter(sizes))) <= WHOLE else LARGEST
    height, width = common_size(headers, int(size) if size else None, largest)
    channels = options.get("channels") or (1 if all(h.is_gray for h in headers) else 3)
    crop = float(options.get("crop") or 1.0)
    return ImageTransform(int(channels), height, width, crop, bool(options.get("bicubic")))


def _decoded(
    items: Items, good: np.ndarray, transform: ImageTransform, digests: Sequence[str], bad: dict[int, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Decode the images that have a sound header, or take their pixels from the disk; add to `bad`."""
    shape = transform.spec.shape
    size = len(good) * int(np.prod(shape))
    key = _key([digests[i] for i in good.tolist()], transform)
    held = store.find("images", key) if size >= KEEP_BYTES else None
    if held is not None:
        images, about = held
        for position, reason in about["bad"]:
            bad[int(good[position])] = reason
        gone = [p for p, _ in about["bad"]]
        return images, np.delete(good, gone)
    images = store.blank((len(good), *shape))
    failed: list[tuple[int, str]] = []
    count = 0
    for position, i in enumerate(good.tolist()):
        try:
            images[count] = transform.decode(items.read(i))
            count += 1
        except BadItem as error:
            bad[i] = str(error)
            failed.append((position, str(error)))
    images = images[:count]
    if size >= KEEP_BYTES:
        store.keep("images", key, images, {"bad": failed})
    return images, np.delete(good, [p for p, _ in failed])


def _header_notes(headers: Sequence[Header], transform: ImageTransform) -> list[Note]:
    sizes = collections.Counter((h.height, h.width) for h in headers)
    said = "all are" if len(sizes) == 1 else f"{len(sizes)} sizes, the commonest"
    (height, width), _ = sizes.most_common(1)[0]
    notes = [
        info(
            "size",
            f"{said} {height} x {width} pixels; taken as {transform.height} x {transform.width} x {transform.channels}"
            + (" (--size for another)" if (height, width) != (transform.height, transform.width) else ""),
        )
    ]
    gray = sum(h.is_gray for h in headers)
    if transform.channels == 3 and gray:
        notes.append(info("channels", f"{gray} gray images: the one channel stands in all three"))
    odd = collections.Counter(word for h in headers for word in h.odd)
    return notes + [info("decoding", f"{count} images {word}") for word, count in odd.items()]


def _alike(
    images: np.ndarray,
    rows: Mapping[str, np.ndarray],
    names: Sequence[str],
    digests: Sequence[str],
    transform: ImageTransform,
) -> tuple[list[Note], dict[str, int]]:
    """Tell which images stand in two parts; their hashes are found on the disk where they were computed before."""
    if min(images.shape[2:]) < 9:
        return [], {}
    key = _key(digests, transform)
    held = store.find("looks", key) if images.nbytes >= KEEP_BYTES else None
    if held is not None:
        hashes = (np.array(held[0][0]), held[0][1].astype(bool))
    else:
        hashes = look_hashes(images)
        if images.nbytes >= KEEP_BYTES:
            store.keep("looks", key, np.stack([hashes[0], hashes[1].astype(np.uint64)]), {})
    return same_looks(hashes, rows, names, images)


def _key(digests: Sequence[str], transform: ImageTransform) -> str:
    how = {k: v for k, v in transform.to_dict().items() if k != "target"}
    return hashlib.sha256(repr([FORMAT, *digests, how]).encode()).hexdigest()[:32]
