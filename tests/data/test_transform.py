"""The transform: finite, fitted on the training part alone, blind to the order of rows, exact on disk."""

from __future__ import annotations

import datetime
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainwell.data import TableTransform, prepare_table
from trainwell.data.encoders import CodeColumn, Scale
from trainwell.values.errors import DataError

FIRST_DAY, LAST_DAY = datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)
MANY = [f"w{i:02d}" for i in range(30)]


def frame_of(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "number": rng.normal(3, 2, rows),
        "holes": np.where(rng.random(rows) < 0.2, np.nan, rng.lognormal(size=rows)),
        "count": rng.integers(0, 4, rows),
        "flag": rng.random(rows) < 0.3,
        "few": np.array(["a", "b", "c"], object)[rng.integers(0, 3, rows)],
        "gap": np.array(["a", "b", "c", None], object)[rng.integers(0, 4, rows)],
        "two": np.array(["m", "f", None], object)[rng.integers(0, 3, rows)],
        "many": np.array([*MANY, None], object)[rng.integers(0, 31, rows)],
        "day": pd.Timestamp("2015-01-01") + pd.to_timedelta(rng.integers(0, 50_000, rows), unit="h"),
    })  # fmt: skip
    frame["y"] = (frame.number + rng.normal(size=rows) > 3).astype(int)
    return frame


def column(transform: TableTransform, x: tuple[np.ndarray, ...], name: str) -> np.ndarray:
    numbers, onehot, codes = transform.feature_names()
    names = [*numbers, *onehot]
    return x[0][:, names.index(name)] if name in names else x[1][:, codes.index(name)]


def test_shapes_dtypes_and_spec_agree() -> None:
    data = prepare_table(frame_of(), "y")
    for part in data.splits.values():
        floats, codes = part.x
        assert (floats.dtype, codes.dtype, part.y.dtype) == (np.float32, np.int64, np.int64)
        assert floats.shape == (len(part), data.spec.num_numeric + data.spec.num_onehot)
        assert codes.shape == (len(part), len(data.spec.cardinalities))
        assert (codes.max(0) < data.spec.cardinalities).all()
        assert floats.flags.c_contiguous
    names = data.transform.feature_names()
    assert [len(n) for n in names] == [
        data.spec.num_numeric,
        data.spec.num_onehot,
        len(data.spec.cardinalities),
    ]


def test_scale_is_the_robust_scaler_of_scikit_learn() -> None:
    from sklearn.preprocessing import RobustScaler

    values = np.random.default_rng(0).lognormal(size=501)
    z = RobustScaler().fit_transform(values[:, None])[:, 0]
    scale = Scale.fit(values)
    assert scale is not None
    assert np.allclose(scale.apply(values), z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-12)


def test_scale_falls_back_where_the_quartiles_coincide() -> None:
    values = np.array([0.0] * 90 + [4.0] * 10)
    scale = Scale.fit(values)
    assert scale == Scale(0.0, 2.0)
    assert Scale.fit(np.full(9, 7.0)) is None
    assert Scale.fit(np.array([np.nan, 7.0])) is None


finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=200, deadline=None)
@given(st.lists(finite | st.just(np.nan), min_size=1, max_size=30), st.lists(finite, max_size=5))
def test_scaled_numbers_are_finite_and_in_order(values: list[float], others: list[float]) -> None:
    scale = Scale.fit(np.array(values))
    if scale is None:
        return
    everything = np.sort(np.array([v for v in values if v == v] + others))
    out = scale.apply(everything)
    assert np.isfinite(out).all()
    assert (np.abs(out) <= 3).all()
    assert (np.diff(out) >= 0).all()
    assert scale.apply(np.array([np.nan])) == 0


