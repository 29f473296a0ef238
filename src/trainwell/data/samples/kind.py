"""What a kind of data is, the registry of kinds, and how the kind of a source is found."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from trainwell.data.notes import Note
from trainwell.data.read import SUFFIXES as TABLES
from trainwell.data.samples import store
from trainwell.data.samples.files import PART_COLUMNS, names_column, peek, where_of
from trainwell.data.samples.tree import Tree, is_tree
from trainwell.values.errors import DataError, RecipeError, UsageError, did_you_mean
from trainwell.values.recipe import Recipe
from trainwell.values.task import InputSpec, Task

KINDS: dict[str, type[Kind]] = {}
"""Every kind by name; filled when the classes are made."""

TRANSFORMS: dict[str, type[Transform]] = {}
"""Every transform by the name of its kind, to read it back; filled by `register_transform`."""

GATHERED_ROWS = 512
MIXED = 0.05
"""Files of a second kind beyond this share of those of the first are no strays."""

Arrays = tuple[np.ndarray, ...]


class Transform(Protocol):
    """What turns a source into the arrays of a model; plain data on disk."""

    @property
    def spec(self) -> InputSpec:
        """The shape of a row."""
        ...

    def batches(self, source: Any) -> Iterator[Arrays]:
        """Yield the rows of a source in order, in blocks that fit into memory."""
        ...

    def names(self, source: Any) -> Sequence[str]:
        """Return what a prediction calls each row: the names of files; nothing where its number says enough."""
        ...

    def labelled(self, source: Any, task: Task) -> Iterator[tuple[Arrays, np.ndarray]]:
        """Yield the rows of a labelled source in order with their encoded targets."""
        ...

    def to_dict(self) -> dict[str, Any]: ...

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Transform: ...


class LazyParts(Mapping[str, tuple[Arrays, np.ndarray]]):
    """Parts whose rows are gathered when they are asked for: where features are found, no pixel is read.

    Args:
        images: all rows, maybe on the disk.
        rows: per part the positions of its rows. targets: of each part.
    """

    def __init__(
        self, images: np.ndarray, rows: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]
    ) -> None:
        self._images, self._rows, self.targets = images, rows, targets
        self._made: dict[str, tuple[Arrays, np.ndarray]] = {}

    def __getitem__(self, name: str) -> tuple[Arrays, np.ndarray]:
        if name not in self._made:
            self._made[name] = ((_gathered(self._images, self._rows[name]),), self.targets[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def _gathered(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return some of the images, on the disk where they would take too much memory; read block by block."""
    made = store.blank((len(rows), *images.shape[1:]))
    for start in range(0, len(rows), GATHERED_ROWS):
        part = slice(start, start + GATHERED_ROWS)
        made[part] = images[rows[part]]
    return made


@dataclasses.dataclass(frozen=True)
class SampleData:
    """Data of a kind that are ready to be trained on.

    Args:
        kind: the name of the kind.
        task, transform: what is learned, and what turns other sources into rows.
        parts: train, val and, unless there is none, test: the inputs, a tuple of (N, ...), and the target.
        provenance: how each part was made; plain data.
        fingerprint: a hash of contents, labels and the rows of each part.
        notes: everything that was inferred, skipped or suspected.
        titles: per part, what a person calls each row: the name of its file, or the text itself.
        facts: what the doctor reads of the data, e.g. how many rows of a part look like one of the training part.
    """

    kind: str
    task: Task
    transform: Transform
    parts: Mapping[str, tuple[Arrays, np.ndarray]]
    provenance: dict[str, Any]
    fingerprint: str
    notes: tuple[Note, ...] = ()
    titles: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def targets(self) -> Mapping[str, np.ndarray]:
        """The target of each part."""
        held = self.parts
        return held.targets if isinstance(held, LazyParts) else {name: y for name, (_, y) in held.items()}

    @property
    def spec(self) -> InputSpec:
        return self.transform.spec


