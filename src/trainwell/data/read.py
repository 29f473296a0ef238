"""Read a table from a file, a frame or arrays, and know where each row came from."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import os
import shlex
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainwell.data.csv_scan import is_regular, scan, separator_of
from trainwell.values.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
HEAD_BYTES = 1 << 20
LONE = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".tif", ".tiff", ".bmp", ".wav", ".flac", ".ogg")
"""One such file is an item, and no data."""


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns by name, with what an error needs to point at a cell.

    Args:
        columns: pandas Series or numpy arrays of one length.
        where: the file, or `the data frame`, `the arrays`.
        lines: line of the file at which each row begins; `None` when rows are counted from 0.
        target: name of the target column if it came as an array of its own.
    """

    columns: Mapping[str, Any]
    where: str
    lines: np.ndarray | None = None
    target: str = ""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def row(self, index: int) -> str:
        """Name a row the way its source counts it."""
        return f"row {index} (from 0)" if self.lines is None else f"line {self.lines[index]}"

    def column(self, name: str, option: str) -> Any:
        """Return a column by name.

        Raises:
            UsageError: there is none; the nearest name is suggested.
        """
        if name not in self.columns:
            few = ", ".join(list(self.columns)[:12]) + (", ..." if len(self.columns) > 12 else "")
            hint = did_you_mean(name, self.columns) + _headless(self) + _unparted(self)
            raise UsageError(f"{option}: {self.where} has no column '{name}' (it has: {few}).{hint}")
        return self.columns[name]


def _headless(table: Table) -> str:
    """Say so when the names look like numbers, as in a file without a header."""
    if table.lines is None or not table.columns:
        return ""
    numbers = sum(map(_is_number, table.columns))
    return " Its first line seems to hold data, not names." if numbers * 2 > len(table.columns) else ""


def _is_number(name: str) -> bool:
    return name.replace(".", "", 1).lstrip("-").isdigit()


def _unparted(table: Table) -> str:
    """Say so when a file has one column whose name holds marks, as where they part its columns."""
    if table.lines is None or len(table.columns) > 1:
        return ""
    marks = sorted({c for c in next(iter(table.columns)) if not c.isalnum() and c not in "_- ."})
    found = f" Is it '{marks[0]}' that separates its columns?" if len(marks) == 1 else ""
    return found + " Columns must be separated by ',', ';', tab or '|'."


def read_table(source: Any, target: str | None = None) -> Table:
    """Read a path (.csv, .tsv, .parquet, also .gz), a pandas or polars frame, or arrays (X, y) or X.

    Args:
        target: name for the y of arrays; a name of its own is kept otherwise.
    Raises:
        UsageError: the path does not exist or is of an unknown kind, or the source is no table.
        DataError: the file cannot be parsed, has ragged rows, no rows, or two columns of one name.
    """
    if isinstance(source, Table):
        return source
    if isinstance(source, str | os.PathLike):
        return _read_path(Path(source))
    if isinstance(source, tuple | list) and len(source) == 2 and not np.isscalar(source[0]):
        return _with_target(_read_memory(source[0]), source[1], target)
    return _read_memory(source)


def existing(path: Path) -> Path:
    """Return the path of a file that is there.

    Raises:
        UsageError: it is not; names what is most like it.
    """
    if not path.exists():
        folder = path.parent
        near = did_you_mean(path.name, (p.name for p in folder.iterdir())) if folder.is_dir() else ""
        raise UsageError(f"there is no file {path}.{near}")
    return path


def _read_path(path: Path) -> Table:
    existing(path)
    suffix = "".join(path.suffixes[-2:]).lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    if path.is_dir() or suffix not in SUFFIXES:
        what = f"is no table that can be read ('{suffix}')"
        if suffix in LONE:
            raise UsageError(
                f"{path} is one image or sound; expected many: a folder with a folder per class, or a table whose column "
                "names such files."
            )
        if path.is_dir():
            what = "is a folder that holds no image, no sound and no table of them"
        raise UsageError(f"{path} {what}; expected a file that ends in {', '.join(SUFFIXES)}.")
    if suffix == ".parquet":
        return _read_parquet(path)
    return _read_csv(path, "\t" if suffix.startswith(".tsv") else ",")


def _read_parquet(path: Path) -> Table:
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except Exception as error:  # pyarrow has a dozen kinds, and any of them says that the file is broken
        raise DataError(f"{path} cannot be read as Parquet: {error}") from None
    return _from_frame(frame, str(path))


def _read_csv(path: Path, separator: str) -> Table:
    import pandas as pd

    where, data = str(path), _text_bytes(path)
    head = data[:HEAD_BYTES].decode(errors="ignore").lstrip()
    separator = separator_of(head.partition("\n")[0], separator)
    reader = csv.reader(io.StringIO(head, newline=""), delimiter=separator, skipinitialspace=True)
    names = [n.strip() for n in next(reader)]
    _check_names(names, where)
    lines = None if is_regular(data, separator, len(names)) else _lines_of(where, data, separator, len(names))
    try:
        frame = pd.read_csv(
            io.BytesIO(data), sep=separator, low_memory=False, skipinitialspace=True, index_col=False,
            header=0, names=[n or f"unnamed_{i}" for i, n in enumerate(names)],
        )  # fmt: skip
    except pd.errors.ParserError as error:
        _lines_of(where, data, separator, len(names))
        raise DataError(f"{where} cannot be parsed as CSV: {error}.") from None
    if not len(frame):
        raise DataError(f"{where} has a header and no rows.")
    if lines is None or len(lines) != len(
        frame
    ):  # in the latter case the parser saw other records than the scan
        lines = np.arange(2, len(frame) + 2)
    return Table({str(n): frame[n] for n in frame.columns}, where, lines)


