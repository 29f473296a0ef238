"""Sound: WAV and FLAC files by folder or table, or clips of one long file by a table; log-mel spectra."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from trainwell.data.notes import Note, info, named, warning
from trainwell.data.samples.files import (
    Items,
    bytes_column,
    items_of,
    items_of_frame,
    meant,
    names_column,
    peek,
)
from trainwell.data.samples.kind import Arrays, Kind, SampleData, register_transform
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
from trainwell.data.samples.spectra import (
    SUFFIXES,
    Header,
    header_of,
    is_audio,
    log_mel,
    read_sound,
    require_soundfile,
    resampled,
    waves,
)
from trainwell.data.samples.tree import BadItem, Tree, is_tree
from trainwell.values.errors import DataError
from trainwell.values.recipe import Recipe
from trainwell.values.task import InputSpec, Task

CLIP = ("offset", "length")
"""Columns of a table that name clips of the one long file beside it."""
COVERED = 0.95
"""Share of the sounds that must fit into the length, up to MOST_S; longer ones are cut around their middle."""
MOST_S, MOST_RATE = 10.0, 16000
BLOCK_FRAMES = 1 << 14
"""Frames of the sounds that are turned into spectra at a time: their windows take 26 MB at 16 kHz."""


@dataclasses.dataclass(frozen=True)
class SoundTransform:
    """What turns sounds into spectra of one size.

    Args:
        rate: samples a second; sounds of another rate are resampled.
        bands, frames: of a spectrum.
        target: name of the column of the labels, where a table gives them.
    """

    rate: int
    bands: int
    frames: int
    target: str = ""

    @property
    def spec(self) -> InputSpec:
        return InputSpec(kind="audio", shape=(1, self.bands, self.frames))

    def spectra(self, sounds: Sequence[tuple[np.ndarray, int]]) -> np.ndarray:
        """Return the spectra of samples at their rates, (N, 1, bands, frames) float32."""
        rows = waves([resampled(*s, self.rate) for s in sounds], self.rate, self.frames)
        return log_mel(*rows, self.rate, self.bands).numpy()[:, None]

    @property
    def block(self) -> int:
        """Sounds that are turned into spectra at a time."""
        return max(1, BLOCK_FRAMES // self.frames)

    def batches(self, source: Any) -> Iterator[Arrays]:
        items = find_items(source, None)
        for start in range(0, len(items), self.block):
            rows = range(start, min(start + self.block, len(items)))
            yield (self.spectra([self._read(items, i) for i in rows]),)

    def _read(self, items: Items, i: int) -> tuple[np.ndarray, int]:
        try:
            return read_sound(items.read(i))
        except BadItem as error:
            raise DataError(
                f"{items.called(i)} {error}. Every row needs a prediction; mend or remove the file."
            ) from None

    def names(self, source: Any) -> Sequence[str]:
        """Return the names of the files of a source; none where its sounds are no files."""
        items = find_items(source, None)
        return items.names if items.are_files else ()

    def labelled(self, source: Any, task: Task) -> Iterator[tuple[Arrays, np.ndarray]]:
        items = find_items(source, self.target or None)
        targets = encode_labels(task, items, np.arange(len(items)))
        at = 0
        for (rows,) in self.batches(source):
            yield (rows,), targets[at : at + len(rows)]
            at += len(rows)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "audio", **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SoundTransform:
        return cls(**{k: v for k, v in data.items() if k != "kind"})


register_transform("audio", SoundTransform)


class Sounds(Kind):
    """Speech and other sounds."""

    name: ClassVar[str] = "audio"
    suffixes: ClassVar[tuple[str, ...]] = SUFFIXES

    @classmethod
    def claims(cls, source: Any, target: str | None, options: Mapping[str, Any]) -> str:
        if is_tree(source):
            found = [n for n in Tree(Path(source)).names if n.lower().endswith(SUFFIXES)]
            return f"{len(found)} sound files in {source}" if found else ""
        frame = peek(source)
        column = bytes_column(frame, is_audio)
        if column:
            return f"the column '{column}' holds encoded sounds"
        base = Path(source).parent if isinstance(source, str | Path) else Path()
        column = names_column(frame, lambda c: (base / c).exists(), SUFFIXES)
        if column:
            return f"the column '{column}' names sound files"
        long = _long_file(source) if frame is not None and {*CLIP} <= set(frame.columns) else None
        return f"its rows are clips of {long}" if long is not None else ""

    @classmethod
    def prepare(cls, source: Any, target: str | None, options: Mapping[str, Any]) -> SampleData:
        require_soundfile()
        wanted = (options["group"],) if options.get("group") else ()
        found = {"train": meant(find_items(source, target, wanted), target)}
        for name in ("val", "test"):
            if options.get(name) is not None:
                found[name] = find_items(options[name], target)
        items, parts = joined(found)
        headers, digests, bad = _look_at_all(items)
        bad_notes(_named(items, bad), len(items), options.get("max_bad"), "sounds")
        transform, said = _transform(list(headers.values()), items.target)
        spectra, kept = _spectra(items, sorted(headers), transform, bad)
        said += _silence(spectra, [items.names[i] for i in kept.tolist()], items.where)
        notes = [
            kind_note(cls.name, f"{len(kept)} sounds from {items.where}"),
            *bad_notes(_named(items, bad), len(items), options.get("max_bad"), "sounds"),
        ]
        split = split_items(items, parts, kept, options)
        made: dict[str, tuple[Arrays, np.ndarray]] = {
            n: ((spectra[rows],), split.targets[n]) for n, rows in split.rows.items()
        }
        print_ = fingerprint_of([digests[i] for i in kept.tolist()], split, transform.to_dict())
        notes = [*notes, *said, *split.notes]
        titles = titles_of(items.names, split, kept)
        return SampleData(
            cls.name, split.task, transform, made, split.provenance, print_, tuple(notes), titles
        )

    @classmethod
    def recipe(cls, preset: str, task: Task, num_rows: int, spec: InputSpec) -> Recipe:
        from trainwell.data.samples.presets import sound_recipe

        return sound_recipe(preset, task, num_rows)


def find_items(source: Any, target: str | None, wanted: Sequence[str] = ()) -> Items:
    """Return the sounds of a source of any form."""
    long = _long_file(source)
    frame = peek(source) if long is not None else None
    if long is None or frame is None or not {*CLIP} <= set(frame.columns):
        return items_of(source, target, SUFFIXES, is_audio, wanted)
    from trainwell.data.samples.text import frame_of

    whole, table = read_sound(long.read_bytes()), frame_of(source)
    cells: Any = list(zip(table["offset"].tolist(), table["length"].tolist(), strict=True))
    clips = table.assign(clip=cells)

    def read(cell: tuple[int, int]) -> Any:
        start, count = cell
        if start < 0 or count < 1 or start + count > len(whole[0]):
            raise BadItem(f"lies outside of {long.name}")
        return whole[0][start : start + count], whole[1]

    return items_of_frame(clips.drop(columns=list(CLIP)), "clip", target, str(source), read, wanted)


def _long_file(source: Any) -> Path | None:
    """Return the one long sound file that a table of clips belongs to: of its name, or of its start before `_index`."""
    if not isinstance(source, str | Path) or not str(source).lower().endswith((".csv", ".parquet")):
        return None
    path = Path(source)
    stems = (path.stem, path.stem.removesuffix("_index"))
    return next((p for s in stems for e in SUFFIXES if (p := path.with_name(s + e)).is_file()), None)


def _look_at_all(items: Items) -> tuple[dict[int, Header], dict[int, str], dict[int, str]]:
    """Return the headers and the hashes of the contents of what can be used, and why the others cannot."""
    headers, digests, bad = {}, {}, {}
    for i in range(len(items)):
        try:
            data: Any = items.read(i)
            headers[i] = header_of(data)
        except BadItem as error:
            bad[i] = str(error)
            continue
        content = data[0].tobytes() + bytes(str(data[1]), "ascii") if isinstance(data, tuple) else data
        digests[i] = hashlib.blake2b(content, digest_size=16).hexdigest()
    return headers, digests, bad


def _named(items: Items, bad: Mapping[int, str]) -> list[Bad]:
    return [Bad(items.names[i], bad[i]) for i in sorted(bad)]


def _spectra(
    items: Items, rows: Sequence[int], transform: SoundTransform, bad: dict[int, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the spectra of the sounds that can be decoded and their positions; add the others to `bad`.

    A block of sounds is held at a time, whatever they take together.
    """
    made = np.empty((len(rows), *transform.spec.shape), np.float32)
    kept: list[int] = []
    held: list[tuple[np.ndarray, int]] = []
    for position, i in enumerate(rows):
        try:
            held.append(read_sound(items.read(i)))
            kept.append(i)
        except BadItem as error:
            bad[i] = str(error)
        if held and (len(held) == transform.block or position + 1 == len(rows)):
            made[len(kept) - len(held) : len(kept)] = transform.spectra(held)
            held = []
    return made[: len(kept)], np.array(kept, np.int64)


