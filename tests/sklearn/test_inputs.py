"""What X and y may be, how tiny they may be, and what is said about those that cannot be learned from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sklearn.common import Net, blobs, classifier, regressor
from trainwell.app.features import MIN_VALIDATION_ROWS, InputError, split_rows
from trainwell.values.errors import RecipeError, UsageError


def frame(rows: int = 120, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Return a frame whose columns of every kind tell the class, and the class."""
    rng = np.random.default_rng(seed)
    y = np.array(["no", "yes"])[rng.integers(0, 2, rows)]
    yes = y == "yes"
    number = np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows) + 2 * yes)
    colour = np.where(rng.random(rows) < 0.8, np.where(yes, "red", "blue"), "green").astype(object)
    colour[rng.random(rows) < 0.1] = None
    columns = {
        "number": number,
        "colour": colour,
        "size": pd.Categorical(np.where(yes, "L", "S"), categories=["S", "M", "L"]),
        "day": pd.to_datetime("2024-01-01") + pd.to_timedelta(rng.integers(0, 900, rows), "D"),
        "flag": rng.random(rows) < 0.5,
        "count": pd.array(rng.integers(0, 9, rows), dtype="Int64"),
    }
    return pd.DataFrame(columns), y


def test_frame_of_all_kinds_is_learned() -> None:
    X, y = frame()
    fitted = classifier().fit(X, y)
    assert fitted.score(X, y) > 0.95
    assert fitted.classes_.tolist() == ["no", "yes"]
    assert fitted.feature_names_in_.tolist() == list(X.columns)
    assert fitted.run_.predictor.transform is not None
    kinds = {e.type.name: e.type.kind for e in fitted.run_.predictor.transform.columns}
    assert kinds == {
        "number": "numeric", "colour": "category", "size": "category", "day": "date", "flag": "boolean",
        "count": "numeric",
    }  # fmt: skip


def test_polars_frame_gives_what_the_pandas_frame_gives() -> None:
    X, y = frame()
    mine, theirs = pl.from_pandas(X), pl.Series(y)
    one, other = classifier().fit(X, y), classifier().fit(mine, theirs)
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(mine))


def test_lists_of_mixed_kinds_are_read_cell_by_cell() -> None:
    X, y = frame()
    rows = X[["number", "colour"]].values.tolist()
    fitted = classifier().fit(rows, y.tolist())
    assert fitted.score(rows, y) > 0.8
    kinds = [e.type.kind for e in fitted.run_.predictor.transform.columns]
    assert kinds == ["numeric", "category"]


def test_unseen_and_missing_cells_are_predicted() -> None:
    X, y = frame()
    fitted = classifier().fit(X, y)
    odd = X.head(4).assign(colour=["violet", None, "red", ""], number=np.nan, day=pd.NaT)
    assert np.isfinite(fitted.predict_proba(odd)).all()


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "int32", "int8", "uint8", "bool", "object", "float16"]
)
def test_dtype_of_x_is_taken(dtype: str) -> None:
    X, y = blobs()
    X = (10 * np.clip(X, 0, 9)).astype(dtype)
    assert classifier().fit(X, y).predict(X).dtype == y.dtype


@pytest.mark.parametrize(
    "labels",
    [
        np.array([3, -1, 7]),
        np.array(["b", "a", "c"]),
        np.array(["b", "a", "c"], object),
        np.array([0.5, 1.5, 2.5]) * 2,
        np.array([True, False, True]),
        pd.array(["x", "y", "z"]),
        pd.Categorical(["x", "y", "z"]),
        pd.array([1, 2, 3], dtype="Int64"),
    ],
    ids=str,
)
def test_labels_come_back_as_they_were_given(labels: Any) -> None:
    X, y = blobs()
    given = pd.Series(labels)[y] if not isinstance(labels, np.ndarray) else labels[y]
    fitted = classifier().fit(X, given)
    assert fitted.score(X, np.asarray(given)) > 0.9
    np.testing.assert_array_equal(fitted.classes_, np.unique(np.asarray(given)))
    assert fitted.predict_proba(X).shape == (len(X), len(fitted.classes_))