def _lines_of(where: str, data: bytes, separator: str, num_fields: int) -> np.ndarray:
    """Return the line at which each row begins; refuse rows that have other fields than the header."""
    try:
        shape = scan(data, separator)
    except DataError as error:
        raise DataError(f"{where}, {error}") from None
    ragged = np.flatnonzero(shape.fields != num_fields)
    if len(ragged) and num_fields > 1:
        at = ragged[0]
        raise DataError(
            f"{where}, line {shape.lines[at]}: {shape.fields[at]} fields, but the header has {num_fields} "
            f"({len(ragged)} such line{'s' if len(ragged) > 1 else ''} in all). "
            f"Quote text that holds '{separator}', or mend the line."
        )
    return shape.lines[1:]


def _text_bytes(path: Path) -> bytes:
    """Return the bytes of a text file in UTF-8 with newlines, or say at which line it is not."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}.") from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(
            f"{path} is encoded in UTF-16, expected UTF-8: "
            f"iconv -f UTF-16 -t UTF-8 {shlex.quote(str(path))} > mended.csv"
        )
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data[:HEAD_BYTES].strip() and not data.strip():
        raise DataError(f"{path} is empty.")
    try:
        if not data.isascii():
            data.decode()
        bad = data.find(b"\0")
    except UnicodeDecodeError as error:
        bad = error.start
    if bad >= 0:
        line = data.count(b"\n", 0, bad) + 1
        if not data[bad]:
            raise DataError(
                f"{path}, line {line}: byte {bad} is zero, so this is no text; expected UTF-8 text."
            )
        raise DataError(
            f"{path}, line {line}: byte {bad} (0x{data[bad]:02x}) is not UTF-8 text. If the file is in "
            f"Latin-1: iconv -f ISO-8859-1 -t UTF-8 {shlex.quote(str(path))} > mended.csv"
        )
    return data if b"\r" not in data or b"\n" in data else data.replace(b"\r", b"\n")


def _check_names(names: list[str], where: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name and name in seen:
            data = " Or does its first line hold data, and no names?" if _is_number(name) else ""
            raise DataError(f"{where}: two columns are called '{name}'. Rename one of them.{data}")
        seen.add(name)


def _from_frame(frame: pd.DataFrame, where: str) -> Table:
    names = [str(n) for n in frame.columns]
    _check_names(names, where)
    if not len(frame):
        raise DataError(f"{where} has no rows.")
    return Table({n: frame.iloc[:, i] for i, n in enumerate(names)}, where)


def _read_memory(source: Any) -> Table:
    module = type(source).__module__.partition(".")[0]
    if module == "polars" and hasattr(source, "to_pandas"):
        return _from_frame(source.to_pandas(), "the polars frame")
    if module == "pandas" and hasattr(source, "columns"):
        return _from_frame(source, "the data frame")
    if isinstance(source, list) and source and all(isinstance(row, Mapping) for row in source):
        import pandas as pd

        return _from_frame(pd.DataFrame(source), "the rows")
    if isinstance(source, Mapping):
        if all(np.isscalar(c) or c is None for c in source.values()):
            source = {n: [c] for n, c in source.items()}  # one row
        columns = {str(n): np.asarray(c) for n, c in source.items()}
        if len({len(c) for c in columns.values()}) != 1:
            raise DataError("the columns of the mapping have several lengths.")
        return Table(columns, "the columns")
    if hasattr(source, "toarray"):
        raise UsageError("a sparse matrix is no table; pass X.toarray() if it fits into memory.")
    if not hasattr(source, "__array__") and not isinstance(source, list | tuple):
        raise UsageError(
            f"a table is a path, a pandas or polars frame, or arrays (X, y), got {type(source).__name__}."
        )
    array = np.asarray(source)
    if module == "pandas" and array.ndim == 1:
        raise DataError(
            "a Series is one row or one column, expected a table: series.to_frame(), and .T for a row."
        )
    if array.ndim != 2:
        raise DataError(f"X must be two-dimensional, rows x columns, got shape {array.shape}.")
    if not len(array) or not array.shape[1]:
        raise DataError(f"X is empty: shape {array.shape}.")
    return Table({f"x{i}": array[:, i] for i in range(array.shape[1])}, "the arrays")


def _with_target(table: Table, y: Any, target: str | None) -> Table:
    """Add the target that came as an array of its own."""
    name = str(target or getattr(y, "name", None) or "target")
    if hasattr(y, "columns") and len(y.columns) == 1:
        name, y = str(target or y.columns[0]), y[y.columns[0]]
    if type(y).__module__.startswith("polars"):
        y = y.to_pandas()
    values = y if hasattr(y, "iloc") else np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise DataError(f"y must be one-dimensional, got shape {values.shape}. One model learns one target.")
    if len(values) != len(table):
        raise DataError(f"X has {len(table)} rows, y has {len(values)}. They must agree.")
    if name in table.columns:
        raise DataError(f"y is called '{name}', and so is a column of X. Pass target='another name'.")
    return Table({**table.columns, name: values}, table.where, table.lines, name)
