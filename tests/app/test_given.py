"""Data of many forms give the same table, and what is none is told in one line."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from torch import nn

import trainwell as tw
from trainwell.app.given import tidy
from trainwell.values.errors import DataError, UsageError

COLUMNS: dict[str, Any] = {
    "a": [float(i % 7) for i in range(90)],
    "b": ["xyz"[i % 3] for i in range(90)],
    "y": ["yes" if i % 7 > 3 else "no" for i in range(90)],
}
FRAME = pd.DataFrame(COLUMNS)


def polars_lazy() -> Any:
    return pytest.importorskip("polars").LazyFrame(COLUMNS)


def trained(data: Any, target: Any = "y", **options: Any) -> tw.Run:
    return tw.fit(
        data, target, preset="quick", budget="2ep", out=False, baseline=False, watch=False, **options
    )


@pytest.mark.parametrize(
    "make",
    [lambda: COLUMNS, lambda: FRAME.to_dict("records"), lambda: pa.table(COLUMNS), polars_lazy],
    ids=["columns", "records", "arrow", "lazy polars"],
)
def test_every_form_of_a_table_trains_as_the_frame_does(make: Any) -> None:
    known, run = trained(FRAME), trained(make())
    assert run.scores == known.scores
    rows = {"a": 5.0, "b": "x"}
    assert list(run.predict([rows])) == list(run.predict(rows)) == list(known.predict(pd.DataFrame([rows])))


def test_rows_of_lists_are_arrays() -> None:
    rows = [[a, b] for a, b in zip(COLUMNS["a"], COLUMNS["b"], strict=True)]
    run = trained((rows, COLUMNS["y"]), None)
    assert [c.type.kind for c in run.predictor.transform.columns] == ["numeric", "category"]


def test_target_of_an_array_is_a_number_of_a_column() -> None:
    frame, target = tidy(np.arange(6.0).reshape(3, 2), 1)
    assert (list(frame.columns), target) == (["x0", "x1"], "x1")
    assert tidy(pd.DataFrame({0: [1], 1: [2]}), 0)[1] == "0"


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (None, UsageError, "expected a path, a data frame"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), DataError, "two columns are called 'a'"),
        ({"a": [1, 2], "y": [1]}, DataError, "do not make a table"),
        (([[1, 2], [3]], [0, 1]), DataError, "have 1 to 2 fields"),
    ],
)
def test_what_makes_no_table_is_told(data: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        trained(data, "y" if not isinstance(data, tuple) else None)


def test_sparse_matrix_is_no_table() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(UsageError, match=r"X\.toarray\(\)"):
        trained((sparse.eye(4).tocsr(), np.arange(4)), None)


def test_one_row_of_a_frame_says_how_to_make_it_a_table() -> None:
    with pytest.raises(DataError, match=r"series\.to_frame\(\)"):
        trained(FRAME).predict(FRAME.drop(columns="y").iloc[0])


def test_arguments_of_a_wrong_kind_are_told() -> None:
    given: list[tuple[dict[str, Any], str]] = [
        ({"model": nn.Linear}, "the class Linear"),
        ({"recipe": {"lr": 1}}, "must be a Recipe, got dict"),
        ({"seed": 1.5}, "a whole number, got 1.5"),
        ({"learning_rate": 0.1}, r"'lr' is a field of the recipe: settings_="),
        ({"settings_": {"learning_rate": 0.1}}, "Did you mean 'lr'"),
        ({"with_": "dropout=0.2"}, "Did you mean 'dropout:rate=0.2'"),
        ({"val_fractoin": 0.2}, "Did you mean 'val_fraction'"),
    ]
    for options, said in given:
        with pytest.raises(UsageError, match=said):
            trained(FRAME, **options)


def test_one_technique_needs_no_tuple_around_it() -> None:
    assert [t.name for t in tw.Recipe(techniques="ema").techniques] == ["ema"]  # type: ignore[arg-type]
    run = trained(FRAME, with_="clip_grad:max_norm=2", without="ema")
    names = [t.name for t in run.recipe.techniques]
    assert "clip_grad" in names and "ema" not in names


def test_double_precision_is_taken_for_a_network_of_ours() -> None:
    x = torch.randn(90, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert trained((x, (x[:, 0] > 0).long()), None).scores["val"]["accuracy"] > 0


def test_a_network_that_does_not_fit_is_told_the_shapes() -> None:
    with pytest.raises(RuntimeError, match="cannot be multiplied") as raised:
        tw.fit(
            (torch.zeros(90, 2), torch.arange(90) % 2),
            model=nn.Linear(3, 2),
            loss=nn.CrossEntropyLoss(),
            out=False,
        )
    (note,) = raised.value.__notes__
    assert re.search(r"x \(\d+, 2\) float32 and y \(\d+,\) int64, rows first", note)


def test_ragged_lists_are_told_before_torch_sees_them() -> None:
    with pytest.raises(DataError, match="pieces of several shapes"):
        tw.fit(
            (torch.zeros(2, 2), [[0], [1, 2]]), model=nn.Linear(2, 2), loss=nn.CrossEntropyLoss(), out=False
        )