def test_one_feature_and_constant_features_are_taken() -> None:
    X, y = blobs(classes=2)
    assert classifier().fit(X[:, :1], y).score(X[:, :1], y) > 0.9
    X[:, 1] = 5.0
    assert classifier().fit(X, y).score(X, y) > 0.9


def test_x_without_information_gives_the_shares_of_the_classes() -> None:
    y = np.repeat([0, 1], [80, 20])
    X = np.column_stack([np.ones(100), np.full(100, np.nan)])
    share = classifier(budget="60ep").fit(X, y).predict_proba(X)
    np.testing.assert_allclose(share[:, 1], 0.2, atol=0.05)
    assert regressor(budget="60ep").fit(X, 5.0 + y).predict(X) == pytest.approx(5.2, abs=0.1)


def test_column_that_counts_the_rows_is_kept() -> None:
    X = np.arange(200).reshape(-1, 1)
    assert regressor(budget="60ep").fit(X, 2.0 * X[:, 0]).score(X, 2.0 * X[:, 0]) > 0.95


def test_declared_categories_are_categories() -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 6, (300, 2)).astype(float)
    y = (X[:, 0] % 2).astype(int)
    fitted = classifier(categorical=(0,)).fit(X, y)
    assert [e.type.kind for e in fitted.run_.predictor.transform.columns] == ["category", "numeric"]
    assert fitted.score(X, y) == 1.0
    with pytest.raises(UsageError, match=r"no column 'colur'.*Did you mean 'colour'"):
        classifier(categorical=["colur"]).fit(*frame())
    with pytest.raises(UsageError, match=r"no column 2 .it has 2."):
        classifier(categorical=[2]).fit(X, y)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=14).filter(lambda y: len(set(y)) > 1))
@settings(max_examples=15, deadline=None)
def test_any_handful_of_rows_trains(labels: list[int]) -> None:
    X, _ = blobs(rows=len(labels))
    fitted = classifier(budget="2ep").fit(X, labels)
    assert fitted.classes_.tolist() == sorted(set(labels))
    assert np.isfinite(fitted.predict_proba(X)).all()
    assert np.isfinite(regressor(budget="2ep").fit(X, labels).predict(X)).all()


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=300),
    st.sampled_from([0.0, 0.1, 0.3, 0.8]),
    st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_split_keeps_every_class_and_the_rare_ones_whole(
    labels: list[int], fraction: float, seed: int
) -> None:
    y = np.array(labels)
    train, val = split_rows(y, fraction, seed, classes=True)
    assert sorted([*train, *val]) == list(range(len(y)))
    assert set(y[train]) == set(y)
    counts = np.bincount(y, minlength=6)
    assert all(counts[label] >= 3 for label in y[val])
    assert len(val) == 0 or len(val) >= MIN_VALIDATION_ROWS
    again = split_rows(y, fraction, seed, classes=True)
    np.testing.assert_array_equal(train, again[0])


def test_validation_part_chooses_the_epoch_or_is_absent() -> None:
    X, y = blobs(rows=200)
    assert all(r["val_loss"] is not None for r in classifier().fit(X, y).history_)
    for without in (classifier(validation_fraction=0), classifier(validation_fraction=None)):
        assert all(r["val_loss"] is None for r in without.fit(X, y).history_)
    few = classifier().fit(X[:190], y[:190])
    assert all(r["val_loss"] is None for r in few.history_)
    assert [n.code for n in few.run_.notes] == ["no_validation"]


