"""From source to prepared table: tasks, parts, and every mistake before the first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainwell.data import TableData, column_rows, describe, load_part, prepare_table
from trainwell.values.errors import DataError, TrainwellError, UsageError


def frame_of(rows: int = 200, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({
        "a": rng.normal(size=rows), "b": rng.normal(size=rows),
        "c": np.array(["u", "v", "w"], object)[rng.integers(0, 3, rows)],
    })  # fmt: skip
    frame["y"] = np.where(frame.a + rng.normal(size=rows) > 0, "pos", "neg")
    return frame


def codes(data: TableData) -> list[str]:
    return [n.code for n in data.notes]


def refused(error: type[TrainwellError], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(error) as found:
        prepare_table(*args, **kwargs)
    return str(found.value)


@pytest.mark.parametrize(
    ("target", "kind", "classes"),
    [
        (["a", "b"] * 50, "binary", ("a", "b")),
        ([True, False] * 50, "binary", (False, True)),
        ([3, 7] * 50, "binary", (3, 7)),
        ([0.0, 1.0] * 50, "binary", (0, 1)),
        ([0.5, 1.5] * 50, "binary", (0.5, 1.5)),
        ([0, 1, 2, 3] * 25, "multiclass", (0, 1, 2, 3)),
        (["a", "b", "c", "d"] * 25, "multiclass", ("a", "b", "c", "d")),
        (pd.Categorical(["z", "m", "a", "m"] * 25), "multiclass", ("a", "m", "z")),
        (list(range(25)) * 4, "regression", ()),
        ([0.0, 1.0, 2.0, 3.0] * 25, "regression", ()),
        (np.linspace(0, 1, 100), "regression", ()),
        ([f"{v:,.2f}" for v in np.linspace(0, 5000, 100)], "regression", ()),
        (pd.Series([1, 2] * 50, dtype="Int64"), "binary", (1, 2)),
        (pd.Categorical([30, 4, 5, 4] * 25), "multiclass", (4, 5, 30)),
    ],
)  # fmt: skip
def test_task_is_inferred_and_its_reason_said(target: Any, kind: str, classes: tuple[Any, ...]) -> None:
    frame = frame_of(100).assign(y=target)
    data = prepare_table(frame, "y")
    assert (data.task.kind, data.task.classes) == (kind, classes)
    assert [type(c) for c in data.task.classes] == [type(c) for c in classes]
    assert sum(data.task.class_counts) in (0, len(data.splits["train"]))
    reason = next(n.message for n in data.notes if n.code == "task")
    assert reason.startswith(kind)
    assert "because 'y' holds" in reason


def test_regression_is_standardised_by_the_training_part() -> None:
    frame = frame_of().assign(y=lambda f: 1000 + 50 * f.a)
    data = prepare_table(frame, "y")
    train = data.splits["train"]
    assert train.y.shape == (len(train), 1)
    assert train.y.dtype == np.float32
    assert abs(train.y.mean()) < 1e-5
    assert abs(train.y.std() - 1) < 1e-5
    back = data.splits["test"].y[:, 0] * data.task.scale + data.task.mean
    assert np.allclose(back, frame.y.to_numpy()[data.splits["test"].index], rtol=1e-5)
    assert (data.raw["test"][1] == frame.y.to_numpy()[data.splits["test"].index]).all()


def test_task_that_was_asked_for_is_checked() -> None:
    frame = frame_of(100)
    assert prepare_table(frame.assign(y=[0, 1, 2, 3] * 25), "y", task="regression").task.kind == "regression"
    assert (
        prepare_table(frame.assign(y=list(range(25)) * 4), "y", task="multiclass").task.kind == "multiclass"
    )
    assert prepare_table(frame.assign(y=[True, False] * 50), "y", task="regression").task.kind == "regression"
    assert prepare_table(frame, "y", task="multiclass").task.num_outputs == 2
    assert "line" not in refused(DataError, frame, "y", task="regression")
    assert "needs numbers, but the target 'y' is text" in refused(DataError, frame, "y", task="regression")
    three = frame.assign(y=["a", "b", "c", "d"] * 25)
    assert "needs two classes, but the target 'y' has 4" in refused(DataError, three, "y", task="binary")
    assert "Did you mean 'regression'" in refused(UsageError, frame, "y", task="regresion")
    assert "Did you mean 'accuracy'" in refused(UsageError, frame, "y", metric="acuracy")
    assert "for binary, got 'rmse'" in refused(UsageError, frame, "y", metric="rmse")
    metric = prepare_table(frame, "y", metric="log_loss").task
    assert (metric.metric, metric.metric_sign) == ("log_loss", -1)


def spoil(name: str, row: int, value: Any, rows: int = 200) -> pd.DataFrame:
    frame = frame_of(rows).assign(z=lambda f: 3 * f.b + f.a)
    frame = frame.astype({name: object})
    frame.loc[row, name] = value
    return frame


@pytest.mark.parametrize(
    ("frame", "target", "parts"),
    [
        (spoil("y", 7, None), "y", ["line 9", "the target 'y' is missing (1 of 200 rows)"]),
        (spoil("z", 7, np.nan), "z", ["line 9", "the target 'z' is missing"]),
        (spoil("z", 7, np.inf), "z", ["line 9", "the target 'z' is infinite (1 of 200 rows)"]),
        (spoil("z", 7, "oops"), "z", ["line 9", "the target 'z' is text, 'oops', where numbers were"]),
        (spoil("a", 7, np.inf), "y", ["line 9, column 'a'", "infinite (1 such cell)", "na='inf'"]),
        (spoil("a", 7, "abc"), "y", ["line 9, column 'a'", "a number, got 'abc' (1 of 200 cells", "na='abc'"]),
        (frame_of().assign(y="one"), "y", ["one class only, 'one'"]),
        (frame_of().assign(y=1.5), "y", ["one value only, 1.5"]),
        (frame_of().assign(y=[f"n{i}" for i in range(200)]), "y", ["200 distinct values in 200 rows"]),
        (frame_of()[["y"]].assign(k=1), "y", ["no column to learn from (k: constant"]),
    ],
)  # fmt: skip
def test_bad_data_name_file_line_and_column(
    tmp_path: Path, frame: pd.DataFrame, target: str, parts: list[str]
) -> None:
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    said = refused(DataError, path, target)
    for part in [str(path), *parts]:
        assert part in said


def test_options_that_are_wrong_suggest_the_nearest() -> None:
    frame = frame_of().assign(income=1.0)
    assert "Did you mean 'income'" in refused(UsageError, frame, "incme")
    assert "target= is needed" in refused(UsageError, frame)
    for option in ("drop", "categorical", "numeric"):
        assert f"{option}=" in refused(UsageError, frame, "y", **{option: ("nothing",)})
    for option in ("group", "time"):
        assert f"{option}=" in refused(UsageError, frame, "y", **{option: "nothing"})
    assert "is the target" in refused(UsageError, frame, "y", drop="y")
    assert "both categorical= and numeric=" in refused(UsageError, frame, "y", categorical="a", numeric="a")
    assert "exclude each other" in refused(UsageError, frame, "y", group="a", time="b")
    assert "on_duplicates=" in refused(UsageError, frame, "y", on_duplicates="ignore")
    assert "must lie in [0, 1)" in refused(UsageError, frame, "y", val_fraction=2)
    assert "must stay below 1" in refused(UsageError, frame, "y", val_fraction=0.95)


def test_a_given_test_part_leaves_what_validation_asks_for() -> None:
    made = prepare_table(frame_of(), "y", test=frame_of(40, 1), val_fraction=0.95)
    assert {name: len(rows) for name, rows in made.splits.items()} == {"train": 10, "val": 190, "test": 40}


def test_headless_csv_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    frame_of()[["a", "b"]].to_csv(path, index=False, header=False)
    assert "first line seems to hold data" in refused(UsageError, path, "y")


def test_validation_part_must_not_be_empty() -> None:
    assert "the validation part is empty" in refused(DataError, frame_of(), "y", val_fraction=0)
    assert "one class only" in refused(DataError, frame_of(), "y", val=frame_of()[lambda f: f.y == "pos"])
    assert "no rows" in refused(DataError, frame_of(), "y", val=frame_of().head(0))
    tiny = prepare_table(frame_of(8).assign(y=["p", "n"] * 4), "y")
    assert len(tiny.splits["val"]) >= 2


def test_given_parts_are_taken_whole_and_recorded() -> None:
    frame, other, third = frame_of(), frame_of(50, 1), frame_of(40, 2)
    both = prepare_table(frame, "y", val=other, test=third)
    assert [len(p) for p in both.splits.values()] == [200, 50, 40]
    assert both.provenance["parts"]["val"] == {"source": "the data frame", "kind": "given", "rows": 50}
    test_only = prepare_table(frame, "y", test=third)
    assert [len(p) for p in test_only.splits.values()] == [170, 30, 40]
    val_only = prepare_table(frame, "y", val=other)
    assert list(val_only.splits) == ["train", "val"]
    assert "no_test" in codes(val_only)
    none = prepare_table(frame, "y", test_fraction=0)
    assert list(none.splits) == ["train", "val"]


def test_what_a_person_must_know_of_the_columns_is_said_once() -> None:
    frame = frame_of().assign(split="train", e="1,5", f="2,5")
    frame.loc[::3, ["split", "e", "f"]] = ["Test", "0,5", "12,75"]
    said = {note.code: note.message for note in prepare_table(frame, "y").notes}
    assert said["part_column"].startswith(
        "'split' names parts (test, train) and is taken for a feature; to split by"
    )
    assert said["reading"] == "'e', 'f': the comma is read as the decimal point"
    assert "part_column" not in {note.code for note in prepare_table(frame, "y", drop="split").notes}
    assert "has one row only" in refused(DataError, frame.head(1), "y")


def test_given_parts_must_fit() -> None:
    frame = frame_of()
    said = refused(DataError, frame, "y", val=frame.drop(columns="a"))
    assert "1 of the 3 columns that the model was trained on are missing: a." in said
    said = refused(DataError, frame, "y", test=frame.assign(y=frame.y.replace("pos", "maybe")))
    assert "the class 'maybe' of 'y' does not occur in the training part" in said
    assert "val=: the data frame has no column 'y'" in refused(
        UsageError, frame, "y", val=frame.drop(columns="y")
    )
    assert "extra_columns" in codes(prepare_table(frame, "y", val=frame.assign(more=1)))
    said = refused(DataError, frame, "y", test=spoil("a", 3, "abc"))
    assert "row 3 (from 0), column 'a'" in said


def test_unseen_class_names_the_row_of_the_file(tmp_path: Path) -> None:
    frame = frame_of(seed=1)
    frame.loc[11, "y"] = "odd"
    frame.to_csv(tmp_path / "test.csv", index=False)
    said = refused(DataError, frame_of(), "y", test=tmp_path / "test.csv")
    assert "test.csv, line 13: the class 'odd'" in said


def test_split_is_recorded_and_depends_on_its_seed() -> None:
    frame = frame_of()
    first, again, other = (prepare_table(frame, "y", split_seed=s) for s in (0, 0, 1))
    assert first.fingerprint == again.fingerprint
    assert first.fingerprint != other.fingerprint
    assert first.provenance["split_seed"] == 0
    assert first.provenance["parts"]["train"] == {
        "source": "the data frame", "kind": "random, stratified by class", "fraction": 0.7,
        "rows": len(first.splits["train"]),
    }  # fmt: skip
    positions = np.sort(np.concatenate([p.index for p in first.splits.values()]))
    assert (positions == np.arange(200)).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.assign(a=np.nextafter(f.a, 9)),
        lambda f: f.rename(columns={"a": "A"}),
        lambda f: f.iloc[::-1],
        lambda f: f.assign(c=f.c.replace("u", "U")), lambda f: f.assign(y=f.y.iloc[::-1].to_numpy()),
        lambda f: f.astype({"a": "float32"}),
    ],
)  # fmt: skip
def test_fingerprint_notices_every_change(change: Any) -> None:
    frame = frame_of()
    assert prepare_table(frame.copy(), "y").fingerprint == prepare_table(frame, "y").fingerprint
    assert prepare_table(change(frame), "y").fingerprint != prepare_table(frame, "y").fingerprint


def test_groups_stay_together_and_are_no_feature() -> None:
    frame = frame_of().assign(who=lambda f: [f"g{i % 20}" for i in range(len(f))])
    data = prepare_table(frame, "y", group="who")
    owners = [set(frame.who.iloc[p.index]) for p in data.splits.values()]
    assert not owners[0] & owners[1]
    assert not owners[0] & owners[2]
    assert not owners[1] & owners[2]
    assert "who" not in [c.type.name for c in data.transform.columns]
    assert data.provenance["parts"]["val"]["kind"] == "group: who"
    kept = prepare_table(frame, "y", group="who", categorical=("who",))
    assert "who" in [c.type.name for c in kept.transform.columns]
    frame.loc[3, "who"] = None
    assert "row 3 (from 0), column 'who': group= needs a value" in refused(DataError, frame, "y", group="who")


@pytest.mark.parametrize("form", ["moments", "text", "numbers"])
def test_time_tests_on_the_latest_rows(form: str) -> None:
    frame = frame_of()
    days = np.random.default_rng(0).permutation(len(frame))
    when: Any = pd.Timestamp("2020-01-01") + pd.to_timedelta(days, unit="D")
    frame["when"] = {"moments": when, "text": when.strftime("%d.%m.%Y"), "numbers": days * 1.5}[form]
    data = prepare_table(frame, "y", time="when")
    order = [days[p.index] for p in data.splits.values()]
    assert order[0].max() < order[1].min()
    assert order[1].max() < order[2].min()
    names = [n for n in data.transform.feature_names()[0] if n.startswith("when")]
    if form == "numbers":
        assert names == []
        assert any(n.code == "dropped" and "'when'" in n.message for n in data.notes)
    else:
        assert not {"when days", "when year"} & set(names)
        assert "when weekday sin" in names
        assert "time" in codes(data)


def test_columns_of_no_use_are_dropped_and_said() -> None:
    frame = frame_of().assign(
        k=1, row=np.arange(200), name=[f"n{i}" for i in range(200)], none=None,
        prose=[f"a rather long text that tells story number {i}" for i in range(200)], extra=0.5,
    )  # fmt: skip
    data = prepare_table(frame, "y", drop=("b",))
    kinds = {c.name: c.kind for c in data.columns}
    assert kinds == {
        "a": "numeric", "b": "dropped", "c": "category", "y": "target", "k": "constant", "row": "identifier",
        "name": "identifier", "none": "empty", "prose": "text", "extra": "constant",
    }  # fmt: skip
    said = " ".join(n.message for n in data.notes if n.code == "dropped")
    assert all(f"'{n}'" in said for n in ("b", "k", "row", "name", "none", "prose", "extra"))
    assert "text kind" in said
    assert [r[0] for r in column_rows(data)] == list(frame.columns)
    assert len(describe(data)) == len(frame.columns) + 1
    assert describe(data, most=3)[-1].startswith("and 7 more: ")


def test_given_parts_ignore_how_to_cut_and_say_so() -> None:
    frame = frame_of().assign(who=[f"g{i % 20}" for i in range(200)], when=np.arange(200) * 1.5)
    given = {"val": frame.head(50), "test": frame.tail(50).assign(who="new")}
    by_group = prepare_table(frame, "y", group="who", **given)
    assert "ignored" in codes(by_group)
    (shared,) = (n.message for n in by_group.notes if n.code == "shared_groups")
    assert shared.startswith("20 values of 'who' stand in the training table and in the val part")
    assert "ignored" in codes(prepare_table(frame, "y", time="when", **given))


def test_columns_that_are_all_missing_in_a_part_are_read() -> None:
    frame = frame_of().assign(day=pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(200) % 60, unit="D"))
    data = prepare_table(frame, "y")
    first = data.transform.apply(frame.head(3).assign(day=np.nan, a=pd.NaT, c=np.nan))
    second = data.transform.apply(frame.head(3).assign(day=pd.NaT, a=None, c=None))
    assert (first[0] == second[0]).all()


def test_na_words_and_declared_kinds_reach_the_transform() -> None:
    frame = frame_of().astype({"a": object})
    frame.loc[[3, 50], "a"] = "unknown"
    data = prepare_table(frame, "y", na=("unknown",), categorical=("c",))
    assert "a is missing" in data.transform.feature_names()[1]
    assert np.isfinite(data.transform.apply(frame)[0]).all()
    as_word = prepare_table(frame, "y", categorical=("a",))
    assert as_word.transform.columns[0].type.kind == "category"


def test_rare_classes_are_kept_in_training_and_said() -> None:
    frame = frame_of()
    frame.loc[0, "y"] = "once"
    data = prepare_table(frame, "y")
    assert data.task.classes == ("neg", "once", "pos")
    assert data.task.class_counts[1] == 1
    rare = [n.message for n in data.notes if n.code == "rare_class"]
    assert any("few training rows: 'once' (1)" in m for m in rare)
    assert any("val part has no row of class 'once'" in m for m in rare)


def test_imbalance_is_said() -> None:
    frame = frame_of().assign(y=["rare" if i % 12 == 0 else "common" for i in range(200)])
    assert "imbalance" in codes(prepare_table(frame, "y"))
    assert "imbalance" not in codes(prepare_table(frame_of(), "y"))


def test_arrays_need_no_target_name() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 4))
    data = prepare_table((x, rng.integers(0, 3, 90)))
    assert data.target == "target"
    assert data.spec.num_numeric == 4
    assert data.transform.apply(x)[0].shape == (90, 4)


def test_raw_gives_other_learners_their_columns() -> None:
    frame = frame_of().assign(
        day=pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(200) * 7 % 90, unit="D")
    )
    frame.loc[4, "c"] = None
    data = prepare_table(frame, "y")
    x, y = data.raw["train"]
    assert {n: str(t) for n, t in x.dtypes.items()} == {
        "a": "float64", "b": "float64", "c": "category", "day": "float64",
    }  # fmt: skip
    assert (y == data.splits["train"].y).all()
    assert x.c.isna().sum() == (4 in data.splits["train"].index)
    assert list(data.raw) == list(data.splits)


def test_load_part_reads_a_labelled_file_later(tmp_path: Path) -> None:
    frame, other = frame_of(), frame_of(60, 3)
    data = prepare_table(frame, "y", test=other)
    other.to_csv(tmp_path / "t.csv", index=False)
    part = load_part(tmp_path / "t.csv", data.transform, data.task)
    assert (part.y == data.splits["test"].y).all()
    assert np.allclose(part.x[0], data.splits["test"].x[0], atol=1e-6)
    numbers = frame.assign(y=(frame.y == "pos").astype(int))
    whole = prepare_table(numbers, "y")
    floats = load_part(numbers.astype({"y": float}), whole.transform, whole.task)
    words = load_part(numbers.astype({"y": str}), whole.transform, whole.task)
    assert (floats.y == numbers.y).all()
    assert (words.y == numbers.y).all()
    with pytest.raises(UsageError, match="no column 'y'"):
        load_part(other.drop(columns="y"), data.transform, data.task)


def test_tables_need_no_torch_and_arrays_no_pandas() -> None:
    import subprocess
    import sys

    code = (
        "import sys, numpy as np; from trainwell.data import prepare_table; r = np.random.default_rng(0);"
        "prepare_table((r.normal(size=(80, 3)), r.integers(0, 2, 80)));"
        "print([m for m in ('torch', 'pandas', 'sklearn', 'scipy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
