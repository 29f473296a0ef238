"""Reading tables: every way in which a file can be broken is told with file and line."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwell.data import read_table
from trainwell.data.csv_scan import scan
from trainwell.values.errors import DataError, UsageError


def write(folder: Path, text: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_csv_reads_names_values_and_lines(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "a,b\n1,x\n\n2,\n"))
    assert list(table.columns) == ["a", "b"]
    assert table.columns["a"].tolist() == [1, 2]
    assert table.row(1) == "line 4"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.tsv", "a\tb\n1\t2\n"), ("t.csv", "a;b\n1;2\n"), ("t.csv", "a|b\n1|2\n"),
        ("t.csv", "\ufeffa,b\r\n1,2\r\n"),
        ("t.csv", "a,b\r1,2\r"), ("t.csv", "a, b\n1, 2"),
    ],
)  # fmt: skip
def test_csv_dialects_are_told_from_the_header(tmp_path: Path, name: str, text: str) -> None:
    table = read_table(write(tmp_path, text, name))
    assert {n: c.tolist() for n, c in table.columns.items()} == {"a": [1], "b": [2]}


def test_gzip_and_parquet_read_as_csv_does(tmp_path: Path) -> None:
    text = "a,b\n1,x\n2,y\n"
    plain = read_table(write(tmp_path, text))
    packed = read_table(write(tmp_path, gzip.compress(text.encode()), "t.csv.gz"))
    pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}).to_parquet(tmp_path / "t.parquet")
    parquet = read_table(tmp_path / "t.parquet")
    for table in (packed, parquet):
        assert {n: c.tolist() for n, c in table.columns.items()} == {
            n: c.tolist() for n, c in plain.columns.items()
        }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("  \n \n", "is empty"),
        ("a,b\n", "a header and no rows"),
        ("a,b\n1,2\n3\n", "line 3: 1 fields, but the header has 2 (1 such line in all)"),
        ("a,b\n1,2\n3,4,5\n6\n", "line 3: 3 fields, but the header has 2 (2 such lines in all)"),
        ("a,b\n1,2,3\n4\n", "line 2: 3 fields"),
        ('a,b\n"1\n1",2\n\n3\n', "line 5: 1 fields"),
        ("a,b\n1,2\n5\" pipe,3\n6,\"7\" x,8\n", "line 4: 3 fields"),
        ("a,a\n1,2\n", "two columns are called 'a'"),
        ("a,b\n1,2\n3,\u00e9\n".encode("latin-1"), "line 3: byte 10 (0xe9) is not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        (b"a,b\n1,\x002\n", "line 2: byte 6"),
        ('a,b\n1,"2\n3,4\n', "t.csv"),
    ],
)  # fmt: skip
def test_csv_that_is_broken_is_refused(tmp_path: Path, text: str | bytes, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError) as error:
        read_table(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)
    assert error.value.exit_code == 3


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_command_that_mends_an_encoding_quotes_the_path(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path, "a,b\n1,\u00e9\n".encode(encoding), "two words.csv")
    with pytest.raises(DataError) as error:
        read_table(path)
    assert f"-t UTF-8 '{path}' > mended.csv" in str(error.value)


@pytest.mark.parametrize(("name", "text"), [("t.csv.gz", b"no gzip"), ("t.parquet", b"no parquet")])
def test_files_that_are_something_else_are_refused(tmp_path: Path, name: str, text: bytes) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_table(write(tmp_path, text, name))


def test_truncated_gzip_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(b"a,b\n" + b"1,2\n" * 1000)
    with pytest.raises(DataError, match="cannot be read"):
        read_table(write(tmp_path, packed[: len(packed) // 2], "t.csv.gz"))


def test_path_that_is_wrong_suggests_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "a,b\n1,2\n", "adult.csv")
    with pytest.raises(UsageError, match=r"Did you mean 'adult.csv'"):
        read_table(tmp_path / "adlut.csv")
    with pytest.raises(UsageError, match="is a folder"):
        read_table(tmp_path)
    with pytest.raises(UsageError, match=r"\.xlsx"):
        read_table(write(tmp_path, "x", "t.xlsx"))
    with pytest.raises(UsageError, match="there is no file"):
        read_table(tmp_path / "none" / "t.csv")


def test_frames_and_arrays_read_alike() -> None:
    x, y = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0, 1])
    frame = pd.DataFrame(x, columns=["x0", "x1"], index=[7, 3])
    named, polars = pd.Series(y, name="target"), (pl.DataFrame(frame), pl.Series("target", y))
    tables = [read_table(s) for s in ((x, y), (frame, named), (x.tolist(), y.tolist()), polars)]
    for table in tables:
        assert table.target == "target"
        assert {n: list(map(float, c)) for n, c in table.columns.items()} == {
            "x0": [1, 3], "x1": [2, 4], "target": [0, 1],
        }  # fmt: skip


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        (([[1.0], [2.0]], [1]), DataError, "X has 2 rows, y has 1"),
        (([1.0, 2.0], [1, 2]), DataError, "two-dimensional"),
        (([[1.0], [2.0]], [[1, 2], [3, 4]]), DataError, "one-dimensional"),
        ((np.empty((0, 3)), []), DataError, "X is empty"),
        (3, UsageError, "a table is a path"),
        (pd.DataFrame({"a": []}), DataError, "no rows"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), DataError, "two columns"),
        ({"a": [1], "b": [1, 2]}, DataError, "several lengths"),
    ],
)  # fmt: skip
def test_sources_that_are_no_tables_are_refused(source: object, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        read_table(source)


field = st.text(alphabet='ab ,"\n1', max_size=4)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(2, 4).flatmap(
        lambda n: st.lists(st.lists(field, min_size=n, max_size=n), min_size=1, max_size=8)
    )
)
def test_scan_counts_as_the_csv_module_does(rows: list[list[str]]) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    found = scan(out.getvalue().encode(), ",")
    assert found.fields.tolist() == [len(r) for r in rows]
    line, lines = 1, []
    for row in rows:
        lines.append(line)
        line += 1 + sum(f.count("\n") for f in row)
    assert found.lines.tolist() == lines


def test_scan_crosses_its_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b'a,b\n1,"x,\ny"\n2,3\n' * 20
    whole = scan(text, ",")
    monkeypatch.setattr("trainwell.data.csv_scan.CHUNK_BYTES", 7)
    pieces = scan(text, ",")
    assert (whole.fields == pieces.fields).all()
    assert (whole.lines == pieces.lines).all()