class Kind:
    """A kind of data. A subclass is one file in this package.

    Class attributes:
        name: what the user reads.
        options: options of the data that it takes beside those of every kind.
        suffixes: of its files, where a folder may hold them.
    """

    name: ClassVar[str] = ""
    options: ClassVar[tuple[str, ...]] = ()
    suffixes: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        other = KINDS.get(cls.name)
        if other is not None and other.__module__ != cls.__module__:
            raise RecipeError(f"two kinds are called '{cls.name}': {other.__module__} and {cls.__module__}.")
        KINDS[cls.name] = cls

    @classmethod
    def claims(cls, source: Any, target: str | None, options: Mapping[str, Any]) -> str:
        """Say why the source is of this kind, in words; empty if it is not. Looks, and reads little."""
        raise NotImplementedError

    @classmethod
    def prepare(cls, source: Any, target: str | None, options: Mapping[str, Any]) -> SampleData:
        """Read, check, split and decode a source that this kind claims."""
        raise NotImplementedError

    @classmethod
    def recipe(cls, preset: str, task: Task, num_rows: int, spec: InputSpec) -> Recipe:
        """Return the default recipe: a model family of this kind and how to train it."""
        raise NotImplementedError


COMMON = ("val", "test", "task", "metric", "split_seed", "val_fraction", "test_fraction", "group", "max_bad")
"""Options that every kind takes."""


def kind_of(source: Any, target: str | None, options: Mapping[str, Any]) -> tuple[type[Kind], str] | None:
    """Return the kind that claims a source and why, or None for tables and tensors.

    Raises:
        UsageError: an option is given that the kind does not take. DataError: a folder holds files of two kinds.
    """
    for kind in _by_files(Path(source)) if is_tree(source) else KINDS.values():
        reason = kind.claims(source, target, options)
        if reason:
            _check_options(kind, options)
            return kind, reason
    _check_named(source, target)
    return None


def _check_named(source: Any, target: str | None) -> None:
    """Refuse a table that has nothing to learn from but names of files, none of which is there."""
    frame = peek(source)
    if frame is None:
        return
    rest = [c for c in frame.columns if str(c) != target and str(c).lower() not in PART_COLUMNS]
    if len(rest) != 1:
        return
    for kind in KINDS.values():
        if kind.suffixes and names_column(frame[rest], lambda c: True, kind.suffixes):
            home = Path(source).parent if isinstance(source, str | Path) else Path()
            raise DataError(
                f"{where_of(source)}: the column '{rest[0]}' names files of the kind {kind.name}, e.g. "
                f"{frame[rest[0]].iloc[0]}, but none of them is in {home.resolve()}; names count from there."
            )


def _by_files(source: Path) -> list[type[Kind]]:
    """Return the kinds, that of which a folder or archive holds most files first.

    Raises:
        DataError: it holds many files of two kinds, and no table says which of them are meant.
    """
    names = [n.lower() for n in Tree(source).names]
    counts = {k: sum(n.endswith(k.suffixes) for n in names) if k.suffixes else 0 for k in KINDS.values()}
    kinds = sorted(counts, key=counts.__getitem__, reverse=True)
    most, more = (counts[k] for k in kinds[:2])
    has_table = any(n.endswith(TABLES) and n.count("/") <= 1 for n in names)
    if more > MIXED * most and not has_table:
        held = " and ".join(f"{counts[k]} {k.name} files" for k in kinds[:2])
        raise DataError(
            f"{source} holds {held}; expected files of one kind. Move the others out of it, or name those that are "
            "meant in a table in it (columns file, label)."
        )
    return kinds


def _check_options(kind: type[Kind], options: Mapping[str, Any]) -> None:
    known = (*COMMON, *kind.options)
    for key, value in options.items():
        if key not in known and value not in (None, (), [], "warn"):
            raise UsageError(
                f"the option '{key}' does not apply to data of the kind {kind.name} (it takes: "
                f"{', '.join(known)}).{did_you_mean(key, known)}"
            )


def register_transform(name: str, kind: type[Any]) -> None:
    """Let `transform_of` read transforms of this name."""
    TRANSFORMS[name] = kind


def transform_of(data: Mapping[str, Any]) -> Transform:
    """Make the transform that `to_dict` described; its `kind` says which.

    Raises:
        DataError: the kind is unknown.
    """
    name = str(data.get("kind"))
    if name not in TRANSFORMS:
        raise DataError(f"a transform of the kind '{name}' is unknown here; update trainwell to read it.")
    return TRANSFORMS[name].from_dict(data)