def _silence(spectra: np.ndarray, names: Sequence[str], where: str) -> list[Note]:
    """Name the sounds in which nothing is heard.

    Raises:
        DataError: that is true of all.
    """
    silent = np.ptp(spectra.reshape(len(spectra), -1), axis=1) == 0
    if silent.all():
        raise DataError(f"{where}: all {len(names)} sounds are silent; there is nothing to learn from.")
    few = named([n for n, s in zip(names, silent, strict=True) if s], 3)
    count = int(silent.sum())
    return [warning("silence", f"{count} of {len(names)} sounds are silent: {few}")] if count else []


def _transform(headers: Sequence[Header], target: str) -> tuple[SoundTransform, list[Note]]:
    """Choose rate and length: the commonest rate up to 16 kHz, and a length that most sounds fit into."""
    rates = collections.Counter(h.rate for h in headers)
    rate = min(rates.most_common(1)[0][0], MOST_RATE)
    seconds = np.sort([h.seconds for h in headers])
    most = float(min(MOST_S, seconds[min(len(seconds) - 1, int(COVERED * len(seconds)))]))
    frames = max(8, round(most / 0.01) // 8 * 8 + 8)
    cut = int((seconds > frames * 0.01).sum())
    length = f"{seconds[0]:.2f} to {seconds[-1]:.2f} s; taken as {frames / 100:.2f} s, shorter ones filled up"
    notes = [info("length", length + f", {cut} longer ones cut around their middle" * bool(cut))]
    others = ", ".join(f"{n} sounds of {r}" for r, n in rates.most_common() if r != rate)
    notes.append(info("rate", f"{rate} samples a second" + f"; resampled are {others}" * bool(others)))
    several = sum(h.channels > 1 for h in headers)
    if several:
        notes.append(info("channels", f"{several} sounds of several channels: their mean is taken"))
    return SoundTransform(rate, 40, frames, target), notes
