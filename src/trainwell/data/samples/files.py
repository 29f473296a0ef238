"""Where encoded items come from: a folder per class, a folder or archive with a table, a table with bytes or names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainwell.data.notes import Note, info, named, warning
from trainwell.data.read import SUFFIXES, existing, read_table
from trainwell.data.samples.tree import BadItem, Tree, is_tree, read_file
from trainwell.values.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

PART_WORDS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
PART_COLUMNS = ("split", "part", "subset", "set")
PEEK_ROWS = 64


LOOSE = "the list of files"
"""What files that somebody lists are called as a source."""


@dataclasses.dataclass(frozen=True)
class Items:
    """The encoded items of one source.

    Args:
        names: of each item, for messages.
        read: index -> the bytes of an item; raises BadItem.
        labels: (N,) array or Series, or None where there are none.
        target: name of what the labels are.
        parts: (N,) of `train`, `val`, `test`; None where the source does not say.
        columns: further columns by name.
        others: names of the columns that may be the labels, where nobody said which.
        unused: tables beside the items that name none of them.
        are_files: whether each item is a file, and its name the file's.
        where: the source, in words.
    """

    names: Sequence[str]
    read: Callable[[int], bytes]
    where: str
    labels: Any = None
    target: str = "class"
    parts: np.ndarray | None = None
    columns: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    others: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    are_files: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def called(self, i: int) -> str:
        """Return the source and the name of an item, for messages; of loose files the path says all."""
        return self.names[i] if self.where in (LOOSE, self.names[i]) else f"{self.where}, {self.names[i]}"


def peek(source: Any) -> pd.DataFrame | None:
    """Return the first rows of a table, or None if it is none or cannot be read; the reader then says why."""
    if hasattr(source, "columns"):
        return source.head(PEEK_ROWS).to_pandas() if hasattr(source, "to_pandas") else source.head(PEEK_ROWS)
    if not isinstance(source, str | Path) or not str(source).lower().endswith(SUFFIXES):
        return None
    try:
        return _head(Path(source))
    except Exception:
        return None


def _head(path: Path) -> pd.DataFrame | None:
    if path.suffix.lower() == ".parquet":
        import pyarrow.parquet as pq

        batch = next(pq.ParquetFile(path).iter_batches(PEEK_ROWS), None)
        return None if batch is None else batch.to_pandas()
    import pandas as pd

    return pd.read_csv(path, nrows=PEEK_ROWS, sep=None, engine="python")


def encoded(cell: Any) -> bytes | None:
    """Return the bytes of a cell that holds some, also in the form {"bytes": ..., "path": ...}."""
    if isinstance(cell, Mapping):
        cell = cell.get("bytes")
    return bytes(cell) if isinstance(cell, bytes | bytearray | memoryview) else None


def is_missing(cell: Any) -> bool:
    """Whether a cell of a frame holds nothing: None, NaN, or a mark of pandas."""
    if isinstance(cell, float):
        return cell != cell
    return cell is None or type(cell).__name__ in ("NAType", "NaTType")


def bytes_column(frame: pd.DataFrame | None, is_ours: Callable[[bytes], bool]) -> str:
    """Return the name of the column whose cells hold encoded items; empty if there is none."""
    if frame is None:
        return ""
    for name in frame.columns:
        cells = [encoded(c) for c in frame[name].tolist()] if frame[name].dtype == object else []
        held = [c for c in cells if c]
        if held and 2 * sum(is_ours(c) for c in held) > len(held):
            return str(name)
    return ""


def names_column(frame: pd.DataFrame | None, exists: Callable[[str], bool], suffixes: Sequence[str]) -> str:
    """Return the name of the column whose cells name files of ours that exist; empty if there is none."""
    if frame is None:
        return ""
    for name in frame.columns:
        cells = [c for c in frame[name].tolist() if isinstance(c, str)]
        ours = [c for c in cells if c.lower().endswith(tuple(suffixes))]
        if 2 * len(ours) > len(frame) and any(exists(c) for c in ours):
            return str(name)
    return ""


def items_of_tree(
    tree: Tree, target: str | None, suffixes: Sequence[str], wanted: Sequence[str] = ()
) -> Items | None:
    """Return the items of a folder or archive: by a table in it, else by the folder that each file lies in.

    Args:
        wanted: names of further columns to keep of a table.
    """
    tables = [n for n in tree.names if n.count("/") <= 1 and n.lower().endswith(SUFFIXES)]
    for name in tables:
        found = _by_table(tree, name, target, suffixes, wanted)
        if found is not None:
            return found
    files = [n for n in tree.names if n.lower().endswith(tuple(suffixes))]
    return dataclasses.replace(_by_folder(tree, files), unused=tuple(tables)) if files else None


def _by_table(
    tree: Tree, name: str, target: str | None, suffixes: Sequence[str], wanted: Sequence[str]
) -> Items | None:
    """Return the items that a table in the tree names, or None if it names none."""
    ours = {n for n in tree.names if n.lower().endswith(tuple(suffixes))}
    frame, base = _frame_in(tree, name), name.rpartition("/")[0]
    place = _place_of(base, set(tree.names))
    column = names_column(frame.head(PEEK_ROWS), lambda c: place(c) in ours, suffixes)
    if not column:
        place = _place_of_ids(base, ours)
        column = _ids_column(frame, lambda c: place(c) in ours, len(ours))
    if not column:
        return None
    found = items_of_frame(
        frame, column, target, f"{tree.path}/{name}", lambda cell: tree.read(place(str(cell))), wanted
    )
    left = sorted(ours - {place(str(cell)) for cell in frame[column].tolist()})
    said = f"{len(left)} files that {name} does not name are passed over: {named(left, 3)}"
    return dataclasses.replace(found, notes=(*found.notes, info("passed_over", said))) if left else found


def _ids_column(frame: pd.DataFrame, exists: Callable[[str], bool], files: int) -> str:
    """Return the name of the column whose cells are names without their ending, each another, of most of the files."""
    for name in frame.columns:
        cells = set(map(str, frame[name].tolist()))
        if len(cells) == len(frame) and 2 * sum(map(exists, cells)) > max(len(cells), files):
            return str(name)
    return ""


def _frame_in(tree: Tree, name: str) -> pd.DataFrame:
    import io

    import pandas as pd

    data = io.BytesIO(tree.read(name))
    return (
        pd.read_parquet(data)
        if name.endswith(".parquet")
        else pd.read_csv(data, sep=None, engine="python", dtype_backend="numpy_nullable")
    )


def _place_of(base: str, known: set[str]) -> Callable[[str], str]:
    """Return what makes the name in the tree from a cell: relative to the table, or to the top."""

    def place(cell: str) -> str:
        beside = f"{base}/{cell}" if base else cell
        return beside.removeprefix("./") if beside in known else cell.removeprefix("./")

    return place


def _place_of_ids(base: str, files: set[str]) -> Callable[[str], str]:
    """Return what makes the name in the tree from a cell that leaves its ending out."""
    stems = {n.rpartition(".")[0]: n for n in files}
    place = _place_of(base, set(stems))
    return lambda cell: stems.get(place(cell), cell)


def _by_folder(tree: Tree, files: Sequence[str]) -> Items:
    paths = [f.split("/")[:-1] for f in files]
    firsts = {p[0] for p in paths if p}
    parts: np.ndarray | None = None
    if (
        firsts
        and all(f.lower() in PART_WORDS for f in firsts)
        and any(PART_WORDS[f.lower()] == "train" for f in firsts)
    ):
        parts = np.array([PART_WORDS[p[0].lower()] if p else "train" for p in paths])
        paths = [p[1:] for p in paths]
    labels: Any = np.array([p[0] if p else "" for p in paths], object)
    notes = [*_passed_over(tree, files), *_without_files(tree, set(labels.tolist()), parts is not None)]
    bare = int((labels == "").sum())
    if bare == len(files):
        labels = None  # no folders: rows to predict
    elif bare:
        first = files[int(np.argmax(labels == ""))]
        raise DataError(
            f"{tree.path}: {bare} files lie in no class folder, e.g. {first}; put each into the folder of its "
            "class, or give a table with the columns file and label."
        )
    read = lambda i: tree.read(files[i])  # noqa: E731
    return Items(files, read, str(tree.path), labels, "class", parts, {}, tuple(notes), are_files=True)


def _passed_over(tree: Tree, files: Sequence[str]) -> list[Note]:
    other = sorted(set(tree.names) - set(files))
    few = f": {named(other, 3)}" if other else ""
    return (
        [info("passed_over", f"{len(other)} other files in {tree.path} are passed over{few}")]
        if other
        else []
    )


def _without_files(tree: Tree, classes: set[str], has_parts: bool) -> list[Note]:
    """Warn of class folders that hold nothing to learn from."""
    paths = [f.split("/")[has_parts:] for f in tree.folders]
    bare = sorted({p[0] for p in paths if len(p) == 1} - classes)
    said = f"the folders {named(bare)} hold no file of this kind: there is no such class"
    return [warning("empty_class", said)] if bare else []


def items_of_frame(
    frame: pd.DataFrame,
    column: str,
    target: str | None,
    where: str,
    read: Callable[[Any], bytes],
    wanted: Sequence[str] = (),
) -> Items:
    """Return the items of a table.

    Args:
        column: what holds the items or their names.
        target: the column of the labels; None takes the only one that is left.
        read: cell -> bytes.
        wanted: names of further columns to keep.
    """
    parts, part_column = _parts_of(frame)
    rest = [str(c) for c in frame.columns if str(c) not in (column, part_column, *wanted)]
    if target is None and len(rest) == 1:
        target = rest[0]
    if target is not None and target not in frame.columns:
        hint = did_you_mean(target, rest)
        raise UsageError(f"--target: {where} has no column '{target}' (it has: {', '.join(rest)}).{hint}")
    for name in wanted:
        if name not in frame.columns:
            hint = did_you_mean(name, rest)
            raise UsageError(f"--group: {where} has no column '{name}' (it has: {', '.join(rest)}).{hint}")
    cells = frame[column].tolist()
    names = [c if isinstance(c, str) else f"row {i} (from 0)" for i, c in enumerate(cells)]

    def read_cell(i: int) -> bytes:
        cell = cells[i]
        if is_missing(cell):
            raise BadItem("is missing")
        return read(cell)

    notes = []
    left = [c for c in rest if c != target]
    if left:
        notes.append(info("dropped", f"columns passed over: {named(left)}"))
    if parts is not None:
        counts = ", ".join(
            f"{n} {int((parts == n).sum())}" for n in ("train", "val", "test") if (parts == n).any()
        )
        notes.append(info("parts", f"the parts are those of the column '{part_column}': {counts}"))
    columns = {c: frame[c] for c in wanted}
    labels = frame[target] if target is not None else None
    others = tuple(rest) if target is None else ()
    files = all(isinstance(c, str) for c in cells)
    return Items(
        names, read_cell, where, labels, target or "", parts, columns, tuple(notes), others, are_files=files
    )


def _parts_of(frame: pd.DataFrame) -> tuple[np.ndarray | None, str]:
    """Return the part of every row and the column that says it, where one does."""
    for name in frame.columns:
        if str(name).lower() not in PART_COLUMNS:
            continue
        words = [str(v).lower() for v in frame[name].tolist()]
        if set(words) <= set(PART_WORDS) and {PART_WORDS[w] for w in words} > {"train"}:
            return np.array([PART_WORDS[w] for w in words]), str(name)
    return None, ""


def items_of(
    source: Any,
    target: str | None,
    suffixes: Sequence[str],
    is_ours: Callable[[bytes], bool],
    wanted: Sequence[str] = (),
) -> Items:
    """Return the items of a source that holds encoded files.

    Raises:
        UsageError: a column is missing. DataError: there is no item.
    """
    if is_tree(source):
        tree = Tree(Path(source))
        found = items_of_tree(tree, target, suffixes, wanted)
        if found is None:
            few = ", ".join(tree.names[:5]) or "nothing"
            raise DataError(f"{source} holds no file that ends in {', '.join(suffixes)} (it holds {few}).")
        return found
    if isinstance(source, str | Path) and str(source).lower().endswith(tuple(suffixes)):
        existing(Path(source))
        source = [source]
    if isinstance(source, list | tuple) and source and all(isinstance(s, str | Path) for s in source):
        paths, where = [str(s) for s in source], LOOSE if len(source) > 1 else str(source[0])
        return Items(paths, lambda i: _read_named(Path(paths[i])), where, are_files=True)
    if not (isinstance(source, str | Path | Mapping) or hasattr(source, "columns")):
        raise DataError(
            f"expected a folder, a file, a list of files or a table of them (or uint8 pixels), got {_words(source)}."
        )
    frame = _frame(source)
    where = where_of(source)
    column = bytes_column(frame.head(PEEK_ROWS), is_ours)
    if column:
        return items_of_frame(frame, column, target, where, lambda c: encoded(c) or b"", wanted)
    base = Path(source).parent if isinstance(source, str | Path) else Path()
    column = names_column(frame.head(PEEK_ROWS), lambda c: (base / c).exists(), suffixes)
    if not column:
        raise DataError(f"{where} has no column of files or of encoded bytes.")
    return items_of_frame(frame, column, target, where, lambda c: _read_named(base / c), wanted)


def _words(source: Any) -> str:
    """Say what came, where it was no source."""
    if hasattr(source, "shape") and hasattr(source, "dtype"):
        return f"{source.dtype} numbers of the shape {tuple(source.shape)}"
    return f"an empty {type(source).__name__}" if source in ([], ()) else type(source).__name__


def where_of(source: Any) -> str:
    """Return what messages call a source."""
    return str(source) if isinstance(source, str | Path) else "the data frame"


def meant(items: Items, target: str | None) -> Items:
    """Return the items if their labels are what was asked for.

    Raises:
        UsageError: a column was asked for, and the labels are the folders.
    """
    if items.target == "class" and target not in (None, "class"):
        raise UsageError(
            f"--target {target}: {items.where} has no table with such a column; the class of a file is its folder. "
            "Leave --target out."
        )
    return items


def _read_named(path: Path) -> bytes:
    try:
        return read_file(path)
    except FileNotFoundError:
        raise BadItem("is named, but there is no such file") from None
    except OSError as error:
        raise BadItem(f"cannot be read: {error.strerror}") from None


def _frame(source: Any) -> pd.DataFrame:
    import pandas as pd

    if isinstance(source, str | Path) and str(source).lower().endswith(".parquet"):
        return pd.read_parquet(source)
    table = read_table(source)
    return pd.DataFrame(dict(table.columns))