word = st.sampled_from(["x", "y", "z", ""]) | st.none()
tables = st.integers(8, 40).flatmap(lambda n: st.fixed_dictionaries({
    "f": st.lists(finite | st.just(np.nan), min_size=n, max_size=n),
    "g": st.lists(st.floats(-5, 5), min_size=n, max_size=n),
    "i": st.lists(st.integers(-3, 3), min_size=n, max_size=n),
    "w": st.lists(word, min_size=n, max_size=n),
    "m": st.lists(st.sampled_from(MANY) | st.none(), min_size=n, max_size=n),
    "b": st.lists(st.booleans(), min_size=n, max_size=n),
    "d": st.lists(st.datetimes(FIRST_DAY, LAST_DAY), min_size=n, max_size=n),
}))  # fmt: skip


def fitted(table: dict[str, list[Any]], order: np.ndarray) -> Any:
    n = len(table["g"])
    frame = pd.DataFrame({k: pd.Series(v, dtype=object if k in "wm" else None) for k, v in table.items()})
    frame["g"] = frame["g"] + np.linspace(0, 1, n)
    frame["y"] = np.arange(n) % 2
    return prepare_table(frame.iloc[order], "y", val=frame, categorical=("m",)), frame


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables, st.integers(0, 99))
def test_rows_are_finite_and_their_order_does_not_matter(table: dict[str, list[Any]], seed: int) -> None:
    n = len(table["g"])
    data, frame = fitted(table, np.arange(n))
    for part in data.splits["train"].x:
        assert np.isfinite(part).all()
    other, _ = fitted(table, np.random.default_rng(seed).permutation(n))
    assert other.transform == data.transform
    again = TableTransform.from_dict(json.loads(json.dumps(data.transform.to_dict())))
    assert again == data.transform
    for a, b in zip(again.apply(frame), data.splits["train"].x, strict=True):
        assert a.tobytes() == b.tobytes()


def test_training_part_alone_decides() -> None:
    frame = frame_of()
    data = prepare_table(frame, "y")
    changed = frame.copy()
    rows = np.concatenate([data.splits["val"].index, data.splits["test"].index])
    changed.loc[rows, "number"] = 1e9 + np.arange(len(rows))  # all rows differ still, and are split as before
    changed.loc[rows, "many"] = "new word"
    changed.loc[rows, "few"] = None
    changed.loc[rows, "day"] = pd.Timestamp("2200-01-01")
    other = prepare_table(changed, "y")
    assert other.transform == data.transform
    assert (column(other.transform, other.splits["val"].x, "many") == 0).all()
    assert (other.splits["val"].x[0] <= 3).all()


def test_missing_numbers_become_the_median_and_a_flag() -> None:
    data = prepare_table(frame_of(), "y")
    part = data.splits["train"]
    gone = data.cells["train"]["holes"].missing
    assert (column(data.transform, part.x, "holes")[gone] == 0).all()
    assert (column(data.transform, part.x, "holes is missing") == gone).all()
    assert "number is missing" not in data.transform.feature_names()[1]
    row = frame_of().head(3).assign(number=np.nan)
    assert (column(data.transform, data.transform.apply(row), "number") == 0).all()


def test_categories_follow_their_layout() -> None:
    frame = frame_of()
    data = prepare_table(frame, "y")
    new = frame.head(4).assign(
        few=["a", "c", "new", None], gap=["a", None, "new", "b"], two=["m", "f", None, "new"],
        many=["w00", "new", None, "w29"], flag=[True, False, True, False],
    )  # fmt: skip
    x = data.transform.apply(new)

    def got(name: str) -> list[float]:
        return column(data.transform, x, name).tolist()

    assert [got(f"few = {v}") for v in "abc"] == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert [got("gap = a"), got("gap is missing")] == [[1, 0, 0, 0], [0, 1, 0, 0]]
    assert got("two = m") == [1, -1, 0, 0]
    assert got("flag = True") == [1, -1, 1, -1]
    assert got("many")[1:3] == [0, 0]
    assert len({*got("many")}) == 3


def test_value_or_nothing_is_a_sign() -> None:
    frame = frame_of().assign(only=lambda f: np.where(f["count"] > 1, "yes please", None))
    data = prepare_table(frame, "y")
    x = data.transform.apply(frame.head(3).assign(only=["yes please", None, "other"]))
    assert column(data.transform, x, "only = yes please").tolist() == [1, -1, 0]


