"""Kinds of columns: what is inferred from numbers, words and dates."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from trainwell.data.cells import cells_of
from trainwell.data.columns import ColumnType, infer, typed
from trainwell.data.numerals import date_format, number_format, parse_numbers
from trainwell.data.read import Table
from trainwell.values.errors import DataError

N = 60
rng = np.random.default_rng(0)
words = np.array(["red", "green", "blue"], object)[rng.integers(0, 3, N)]


def kind_of(values: Any, name: str = "c", declared: str = "") -> ColumnType:
    cells = cells_of(pd.Series(values) if not isinstance(values, pd.Series | np.ndarray) else values)
    return infer(name, cells, np.arange(len(cells)), declared)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (rng.normal(size=N), "numeric"),
        (rng.integers(0, 3, N), "numeric"),
        (np.where(rng.random(N) < 0.2, np.nan, rng.normal(size=N)), "numeric"),
        (pd.Series(rng.integers(0, 9, N), dtype="Int64"), "numeric"),
        ([decimal.Decimal("1.5"), decimal.Decimal("2.5")] * 30, "numeric"),
        ([f"{v:,.2f}" for v in rng.normal(0, 5000, N)], "numeric"),
        ([f"{v:.1f}%" for v in rng.normal(size=N)], "numeric"),
        ([f"${v:,.0f}" for v in rng.uniform(0, 1e5, N)], "numeric"),
        ([f"{v:.2f}".replace(".", ",") for v in rng.normal(size=N)], "numeric"),
        (pd.to_timedelta(rng.integers(0, 99, N), unit="h"), "numeric"),
        (pd.Series([datetime.timedelta(hours=i % 9) for i in range(N)], dtype=object), "numeric"),
        (pd.Series([i % 9 for i in range(N)], dtype=pd.ArrowDtype(pa.duration("s"))), "numeric"),
        (pd.Series([[1, 2]] * N, dtype=pd.ArrowDtype(pa.list_(pa.int64()))), "unsupported"),
        (rng.random(N) < 0.5, "boolean"),
        (pd.Series([True, None, False] * 20, dtype="boolean"), "boolean"),
        ([True, None, False] * 20, "boolean"),
        (np.where(rng.random(N) < 0.5, "yes", "No"), "boolean"),
        (words, "category"),
        (pd.Series(words, dtype="category"), "category"),
        ([f"0{i % 7}{i % 5}23" for i in range(N)], "category"),
        (["1-5", "6-10"] * 30, "category"),
        (pd.date_range("2020-01-01", periods=N), "date"),
        (pd.date_range("2020-01-01", periods=N, tz="Europe/Zurich"), "date"),
        ([datetime.date(2020, 1, 1 + i % 28) for i in range(N)], "date"),
        ([f"2020-03-{1 + i % 28:02d}T10:00:00Z" for i in range(N)], "date"),
        ([f"{1 + i % 12}/{1 + i % 28}/1999" for i in range(N)], "date"),
        ([f"{1 + i % 28}.{1 + i % 12}.1999" for i in range(N)], "date"),
        ([f"{1 + i % 28} Mar 1999 1{i % 10}:30" for i in range(N)], "date"),
        ([f"Jan {1 + i % 28}, 2001" for i in range(N)], "date"),
        (np.arange(N) + 5, "identifier"),
        (rng.permutation(N), "identifier"),
        (np.arange(N) ** 2, "identifier"),
        ([f"user{i}" for i in range(N)], "identifier"),
        ([str(uuid.UUID(int=int(i))) for i in rng.integers(0, 9, N)], "identifier"),
        ([f"this is the {i}-th of many long sentences" for i in range(N)], "text"),
        (np.ones(N), "constant"),
        (["same"] * N, "constant"),
        ([None] * N, "empty"),
        ([""] * N, "empty"),
        (np.full(N, np.nan), "empty"),
        ([[1, 2]] * N, "unsupported"),
        ([{"a": 1}] * N, "unsupported"),
        ([b"raw"] * N, "unsupported"),
        (np.ones(N) * 1j, "unsupported"),
    ],
)  # fmt: skip
def test_kind_is_inferred(values: Any, kind: str) -> None:
    assert kind_of(values).kind == kind


def test_distinct_integers_are_identifiers_only_if_the_name_or_the_order_says_so() -> None:
    scattered = rng.permutation(10**6)[:N]
    assert kind_of(scattered, "salary").kind == "numeric"
    for name in ("id", "customer_id", "CustomerId", "userID", "order key"):
        assert kind_of(scattered, name).kind == "identifier"
    for name in ("paid", "grid", "monkey"):
        assert kind_of(scattered, name).kind == "numeric"


def test_declared_kinds_win() -> None:
    assert kind_of(np.arange(N), declared="numeric").kind == "numeric"
    assert kind_of(rng.integers(0, 3, N), declared="category").kind == "category"
    assert kind_of([f"user{i}" for i in range(N)], declared="category").kind == "category"
    assert kind_of(np.ones(N), declared="numeric").kind == "constant"


def test_missing_and_distinct_are_counted() -> None:
    found = kind_of(["a", None, "b", "a", " "])
    assert (found.missing, found.distinct) == (0.4, 2)


def test_mostly_numbers_is_said_and_mended() -> None:
    found = kind_of([*map(str, rng.integers(0, 9, 80)), *["?"] * 20])
    assert found.kind == "category"
    assert "80% of it are numbers, but not e.g. '?'; if that means missing: --na '?'" in found.remark


def test_ambiguities_are_said() -> None:
    assert "day and month" in kind_of([f"0{1 + i % 9}/0{1 + i % 7}/1999" for i in range(N)]).remark
    assert not kind_of([f"{13 + i % 9}/0{1 + i % 7}/1999" for i in range(N)]).remark
    assert "thousands" in kind_of(["1,234", "2,345", "9,999"] * 20).remark


@pytest.mark.parametrize("written", ["1,234.5", "plain", "12%", "$1,234", "1.234,5"])
def test_numbers_in_text_come_back(written: str) -> None:
    numbers = [1234.5, -0.25, 1e6, 3.0]
    plain = {"plain": "{}", "1,234.5": "{:,}", "12%": "{}%", "$1,234": "${:,}", "1.234,5": "{:,}"}[written]
    texts = [plain.format(n).replace("$-", "-$") for n in numbers]
    if written == "1.234,5":
        texts = [t.translate(str.maketrans(",.", ".,")) for t in texts]
    assert parse_numbers(texts, written).tolist() == numbers
    found, share = number_format(texts, np.ones(4, int))
    assert share == 1
    assert parse_numbers(texts, found).tolist() == numbers


def test_many_words_are_judged_by_a_sample() -> None:
    counts = np.ones(6000, int)
    assert number_format([f"user{i}" for i in range(6000)], counts) == ("plain", 0.0)
    mixed = [*map(str, range(5900)), *(f"u{i}" for i in range(100))]
    assert number_format(mixed, counts) == ("plain", 5900 / 6000)
    assert number_format(mixed[::-1], counts) == number_format(mixed, counts)


@pytest.mark.parametrize("word", ["1_000", "0x10", "nan", "12a", "", "1,2,3", "--1"])
def test_words_that_only_look_like_numbers_are_not(word: str) -> None:
    for written in ("plain", "1,234.5", "1.234,5", "12%", "$1,234"):
        assert np.isnan(parse_numbers([word], written)).all()


def test_dates_do_not_swallow_other_words() -> None:
    for texts in (["10th", "11th"], ["3.4.1", "3.5.2"], ["route 12-34", "x"], ["99/99/2020"] * 3):
        assert date_format(texts, np.ones(len(texts), int))[1] == 0


def test_text_in_a_numeric_column_names_file_line_and_mend() -> None:
    column = pd.Series(["1.5"] * 97 + ["abc", "2", "abc"])
    table = Table({"c": column}, "t.csv", np.arange(2, 102))
    cells = cells_of(column)
    found = infer("c", cells, np.arange(100))
    assert found.kind == "numeric"
    with pytest.raises(DataError) as error:
        typed(found, cells, table)
    said = str(error.value)
    for part in ("t.csv, line 99, column 'c'", "got 'abc' (2 of 100 cells", "na='abc'", "categorical='c'"):
        assert part in said


def test_na_words_and_numbers_become_missing() -> None:
    assert cells_of(pd.Series(["1", "abc", "x"]), ("abc",)).missing.tolist() == [False, True, False]
    assert cells_of(np.array([1.0, -999.0, 2.0]), ("-999", "abc")).missing.tolist() == [False, True, False]
    assert cells_of(pd.Series([1, -999], dtype="category"), ("-999",)).missing.tolist() == [False, True]
    assert cells_of(np.array([1.0, np.inf]), ("inf",)).missing.tolist() == [False, True]


def test_one_value_is_written_one_way_in_every_dtype() -> None:
    sources = [
        pd.Series([3, 4]), pd.Series([3.0, 4.0]), pd.Series(["3", "4"]), pd.Series([3, 4], dtype="category"),
        np.array([3, 4], object), pl.Series([3, 4]).to_pandas(),
    ]  # fmt: skip
    for source in sources:
        cells = typed(ColumnType("c", "category"), cells_of(source), Table({"c": source}, "t"))
        assert [cells.words[i] for i in cells.values] == ["3", "4"]
