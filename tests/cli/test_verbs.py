"""The verbs as a user and a program meet them: results, files, one JSON document, exit codes."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from tests.cli.conftest import QUICK, Command, make_frame

Finished = tuple[Path, Path]


def in_new_process(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trainwell", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_fit_prints_scores_and_path_and_tells_the_rest_on_stderr(tmp_path: Path, trainwell: Command) -> None:
    data = tmp_path / "t.csv"
    make_frame().to_csv(data, index=False)
    done = trainwell(
        "fit", data, "--target", "y", "--out", tmp_path / "run", "--budget", "2ep", "--preset", "quick"
    )
    assert done.code == 0
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == ["val", "test", "boosting", "run"]
    assert re.fullmatch(r"run +" + re.escape(str(tmp_path / "run")), lines[-1])
    for said in (
        "rows      train 168, val 36, test 36",
        "epoch    2  train_loss",
        "stopped   budget of epochs",
    ):
        assert said in done.err
    assert {"recipe.json", "data.json", "environment.json", "journal.jsonl", "best", "last"} <= {
        p.name for p in (tmp_path / "run").iterdir()
    }


def test_quiet_says_nothing_but_the_result(tmp_path: Path, trainwell: Command) -> None:
    data = tmp_path / "t.csv"
    make_frame().to_csv(data, index=False)
    done = trainwell("fit", data, "--target", "y", "--out", tmp_path / "run", "--quiet", *QUICK)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("val ")


def test_every_option_reaches_the_run(tmp_path: Path, trainwell: Command) -> None:
    frame = make_frame().assign(g=np.arange(240) // 4, extra=1.5 * np.arange(240) % 11, m="?")
    frame.loc[::3, "m"] = "5"
    train, val, test = (tmp_path / f"{n}.parquet" for n in ("train", "val", "test"))
    for path, rows in ((train, slice(0, 160)), (val, slice(160, 200)), (test, slice(200, 240))):
        frame.iloc[rows].to_parquet(path)
    done = trainwell(
        "fit", train, "--target", "y", "--val", val, "--test", test, "--task", "binary", "--metric", "log_loss",
        "--set", "lr=3e-4", "--set", "model.width=16", "--set", "optimizer=adamw", "--with", "mixup:alpha=0.3",
        "--without", "dropout", "--budget", "2ep", "--preset", "quick", "--seed", 7, "--split-seed", 3,
        "--device", "cpu", "--drop", "extra", "--na", "?", "--categorical", "g", "--numeric", "m",
        "--on-duplicates", "remove", "--no-baseline", "--out", tmp_path / "run", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    found = done.json
    recipe = found["recipe"]
    assert (recipe["lr"], recipe["epochs"], recipe["optimizer"]["name"]) == (3e-4, 2, "adamw")
    assert recipe["model"]["width"] == 16
    assert [t["name"] for t in recipe["techniques"] if t["name"] in ("mixup", "dropout")] == ["mixup"]
    assert (found["metric"], found["seed"], found["baseline"]) == ("log_loss", 7, {})
    known = json.loads((tmp_path / "run" / "data.json").read_text())
    assert known["source"]["options"]["split_seed"] == 3
    assert re.search(r"extra +\S+ .*left out", done.err), done.err
    assert re.search(r"g +category", done.err), done.err
    assert re.search(r"m +numeric +6\d\.\d%", done.err), done.err


def test_recipe_of_a_run_makes_the_same_run(finished: Finished, tmp_path: Path, trainwell: Command) -> None:
    run, data = finished
    again = tmp_path / "again"
    arguments = ("--recipe", run / "recipe.json", "--no-baseline", "--out", again)
    assert trainwell("fit", data, "--target", "y", *arguments).code == 0
    name = "best/weights.safetensors"
    assert (again / name).read_bytes() == (run / name).read_bytes()


def test_names_with_control_codes_are_spelled_out(tmp_path: Path, trainwell: Command) -> None:
    data = tmp_path / "t.csv"
    make_frame().rename(columns={"a": "\x1b[31mred"}).to_csv(data, index=False)
    done = trainwell("fit", data, "--target", "y", "--out", tmp_path / "run", *QUICK)
    assert done.code == 0
    assert r"\x1b[31mred" in done.err


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_evaluate_equals_scikit_learn(kind: str, tmp_path: Path, trainwell: Command) -> None:
    frame = make_frame()
    if kind == "multiclass":
        frame["y"] = np.digitize(frame.a, [-0.5, 0.5]) * 10
    elif kind == "regression":
        frame["y"] = 1e5 + 300 * frame.a + frame.b
    data, run = tmp_path / "t.csv", tmp_path / "run"
    frame.to_csv(data, index=False)
    assert trainwell("fit", data, "--target", "y", "--out", run, *QUICK).code == 0
    scores = trainwell("evaluate", run, data, "--json").json["scores"]
    proba = () if kind == "regression" else ("--proba",)
    assert trainwell("predict", run, data, *proba, "--out", tmp_path / "p.parquet").code == 0
    predicted = pd.read_parquet(tmp_path / "p.parquet")
    if kind == "regression":
        expected = {
            "rmse": metrics.root_mean_squared_error(frame.y, predicted.prediction),
            "mae": metrics.mean_absolute_error(frame.y, predicted.prediction),
            "r2": metrics.r2_score(frame.y, predicted.prediction),
        }
    else:
        table = predicted.filter(like="probability_").to_numpy()
        several = {} if kind == "binary" else {"multi_class": "ovr"}
        expected = {
            "accuracy": metrics.accuracy_score(frame.y, predicted.prediction),
            "balanced_accuracy": metrics.balanced_accuracy_score(frame.y, predicted.prediction),
            "f1_macro": metrics.f1_score(frame.y, predicted.prediction, average="macro"),
            "log_loss": metrics.log_loss(frame.y, table),
            "roc_auc": metrics.roc_auc_score(frame.y, table[:, 1] if kind == "binary" else table, **several),
        }
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value, rel=1e-5), name
    assert len(trainwell("evaluate", run, data).out.splitlines()) == len(scores)


def test_predict_keeps_the_order_of_the_rows(finished: Finished, tmp_path: Path, trainwell: Command) -> None:
    run, data = finished
    whole = trainwell("predict", run, data, "--proba")
    lines = whole.out.splitlines()
    assert lines[0] == "prediction,probability_no,probability_yes"
    assert len(lines) == 241
    reversed_rows = tmp_path / "reversed.csv"
    pd.read_csv(data).iloc[::-1].drop(columns="y").to_csv(reversed_rows, index=False)
    back = trainwell("predict", run, reversed_rows, "--proba").out.splitlines()
    rows = np.array([line.split(",")[1:] for line in lines[1:]], float)
    rows_back = np.array([line.split(",")[1:] for line in back[1:]], float)
    np.testing.assert_allclose(rows, rows_back[::-1], rtol=1e-5)


def test_predict_writes_whole_files_and_replaces_the_old(
    finished: Finished, tmp_path: Path, trainwell: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data = finished
    out = tmp_path / "p.csv"
    out.write_text("the old one")

    def full(self: object, path: Path, **_: object) -> None:
        Path(path).write_text("a part")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_csv", full)
        done = trainwell("predict", run, data, "--out", out)
    assert done.code == 2
    assert "No space left on device" in done.err
    assert out.read_text() == "the old one"
    assert [p.name for p in tmp_path.iterdir()] == ["p.csv"]
    done = trainwell("predict", run, data, "--out", out, "--json")
    assert done.json == {"run": str(run), "data": str(data), "rows": 240, "out": str(out)}
    assert len(pd.read_csv(out)) == 240
    assert trainwell("predict", run, data).out == out.read_text()
    document = trainwell("predict", run, data, "--proba", "--json").json
    assert len(document["predictions"]) == document["rows"] == 240
    assert set(document["predictions"][0]) == {"prediction", "probability_no", "probability_yes"}


def test_proba_of_numbers_is_refused(tmp_path: Path, trainwell: Command) -> None:
    data, run = tmp_path / "t.csv", tmp_path / "run"
    make_frame().drop(columns="y").to_csv(data, index=False)
    assert trainwell("fit", data, "--target", "b", "--out", run, *QUICK).code == 0
    done = trainwell("predict", run, data, "--proba", "--out", tmp_path / "p.csv")
    assert done.code == 2
    assert "are for classification" in done.err
    assert not (tmp_path / "p.csv").exists()


def test_resume_extends_the_budget(tmp_path: Path, trainwell: Command) -> None:
    data, run = tmp_path / "t.csv", tmp_path / "run"
    make_frame().to_csv(data, index=False)
    assert trainwell("fit", data, "--target", "y", "--out", run, *QUICK).code == 0
    done = trainwell("resume", run, "--budget", "4ep", "--no-baseline", "--json")
    assert (done.code, done.json["epochs"]) == (0, 4)
    done = trainwell("resume", run, "--no-baseline", "--json")
    assert (done.code, done.json["epochs"]) == (0, 4)


def test_loss_that_is_not_finite_exits_4_and_keeps_finite_weights(tmp_path: Path, trainwell: Command) -> None:
    data, run = tmp_path / "t.csv", tmp_path / "run"
    make_frame().to_csv(data, index=False)
    rate = ("--set", "optimizer=sgd", "--set", "lr=1e25")
    done = trainwell("fit", data, "--target", "y", "--out", run, "--json", *QUICK, *rate)
    assert done.code == 4, done.err
    assert done.json["error"]["kind"] == "NonFiniteError"
    assert done.json["path"] == str(run)
    assert re.search(r"^error: .*step \d+", done.err, re.MULTILINE), done.err
    assert f"kept: the weights before the first epoch, in {run}" in done.err
    assert (run / "best" / "weights.safetensors").exists()
    from trainwell import load

    assert all(t.isfinite().all() for t in load(run).model.state_dict().values())


def test_techniques_lists_and_tells(trainwell: Command) -> None:
    found = {e["name"]: e for e in trainwell("techniques", "--json").json}
    assert found["clip_grad"]["sites"] == ["grads"]
    assert found["clip_grad"]["doses"]["max_norm"]["off"] == "inf"
    for entry in found.values():
        assert entry["source"], f"{entry['name']} has no source"
        assert entry["summary"].endswith("."), entry["name"]
    lines = trainwell("techniques").out.splitlines()
    assert {line.split()[0] for line in lines[1:] if line[0] != " "} == set(found)
    assert max(map(len, lines)) <= 110
    told = trainwell("techniques", "dropout").out
    for part in ("dropout (technique; acts at: model)", "Source:", "--with dropout:rate=", "off at 0"):
        assert part in told
    assert trainwell("techniques", "dropout", "--json").json["name"] == "dropout"


def test_env_tells_versions(trainwell: Command) -> None:
    found = trainwell("env", "--json").json
    assert {"trainwell", "python", "torch", "device", "cpu", "threads", "packages"} <= set(found)
    assert found["packages"]["numpy"] == np.__version__
    assert re.search(r"^torch +\d", trainwell("env").out, re.MULTILINE)


def test_help_needs_no_torch_and_little_time() -> None:
    code = (
        "import sys, time; from trainwell.app.cli import run_command as run; run(['--help']); run(['techniques']);"
        "assert not {'torch', 'pandas', 'sklearn'} & set(sys.modules);"
        "assert time.process_time() < 1.5, time.process_time()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_version_and_module_form() -> None:
    done = in_new_process("--version")
    assert re.fullmatch(r"trainwell \d+\.\d+\.\d+\n", done.stdout), done.stderr
    assert in_new_process("--help").stdout.startswith("Usage: trainwell")


def test_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m trainwell techniques --json | head -c 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.returncode in (0, 141)  # 0 where all fitted into the pipe


def test_breast_cancer_from_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo in small: a real table, and processes of their own."""
    root = Path(__file__).parents[2]
    data = tmp_path / "runs-data" / "bc.csv"
    monkeypatch.setattr(sys, "argv", ["demo_data.py", str(data)])
    runpy.run_path(str(root / "examples" / "demo_data.py"), run_name="__main__")
    options = {"cwd": tmp_path, "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
    fitted = in_new_process(
        "fit", data, "--target", "diagnosis", "--preset", "quick", "--budget", "5ep", "--json", "--no-baseline",
        **options,
    )  # fmt: skip
    assert fitted.returncode == 0, fitted.stderr
    found = json.loads(fitted.stdout)
    assert Path(found["path"]).parent == (tmp_path / "runs").resolve()
    assert found["scores"]["test"]["accuracy"] > 0.9
    predicted = in_new_process("predict", "latest", data, **options)
    right = pd.read_csv(data).diagnosis.to_numpy() == np.array(predicted.stdout.split()[1:])
    assert right.mean() > 0.9
