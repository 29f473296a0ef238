"""Leaks and doubles: found when they are there, silent when they are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from trainwell.data import TableData, prepare_table
from trainwell.data.cells import cells_of
from trainwell.data.suspicion import row_hashes


def leaking(data: TableData) -> list[str]:
    return [n.column for n in data.notes if n.code == "leak"]


def frame_of(rows: int = 600, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(rows, 3)), columns=list("abc"))
    frame["y"] = frame.a + frame.b + rng.normal(size=rows)
    return frame


@pytest.mark.parametrize(
    "leak",
    [
        lambda y: y * 3 + 1, lambda y: np.exp(4 * y), lambda y: -(y**3),
        lambda y: y + 0.05 * (np.arange(len(y)) % 2),
        lambda y: np.where(np.arange(len(y)) % 50 == 0, np.nan, y),
    ],
)  # fmt: skip
def test_copy_of_a_number_is_suspected(leak: object) -> None:
    frame = frame_of()
    frame["copy"] = leak(frame.y)  # type: ignore[operator]
    data = prepare_table(frame, "y")
    assert leaking(data) == ["copy"]
    assert data.warnings[0].severity == "warning"


def test_copy_of_a_heavy_tailed_number_is_suspected() -> None:
    frame = frame_of().assign(y=lambda f: np.exp(3 * f.y), copy=lambda f: np.log(f.y))
    assert leaking(prepare_table(frame, "y")) == ["copy"]


@pytest.mark.parametrize("share", [0.5, 0.1, 0.02])
def test_copy_of_a_class_is_suspected_also_when_it_is_rare(share: float) -> None:
    rng = np.random.default_rng(0)
    frame = frame_of(3000).assign(y=np.where(rng.random(3000) < share, "yes", "no"))
    frame["word"] = frame.y.map({"yes": "done", "no": "open"})
    frame["number"] = (frame.y == "yes") * 5 + rng.random(3000)
    assert leaking(prepare_table(frame, "y")) == ["word", "number"]


def test_missing_cells_that_tell_the_class_are_suspected() -> None:
    frame = frame_of().assign(y=lambda f: f.y > 0)
    frame["holes"] = np.where(frame.y, np.nan, np.random.default_rng(0).normal(size=len(frame)))
    assert leaking(prepare_table(frame, "y")) == ["holes"]


def test_good_columns_are_not_suspected() -> None:
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine

    for load in (load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine):
        assert leaking(prepare_table(load(return_X_y=True), "y")) == []
    rare = frame_of(3000).assign(y=lambda f: (f.y > 4).astype(int))
    assert leaking(prepare_table(rare, "y")) == []


def test_false_alarms_are_rare_on_noise() -> None:
    alarms = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        frame = pd.DataFrame(rng.integers(0, 50, (100, 10)), columns=[f"f{i}" for i in range(10)])
        alarms += len(leaking(prepare_table(frame.assign(y=rng.integers(0, 2, 100)), "y")))
    assert alarms == 0


def doubles(data: TableData) -> list[str]:
    return [n.message for n in data.notes if n.code == "duplicates"]


def test_rows_in_two_parts_are_counted_with_their_first_rows() -> None:
    frame, test = frame_of(), frame_of(100, 1)
    test.loc[[5, 9, 30, 31], :] = frame.loc[[0, 1, 2, 3], :].to_numpy()
    test.loc[31, "y"] += 1
    data = prepare_table(frame, "y", val=frame_of(50, 2), test=test)
    (said,) = doubles(data)
    assert "4 of 100 rows of the test part have the features of a row of the train part, 3 of them" in said
    assert "row 5 (from 0), row 9 (from 0), row 30 (from 0), ..." in said
    assert doubles(prepare_table(frame, "y", val=frame_of(50, 2), test=frame_of(100, 1))) == []


def test_doubles_are_removed_from_training_when_asked() -> None:
    frame, test = frame_of(), frame_of(100, 1)
    test.loc[[5, 9], :] = frame.loc[[0, 1], :].to_numpy()
    data = prepare_table(frame, "y", val=frame_of(50, 2), test=test, on_duplicates="remove")
    assert data.splits["train"].index.tolist() == list(range(2, 600))
    assert data.provenance["removed_duplicates"] == 2
    assert data.task == prepare_table(frame.iloc[2:], "y", val=frame_of(50, 2), test=test).task
    assert doubles(data) == ["2 training rows removed: their features stand in another part too"]


def test_identifiers_do_not_hide_doubles() -> None:
    frame = pd.concat([frame_of(200), frame_of(200)], ignore_index=True).assign(
        row=lambda f: np.arange(len(f))
    )
    assert doubles(prepare_table(frame, "y"))


def test_hashes_do_not_depend_on_the_dtype() -> None:
    ints = row_hashes({"a": cells_of(np.array([1, 2])), "b": cells_of(pd.Series(["x", "y"]))})
    floats = row_hashes(
        {"a": cells_of(np.array([1.0, 2.0])), "b": cells_of(pd.Series(["x", "y"], dtype="category"))}
    )
    assert (ints == floats).all()
    zeros = row_hashes({"a": cells_of(np.array([0.0, -0.0, np.nan]))})
    assert zeros[0] == zeros[1] != zeros[2]
    rows = np.random.default_rng(0).integers(0, 1000, (200_000, 2))
    hashes = row_hashes({"a": cells_of(rows[:, 0]), "b": cells_of(rows[:, 1])})
    assert len(np.unique(hashes)) == len(np.unique(rows, axis=0))
