"""Real tables: what is known of them is found."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.conftest import shared_data
from trainwell.data import TableData, load_part, prepare_table


def kinds(data: TableData) -> dict[str, str]:
    return {c.name: c.kind for c in data.columns}


def adult(part: str) -> pd.DataFrame:
    frame = pd.read_parquet(shared_data("adult.parquet"))
    return frame[frame.split == part].drop(columns="split")


def said(data: TableData, code: str) -> list[str]:
    return [n.message for n in data.notes if n.code == code]


def test_adult_shows_its_23_test_rows_in_the_training_part() -> None:
    data = prepare_table(adult("train"), "target", val=adult("test"))
    (message,) = said(data, "duplicates")
    assert "of 16281 rows of the val part" in message
    assert "23 of them its target too" in message
    removed = prepare_table(adult("train"), "target", val=adult("test"), on_duplicates="remove")
    assert len(removed.splits["train"]) < len(data.splits["train"])
    assert removed.splits["val"].index.tolist() == data.splits["val"].index.tolist()


def test_adult_is_typed_and_clean() -> None:
    data = prepare_table(adult("train"), "target", test=adult("test"))
    assert data.task.classes == ("<=50K", ">50K")
    assert sorted(set(kinds(data).values())) == ["category", "numeric", "target"]
    assert list(kinds(data).values()).count("numeric") == 6
    assert data.spec.cardinalities == (17, 15, 41)
    assert not said(data, "leak")
    assert not said(data, "dropped")
    again = load_part(adult("test"), data.transform, data.task)
    assert (again.y == data.splits["test"].y).all()
    assert all((a == b).all() for a, b in zip(again.x, data.splits["test"].x, strict=True))


def test_churn_drops_its_identifiers() -> None:
    data = prepare_table(shared_data("churn_modelling.parquet"), "Exited", drop=("Surname",))
    assert [n for n, k in kinds(data).items() if k == "identifier"] == ["RowNumber", "CustomerId"]
    assert data.spec.num_numeric == 8
    assert not said(data, "leak")
    share = [p.y.mean() for p in data.splits.values()]
    assert np.allclose(share, 0.2037, atol=1e-3)


def test_employee_salaries_reads_its_dates_and_large_categories() -> None:
    data = prepare_table(shared_data("employee_salaries.parquet"), "current_annual_salary")
    assert data.task.kind == "regression"
    assert kinds(data)["date_first_hired"] == "date"
    assert max(data.spec.cardinalities) > 250
    hired = next(c for c in data.columns if c.name == "date_first_hired")
    assert hired.written == "%m/%d/%Y"
    days = data.cells["train"]["date_first_hired"].values
    years = data.cells["train"]["year_first_hired"].values
    assert (days.astype("datetime64[Y]").astype(int) + 1970 == years).all()


@pytest.mark.parametrize(
    ("name", "target", "columns"), [("california_housing", "MedHouseVal", 8), ("electricity", "class", 6)]
)
def test_tables_of_numbers_are_scaled(name: str, target: str, columns: int) -> None:
    data = prepare_table(shared_data(f"{name}.parquet"), target)
    assert (data.spec.num_numeric, data.spec.num_onehot, data.spec.cardinalities) == (columns, 0, ())
    for part in data.splits.values():
        assert np.abs(part.x[0]).max() <= 3
    assert np.abs(np.median(data.splits["train"].x[0], 0)).max() < 1e-6
    assert not said(data, "leak")


def test_time_split_of_a_series_does_not_look_ahead() -> None:
    frame = pd.read_parquet(shared_data("etth1.parquet"))
    time = next(n for n in frame.columns if "datetime" in str(frame[n].dtype) or frame[n].dtype == "str")
    data = prepare_table(frame, frame.columns[-1], time=time)
    moments = pd.to_datetime(frame[time]).to_numpy()
    train, val, test = (moments[p.index] for p in data.splits.values())
    assert train.max() < val.min() <= val.max() < test.min()