def test_values_seen_once_share_the_code_of_the_unseen() -> None:
    frame = pd.DataFrame({"c": [*MANY * 3, "once"], "y": [0, 1] * 45 + [1], "z": np.arange(91) % 7})
    data = prepare_table(frame, "y", val=frame)
    encoder = data.transform.columns[0]
    assert isinstance(encoder, CodeColumn)
    assert data.spec.cardinalities == (31,)
    assert data.splits["train"].x[1][-1, 0] == 0


def test_dates_give_trend_and_cycles() -> None:
    data = prepare_table(frame_of(), "y")
    names = [n for n in data.transform.feature_names()[0] if n.startswith("day ")]
    parts = ("days", "year", "month sin", "month cos", "weekday sin", "weekday cos", "hour sin", "hour cos")
    assert names == [f"day {part}" for part in parts]
    start = pd.Timestamp("2020-02-01")
    short = frame_of().assign(day=start + pd.to_timedelta(np.arange(400) % 9, unit="D"))
    names = [n for n in prepare_table(short, "y").transform.feature_names()[0] if n.startswith("day ")]
    assert names == ["day days"]


def test_dates_as_text_and_as_moments_agree() -> None:
    frame = frame_of()
    text = frame.assign(day=frame.day.dt.strftime("%d.%m.%Y %H:%M"))
    a, b = prepare_table(frame, "y"), prepare_table(text, "y")
    for name in a.splits:
        assert np.allclose(a.splits[name].x[0], b.splits[name].x[0])


def test_csv_parquet_and_polars_agree(tmp_path: Any) -> None:
    import polars as pl

    frame = frame_of()
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    first = prepare_table(frame, "y")
    for source in (tmp_path / "t.csv", str(tmp_path / "t.parquet"), pl.from_pandas(frame)):
        other = prepare_table(source, "y")
        for name, part in first.splits.items():
            assert (part.index == other.splits[name].index).all()
            for a, b in zip(part.x, other.splits[name].x, strict=True):
                assert np.allclose(a, b, atol=1e-6)


def test_columns_missing_at_prediction_are_named() -> None:
    frame = frame_of()
    data = prepare_table(frame, "y")
    with pytest.raises(DataError, match=r"1 of the 9 columns.*number\. Did you mean 'Number'"):
        data.transform.apply(frame.rename(columns={"number": "Number"}))
    reordered = frame[frame.columns[::-1]].assign(more=1).drop(columns="y")
    for a, b in zip(data.transform.apply(reordered), data.transform.apply(frame), strict=True):
        assert (a == b).all()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("number", "abc", "row 2 (from 0), column 'number': expected a number, got 'abc'"),
        ("number", np.inf, "row 2 (from 0), column 'number': the number is infinite"),
        ("day", "someday", "row 2 (from 0), column 'day': expected a date"),
    ],
)
def test_bad_cells_at_prediction_are_told_with_their_row(name: str, value: Any, said: str) -> None:
    frame = frame_of()
    data = prepare_table(frame, "y")
    bad = frame.head(5).astype({name: object if isinstance(value, str) else float})
    bad.loc[2, name] = value
    with pytest.raises(DataError) as error:
        data.transform.apply(bad)
    assert said in str(error.value)


def test_forms_that_do_not_fit_at_prediction_are_refused() -> None:
    frame = frame_of()
    data = prepare_table(frame, "y")
    with pytest.raises(DataError, match="expected numbers, found dates"):
        data.transform.apply(frame.assign(number=frame.day))
    with pytest.raises(DataError, match="expected dates, found numbers"):
        data.transform.apply(frame.assign(day=frame.number))
    with pytest.raises(DataError, match="expected categories"):
        data.transform.apply(frame.assign(few=[[1]] * len(frame)))


def test_newer_format_is_refused() -> None:
    saved = prepare_table(frame_of(), "y").transform.to_dict()
    with pytest.raises(DataError, match="newer trainwell"):
        TableTransform.from_dict({**saved, "format": 99})
