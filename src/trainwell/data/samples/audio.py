"""Sound: WAV and FLAC files by folder or table, or clips of one long file by a table; log-mel spectra."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from trainwell.data.notes import Note, info
from trainwell.data.samples.files import Items, bytes_column, items_of, items_of_frame, names_column, peek
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
    is_audio,
    log_mel,
    read_sound,
    require_soundfile,
    resampled,
)
from trainwell.data.samples.tree import BadItem, Tree, is_tree
from trainwell.values.errors import DataError
from trainwell.values.recipe import Recipe
from trainwell.values.task import InputSpec, Task

CLIP = ("offset", "length")
"""Columns of a table that name clips of the one long file beside it."""
COVERED = 0.95
"""Share of the sounds that must fit into the length, up to MOST_S; longer ones are cut around their middle."""
MOST_S = 10.0
BLOCK = 256


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

    def spectrum(self, sound: tuple[np.ndarray, int]) -> np.ndarray:
        """Return the spectrum of samples at a rate, (1, bands, frames) float32."""
        return log_mel(resampled(*sound, self.rate), self.rate, self.bands, self.frames)[None]

    def batches(self, source: Any) -> Iterator[Arrays]:
        items = find_items(source, None)
        for start in range(0, len(items), BLOCK):
            yield (np.stack([self._one(items, i) for i in range(start, min(start + BLOCK, len(items)))]),)

    def _one(self, items: Items, i: int) -> np.ndarray:
        try:
            return self.spectrum(read_sound(items.read(i)))
        except BadItem as error:
            raise DataError(
                f"{items.where}, {items.names[i]} {error}. Every row needs a prediction."
            ) from None

    def labelled(self, source: Any, task: Task) -> Iterator[tuple[Arrays, np.ndarray]]:
        items = find_items(source, self.target or None)
        targets = encode_labels(task, items, np.arange(len(items)))
        rows = np.stack([self._one(items, i) for i in range(len(items))])
        yield (rows,), targets

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
        found = {"train": find_items(source, target, wanted)}
        for name in ("val", "test"):
            if options.get(name) is not None:
                found[name] = find_items(options[name], target)
        items, parts = joined(found)
        sounds, kept, digests, bad = _read_all(items)
        notes = [
            kind_note(cls.name, f"{len(kept)} sounds from {items.where}"),
            *bad_notes(bad, len(items), options.get("max_bad"), "sounds"),
        ]
        transform, said = _transform(sounds, items.target)
        split = split_items(items, parts, kept, options)
        spectra = np.stack([transform.spectrum(s) for s in sounds])
        made: dict[str, tuple[Arrays, np.ndarray]] = {
            n: ((spectra[rows],), split.targets[n]) for n, rows in split.rows.items()
        }
        print_ = fingerprint_of(digests, split, transform.to_dict())
        notes = [*notes, *said, *split.notes]
        titles = titles_of(items.names, split, kept)
        return SampleData(
            cls.name, split.task, transform, made, split.provenance, print_, tuple(notes), titles
        )

    @classmethod
    def recipe(cls, preset: str, task: Task, num_rows: int, spec: InputSpec) -> Recipe:
        from trainwell.data.samples.presets import sound_recipe

        return sound_recipe(preset, num_rows)


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


def _read_all(items: Items) -> tuple[list[tuple[np.ndarray, int]], np.ndarray, list[str], list[Bad]]:
    sounds, kept, digests, bad = [], [], [], []
    for i in range(len(items)):
        try:
            sound = read_sound(items.read(i))
        except BadItem as error:
            bad.append(Bad(items.names[i], str(error)))
            continue
        sounds.append(sound)
        kept.append(i)
        digests.append(
            hashlib.blake2b(sound[0].tobytes() + bytes(str(sound[1]), "ascii"), digest_size=16).hexdigest()
        )
    if not sounds:
        bad_notes(bad, len(items), 1.0, "sounds")
    return sounds, np.array(kept, np.int64), digests, bad


def _transform(sounds: Sequence[tuple[np.ndarray, int]], target: str) -> tuple[SoundTransform, list[Note]]:
    """Choose rate and length: the commonest rate, and a length that most sounds fit into."""
    rates = collections.Counter(rate for _, rate in sounds)
    rate = min(rates.most_common(1)[0][0], 16000)
    seconds = np.sort([len(s) / r for s, r in sounds])
    most = float(min(MOST_S, seconds[min(len(seconds) - 1, int(COVERED * len(seconds)))]))
    frames = max(8, round(most / 0.01) // 8 * 8 + 8)
    notes = [
        info(
            "length",
            f"{seconds[0]:.2f} to {seconds[-1]:.2f} s; taken as {frames / 100:.2f} s, shorter ones filled up",
        ),
        info(
            "rate",
            f"{rate} samples a second"
            + (f"; other rates are resampled: {dict(rates)}" if len(rates) > 1 else ""),
        ),
    ]
    return SoundTransform(rate, 40, frames, target), notes
