"""What a user may get wrong: each is named with what to do, has its exit code, and leaves nothing behind."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.cli.conftest import QUICK, Command, make_frame

DATA_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "missing target": ({"y": ["yes"] * 3 + [None] + ["no"] * 236}, r"line 5: the target 'y' is missing \(1 of 240"),
    "infinite target": ({"y": [0.5, float("inf"), *np.arange(238) / 7]}, r"t\.csv, line 3: the target 'y' is infinite"),
    "text in a target of numbers": ({"y": ["oops", *np.arange(239) / 7]}, r"line 2: the target 'y' is text, 'oops'"),
    "one class": ({"y": "yes"}, r"'y' has one class only, 'yes'"),
    "target of names": ({"y": [f"name{i}" for i in range(240)]}, r"'y' has 240 distinct values in 240 rows"),
    "no target": ({"y": None}, r"'y' has no value in any of the 240 rows"),
    "target of moments": ({"y": [f"2020-01-{d % 28 + 1:02d} {d // 28:02d}:00" for d in range(240)]}, r"\(dates\)"),
    "target beyond": ({"y": [1e308, *np.arange(239) / 7]}, r"line 2: the target 'y' is larger than 1e\+100"),
    "text in numbers": ({"a": [*np.arange(200) / 7, "n.a.x", *np.arange(39) / 3]}, r"line 202, column 'a'.*'n\.a\.x'"),
    "infinity": ({"b": [1.5, -float("inf"), *np.arange(238) / 7]}, r"line 3, column 'b'.*-?inf"),
}  # fmt: skip


def write(folder: Path, **columns: Any) -> Path:
    path = folder / "t.csv"
    make_frame().astype(object).assign(**columns).to_csv(path, index=False)
    return path


def left_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("fault", DATA_FAULTS)
def test_fault_of_the_data_is_named_with_its_line(fault: str, tmp_path: Path, trainwell: Command) -> None:
    columns, message = DATA_FAULTS[fault]
    data = write(tmp_path, **columns)
    done = trainwell("fit", data, "--target", "y", "--out", tmp_path / "run", *QUICK)
    assert done.code == 3, done.err
    assert re.search(message, done.err), done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert done.out == ""
    assert left_in(tmp_path) == ["t.csv"]


def test_nothing_is_left_in_runs_either(tmp_path: Path, trainwell: Command, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, y="yes")
    assert trainwell("fit", "t.csv", "--target", "y").code == 3
    assert trainwell("fit", "t.csv", "--target", "a", "--with", "class_weights", *QUICK).code == 2
    assert left_in(tmp_path) == ["t.csv"]


BROKEN_FILES = {
    "empty": ("e.csv", b"", 3, "is empty"),
    "header only": ("h.csv", b"a,b,y\n", 3, "has a header and no rows"),
    "ragged": ("r.csv", b"a,b,y\n1,2,no\n1,2,3,yes\n", 3, "line 3: 4 fields, but the header has 3"),
    "two columns of one name": ("d.csv", b"a,a,y\n1,2,no\n", 3, "two columns are called 'a'"),
    "no separator": ("c.csv", b"a^b^y\n1^2^no\n", 2, r"Is it '\^' that separates its columns"),
    "bytes": ("b.csv", b"a,y\n1,\x00\n", 3, "byte 6 is zero"),
    "not UTF-8": ("l.csv", "a,y\ncaf\xe9,no\n".encode("latin-1"), 3, "line 2: .*not UTF-8"),
    "no Parquet": ("p.parquet", b"not parquet at all", 3, "cannot be read as Parquet"),
    "another kind": ("x.xlsx", b"PK", 2, r"expected a file that ends in \.csv"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BROKEN_FILES)
def test_file_that_is_no_table_is_refused(fault: str, tmp_path: Path, trainwell: Command) -> None:
    name, content, code, message = BROKEN_FILES[fault]
    (tmp_path / name).write_bytes(content)
    done = trainwell("fit", tmp_path / name, "--target", "y", "--out", tmp_path / "run")
    assert done.code == code
    assert re.search(message, done.err), done.err
    assert left_in(tmp_path) == [name]


OPTIONS = {
    'unknown technique': ('--with dropuot', "Did you mean 'dropout'"),
    'unknown dose': ('--with dropout:rte=0.1', "Did you mean 'rate'"),
    'dose that is no number': ('--with dropout:rate=x', "must be a number, got 'x'"),
    'dose out of range': ('--with clip_grad:max_norm=-1', r'must lie in \[0.001, 1000\] or be inf \(off\), got -1'),
    'technique not to take away': ('--without mixup', "the recipe has no 'mixup'"),
    'unknown technique to take away': ('--without mxup', "Did you mean 'mixup'"),
    'unknown field': ('--set lrr=1', "Did you mean 'lr'"),
    'field without a value': ('--set lr', 'expected FIELD=VALUE'),
    'field out of range': ('--set batch_size=0', 'batch_size must be a whole number >= 1'),
    'budget': ('--budget 5parsecs', 'expected e.g. 20ep'),
    'preset': ('--preset fast', 'expected one of quick'),
    'task': ('--task binry', "Did you mean 'binary'"),
    'metric': ('--metric acuracy', "Did you mean 'accuracy'"),
    'metric of another task': ('--metric rmse', "for binary, got 'rmse'"),
    'device': ('--device cudda', '--device cudda: not available here'),
    'column to drop': ('--drop aa', "--drop:.*no column 'aa'"),
    'target dropped': ('--drop y', "'y' is the target"),
    'group and time': ('--group c --time a', '--group and --time'),
    'duplicates': ('--on-duplicates kill', 'must be warn or remove'),
    'recipe file': ('--recipe no.json', '--recipe no.json'),
    'recipe that is a table': ('--recipe t.csv', 'is not JSON'),
    'seed': ('--seed one', '--seed'),
}  # fmt: skip
"""Mistakes in the options of `fit t.csv --target y`, and what the message holds."""

COMMANDS = {
    'unknown verb': ('fitt t.csv', "Did you mean 'fit'"),
    'unknown option': ('fit t.csv --targt y', '--target'),
    'no file': ('fit tt.csv --target y', "there is no file tt.csv. Did you mean 't.csv'?"),
    'no target': ('fit t.csv', '--target is needed.*It has: a, b, c, y'),
    'target that is no column': ('fit t.csv --target yy', "has no column 'yy'.*Did you mean 'y'"),
    'run that is none': ('resume no-run', 'there is no run no-run'),
    'folder that is no run': ('resume .', 'is not a run: it has no recipe.json'),
    'file as a run': ('evaluate t.csv t.csv', 'there is no run t.csv'),
    'no run yet': ('predict latest t.csv', 'there is no run in runs/ yet'),
    'prediction file': ('predict latest t.csv --out p.xlsx', r'ends in \.csv or \.parquet'),
    'name of a technique': ('techniques dropuot', "Did you mean 'dropout'"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", [*OPTIONS, *COMMANDS])
def test_mistake_in_the_command_is_named(
    mistake: str, tmp_path: Path, trainwell: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, message = COMMANDS[mistake] if mistake in COMMANDS else OPTIONS[mistake]
    arguments = text.split() if mistake in COMMANDS else ["fit", "t.csv", "--target", "y", *text.split()]
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    done = trainwell(*arguments)
    assert done.code == 2, done.err
    assert re.search(message, done.err, re.DOTALL), done.err
    assert done.out == ""
    assert left_in(tmp_path) == ["t.csv"]


def test_recipe_file_with_a_mistake_names_the_place(tmp_path: Path, trainwell: Command) -> None:
    recipe = tmp_path / "r.json"
    recipe.write_text('{"lr": 0.1, "techniques": [{"name": "dropout", "rate": 1.5}]}')
    done = trainwell("fit", write(tmp_path), "--target", "y", "--recipe", recipe)
    assert done.code == 2
    assert "Dropout.rate must lie in [0.01, 0.9]" in done.err
    recipe.write_text('{"lr": 0.1, "techniqes": []}')
    done = trainwell("fit", tmp_path / "t.csv", "--target", "y", "--recipe", recipe)
    assert f"{recipe}: unknown field 'techniqes'. Did you mean 'techniques'?" in done.err


EARLY = {
    "preset": ("--preset qick", "Did you mean 'quick'"),
    "rate": ("--set lr=abc", "lr must be a number"),
    "epochs": ("--set epochs=inf", "epochs must be a number > 0"),
    "technique": ("--set dropuot.rate=0.1", "Did you mean 'dropout'"),
    "optimizer": ("--set optimizer=adma", "optimizer: there is no technique 'adma'. Did you mean 'adam'"),
    "family": ("--set model=mpl", "Did you mean 'mlp'"),
    "folder": ("--out .", "is not empty"),
    "option": ("--bogus", "there is no option --bogus"),
    "value": ("--seed one", "--seed: 'one' is not a valid integer. See `trainwell fit --help`."),
    "no value": ("--budget", "--budget needs a value"),
}


@pytest.mark.parametrize("mistake", EARLY)
def test_mistake_is_told_in_one_line_before_the_table_is_described(
    mistake: str, tmp_path: Path, trainwell: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, message = EARLY[mistake]
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    done = trainwell("fit", "t.csv", "--target", "y", *text.split())
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert done.err.startswith("error: ") and message in done.err


def test_preset_and_recipe_exclude_each_other(tmp_path: Path, trainwell: Command, finished: Any) -> None:
    recipe = finished[0] / "recipe.json"
    done = trainwell("fit", write(tmp_path), "--target", "y", "--recipe", recipe, "--preset", "quick")
    assert done.code == 2
    assert "exclude each other" in done.err


def test_empty_validation_part_is_refused(tmp_path: Path, trainwell: Command) -> None:
    done = trainwell("fit", write(tmp_path), "--target", "y", "--val-fraction", 0, "--out", tmp_path / "run")
    assert done.code == 3
    assert "validation part is empty" in done.err
    header = tmp_path / "v.csv"
    header.write_text("a,b,c,y\n")
    done = trainwell("fit", tmp_path / "t.csv", "--target", "y", "--val", header, "--out", tmp_path / "run")
    assert done.code == 3
    assert "has a header and no rows" in done.err
    assert left_in(tmp_path) == ["t.csv", "v.csv"]


def test_validation_file_without_the_target_or_a_column(tmp_path: Path, trainwell: Command) -> None:
    data, val = write(tmp_path), tmp_path / "v.csv"
    make_frame().drop(columns="y").to_csv(val, index=False)
    done = trainwell("fit", data, "--target", "y", "--val", val, "--out", tmp_path / "run")
    assert done.code == 2
    assert "--val" in done.err
    assert "no column 'y'" in done.err
    make_frame().drop(columns="b").to_csv(val, index=False)
    done = trainwell("fit", data, "--target", "y", "--val", val, "--out", tmp_path / "run")
    assert done.code == 3
    assert "1 of the 3 columns that the model was trained on" in done.err
    assert left_in(tmp_path) == ["t.csv", "v.csv"]


def test_constant_and_identifier_columns_are_dropped_and_said(tmp_path: Path, trainwell: Command) -> None:
    data = write(tmp_path, same=7, key=[f"K{i:05d}" for i in range(240)])
    done = trainwell("fit", data, "--target", "y", "--out", tmp_path / "run", "--json", *QUICK)
    assert done.code == 0
    assert re.search(r"left out as constant: 'same'", done.err), done.err
    assert re.search(r"left out as identifier: 'key'", done.err), done.err
    said = " ".join(n["message"] for n in done.json["notes"])
    assert "'same'" in said
    assert "'key'" in said


def test_leak_is_warned_of(tmp_path: Path, trainwell: Command, frame: pd.DataFrame) -> None:
    data = write(tmp_path, told=np.where(frame.y == "yes", 2.5, 1.5) + np.arange(240) * 1e-6)
    done = trainwell("fit", data, "--target", "y", "--out", tmp_path / "run", "--json", *QUICK)
    assert done.code == 0
    assert re.search(r"warning +'told' alone predicts the target", done.err), done.err
    assert any(n["code"] == "leak" and n["column"] == "told" for n in done.json["notes"])
    assert re.search(r"leakage .*\n +'told' alone predicts the target", done.err), done.err
    assert "--drop told" in done.err.partition("leakage")[2]


def test_rows_in_two_parts_are_counted_and_removed_if_asked(tmp_path: Path, trainwell: Command) -> None:
    half = make_frame(120)
    data, val = tmp_path / "t.csv", tmp_path / "val.csv"
    half.to_csv(data, index=False)
    half.head(40).to_csv(val, index=False)
    common = ("fit", data, "--val", val, "--target", "y", "--json", *QUICK)
    warned = trainwell(*common, "--out", tmp_path / "one")
    assert warned.code == 0
    assert re.search(
        r"warning +\d+ of \d+ rows of the \w+ part have the features of a row of the", warned.err
    ), warned.err
    removed = trainwell(*common, "--on-duplicates", "remove", "--out", tmp_path / "two")
    assert removed.code == 0
    sizes = [int(re.search(r"train (\d+)", done.err)[1]) for done in (warned, removed)]  # type: ignore[index]
    assert sizes == [120, 80]


def test_copies_in_one_table_are_kept_in_one_part(tmp_path: Path, trainwell: Command) -> None:
    half = make_frame(120)
    data = tmp_path / "t.csv"
    pd.concat([half, half]).to_csv(data, index=False)
    done = trainwell("fit", data, "--target", "y", "--out", tmp_path / "run", *QUICK)
    assert done.code == 0
    said = "240 of 240 rows have the features of another row: the split keeps equal rows in one part"
    assert re.search(rf"info +{said}", done.err), done.err
    assert "rows of the val part have the features" not in done.err


def test_folder_that_is_taken_is_not_touched(tmp_path: Path, trainwell: Command) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "letter.txt").write_text("dear")
    done = trainwell("fit", write(tmp_path), "--target", "y", "--out", out, *QUICK)
    assert done.code == 2
    assert "is not empty (it holds letter.txt)" in done.err
    assert left_in(out) == ["letter.txt"]


@pytest.fixture
def copy(finished: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished[0], tmp_path / "run"))


def test_fit_into_a_run_points_to_resume(copy: Path, tmp_path: Path, trainwell: Command) -> None:
    done = trainwell("fit", write(tmp_path), "--target", "y", "--out", copy, *QUICK)
    assert done.code == 2
    assert "trainwell resume" in done.err


def test_corrupted_checkpoint_is_told_and_the_other_one_taken(
    copy: Path, trainwell: Command, finished: Any
) -> None:
    weights = copy / "best" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 4
    weights.write_bytes(data)
    assert trainwell("predict", copy, finished[1]).code == 0  # `last` holds the best weights too
    for file in (copy / "last").glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:-3])
    done = trainwell("predict", copy, finished[1])
    assert done.code == 2
    assert re.search(r"no weights yet .*damaged", done.err), done.err


def test_damaged_recipe_and_data_are_told(copy: Path, trainwell: Command, finished: Any) -> None:
    (copy / "recipe.json").write_text("{")
    done = trainwell("evaluate", copy, finished[1])
    assert done.code == 2
    assert "recipe.json is damaged or was edited" in done.err
    (copy / "recipe.json").write_bytes((finished[0] / "recipe.json").read_bytes())
    (copy / "data.json").unlink()
    done = trainwell("resume", copy)
    assert done.code == 2
    assert "data.json is missing" in done.err


def test_resume_refuses_other_data(tmp_path: Path, trainwell: Command) -> None:
    data = write(tmp_path)
    assert trainwell("fit", data, "--target", "y", "--out", tmp_path / "run", *QUICK).code == 0
    write(tmp_path, a=np.arange(240) / 7)
    done = trainwell("resume", tmp_path / "run", "--budget", "3ep")
    assert done.code == 3
    assert "not the data that the run was trained on" in done.err
    data.unlink()
    done = trainwell("resume", tmp_path / "run", "--budget", "3ep")
    assert done.code == 2
    assert "are no longer at" in done.err


def test_table_to_predict_that_does_not_fit(finished: Any, tmp_path: Path, trainwell: Command) -> None:
    run, _ = finished
    rows = tmp_path / "rows.csv"
    make_frame().drop(columns=["a", "y"]).to_csv(rows, index=False)
    done = trainwell("predict", run, rows, "--out", tmp_path / "p.csv")
    assert done.code == 3
    assert "1 of the 3 columns that the model was trained on" in done.err
    make_frame().astype(object).assign(a=["words"] * 240).to_csv(rows, index=False)
    done = trainwell("predict", run, rows, "--out", tmp_path / "p.csv")
    assert done.code == 3
    assert re.search(r"rows\.csv, line 2, column 'a'", done.err), done.err
    make_frame().drop(columns="y").to_csv(rows, index=False)
    done = trainwell("evaluate", run, rows)
    assert done.code == 2
    assert "no column 'y'" in done.err
    assert "--target" not in done.err
    assert "trainwell predict" in done.err
    done = trainwell("predict", run, rows, "--out", tmp_path / "no" / "p.csv")
    assert done.code == 2
    assert left_in(tmp_path) == ["rows.csv"]


def test_failure_with_json_is_one_document(tmp_path: Path, trainwell: Command) -> None:
    done = trainwell("fit", write(tmp_path, y="yes"), "--target", "y", "--json")
    assert done.json["error"]["kind"] == "DataError"
    assert done.json["error"]["exit_code"] == done.code == 3
    done = trainwell("fit", tmp_path / "t.csv", "--targt", "y", "--json")
    assert done.json["error"]["kind"] == "UsageError"
    assert done.code == 2


def test_internal_error_is_one_line(trainwell: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: object) -> None:
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr("trainwell.app.catalogue.entries", broken)
    done = trainwell("techniques")
    assert done.code == 1
    assert done.err == (
        "internal error: ZeroDivisionError: a bug of ours; run with TRAINWELL_DEBUG=1 for the traceback\n"
    )
    monkeypatch.setenv("TRAINWELL_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        trainwell("techniques")