def test_eval_set_is_taken_whole() -> None:
    X, y = frame(160)
    fitted = classifier().fit(X[:100], y[:100], eval_set=(X[100:], y[100:]))
    run = fitted.run_
    assert sum(run.task.class_counts) == 100
    probabilities = fitted.predict_proba(X[100:])[np.arange(60), (y[100:] == "yes").astype(int)]
    best = fitted.history_[run.best_epoch - 1]
    assert best["val_loss"] == pytest.approx(-np.log(probabilities).mean(), rel=1e-5)
    with pytest.raises(InputError, match=r"eval_set, row 0.*'maybe'"):
        classifier().fit(X, y, eval_set=(X[:1], ["maybe"]))
    with pytest.raises(UsageError, match="pair"):
        classifier().fit(X, y, eval_set=X)


def test_faults_are_value_errors_that_name_row_and_column() -> None:
    X, y = frame()
    fitted = classifier().fit(X, y)
    with pytest.raises(ValueError, match=r"row 2 .from 0., column 'number'.*'many'"):
        fitted.predict(X.astype({"number": object}).assign(number=["1", "2", "many", *["3"] * 117]))
    with pytest.raises(InputError, match=r"column 'number'.*infinite"):
        classifier().fit(X.assign(number=np.inf * np.ones(120) * np.sign(np.arange(120) - 60.5)), y)
    with pytest.raises(InputError, match="one class only, 'no'"):
        classifier().fit(X, ["no"] * 120)
    with pytest.raises(InputError, match=r"row 3 .from 0.: no label"):
        classifier().fit(X, ["a", "b", "a", None] * 30)
    with pytest.raises(InputError, match="rows and columns"):
        classifier().fit(X[:0], y[:0])
    with pytest.raises(
        InputError, match="column 'lists': argument must be a string or a real number, not 'list'"
    ):
        classifier().fit(pd.DataFrame({"lists": [[1]] * 120}), y)
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        classifier().fit(scipy.sparse.eye(20, format="csr"), [0, 1] * 10)
    with pytest.raises(TypeError, match="sample_weight"):
        classifier().fit(X, y, sample_weight=np.ones(120))  # type: ignore[call-arg]


def test_column_that_is_left_out_is_told() -> None:
    X, y = frame()
    prose = [f"customer number {i} wrote a long letter to us" for i in range(120)]
    with pytest.warns(UserWarning, match="'prose' is left out: it is text"):
        fitted = classifier().fit(X.assign(prose=prose), y)
    assert fitted.n_features_in_ == 7
    assert [n.column for n in fitted.run_.notes if n.code == "dropped"] == ["prose"]
    with pytest.raises(InputError, match="no column to learn from: 'prose'"):
        classifier().fit(pd.DataFrame({"prose": prose}), y)


def test_parameters_are_checked_in_fit() -> None:
    X, y = blobs()
    with pytest.raises(UsageError, match=r"preset.*Did you mean 'quick'"):
        classifier(recipe=None, preset="quik").fit(X, y)
    with pytest.raises(RecipeError, match="Did you mean 'dropout'"):
        classifier(with_=("dropuot",)).fit(X, y)
    with pytest.raises(UsageError, match="recipe must be a Recipe"):
        classifier(recipe={"lr": 1}).fit(X, y)
    with pytest.raises(UsageError, match="validation_fraction"):
        classifier(validation_fraction=1.5).fit(X, y)
    with pytest.raises(UsageError, match="accuracy"):
        classifier(metric="acuracy").fit(X, y)


def test_module_of_the_user_is_tried_before_it_is_trained() -> None:
    X, y = blobs()
    with pytest.raises(UsageError, match=r"shape \(2, 3\).*got \(2, 5\)"):
        classifier(model=Net(4, 5)).fit(X, y)
    with pytest.raises(UsageError, match=r"cannot take X as float32 of shape \[2, 4\]"):
        classifier(model=Net(7, 3)).fit(X, y)
    with pytest.raises(UsageError, match="must return a torch module, got int"):
        classifier(model=lambda f, o: f).fit(X, y)
    with pytest.raises(UsageError, match="model must be a torch module or a callable"):
        classifier(model="mlp").fit(X, y)
