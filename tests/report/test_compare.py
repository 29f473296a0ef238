"""Runs held against one another: pairs, intervals, what differs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from trainwell.report.compare import Pairing, compare_html, lines, pairings, read_comparison
from trainwell.values.errors import UsageError


def variant(source: Path, target: Path, *, seed: int, score: float, recipe: str) -> Path:
    """Return a copy of a run with another seed, score and recipe."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("best", "last", "watch"))
    for name, change in (("data", {"seed": seed}), ("results", {"recipe_hash": recipe})):
        value = json.loads((target / f"{name}.json").read_text()) | change
        if name == "results":
            value["scores"]["test"]["accuracy"] = score
        (target / f"{name}.json").write_text(json.dumps(value))
    return target


def test_interval_equals_scipy() -> None:
    for n in (2, 5, 12):
        gains = np.random.default_rng(n).normal(0.1, 1, n)
        pair = Pairing("a", "b", tuple(range(n)), tuple(gains))
        found = stats.ttest_1samp(gains, 0).confidence_interval(0.95)
        assert pair.interval == pytest.approx((found.low, found.high), rel=1e-3)
    assert Pairing("a", "b", (0,), (1.0,)).interval is None


def test_runs_pair_by_seed_and_data(trained: Path, tmp_path: Path) -> None:
    paths = []
    for seed in range(4):
        paths.append(
            variant(trained, tmp_path / f"a{seed}", seed=seed, score=0.8 + 0.01 * seed, recipe="one")
        )
    for seed in (3, 1, 9):
        paths.append(
            variant(trained, tmp_path / f"b{seed}", seed=seed, score=0.85 + 0.01 * seed, recipe="two")
        )
    found = pairings(read_comparison(paths).runs)
    assert [sorted(p.seeds) for p in found] == [[1, 3]]
    assert found[0].differences == pytest.approx((0.05, 0.05))


def test_comparison_names_what_differs(trained: Path, tmp_path: Path) -> None:
    other = variant(trained, tmp_path / "other", seed=0, score=0.7, recipe="two")
    recipe = json.loads((other / "recipe.json").read_text()) | {"lr": 0.123}
    (other / "recipe.json").write_text(json.dumps(recipe))
    found = read_comparison([trained, other])
    assert found.to_dict()["differences"]["lr"][1] == 0.123
    assert any(line.startswith("differs   lr:") for line in lines(found))
    html = compare_html(found)
    assert "Validation loss by epoch" in html and "0.123" in html


def test_runs_on_the_same_data_among_others_are_named(trained: Path, tmp_path: Path) -> None:
    same, other = (
        variant(trained, tmp_path / n, seed=i, score=0.7, recipe="two")
        for i, n in enumerate(("same", "other"))
    )
    data = json.loads((other / "data.json").read_text())
    (other / "data.json").write_text(json.dumps(data | {"fingerprint": "else"}))
    assert read_comparison([trained, same]).caution == ""
    assert read_comparison([trained, other]).caution.endswith("are not comparable.")
    assert read_comparison([trained, same, other]).caution.endswith("not comparable, except among run, same.")


def test_what_a_run_learned_is_not_guessed(trained: Path, tmp_path: Path) -> None:
    other = variant(trained, tmp_path / "other", seed=0, score=0.7, recipe="two")
    (other / "data.json").unlink()
    found = read_comparison([trained, other])
    assert found.caution.startswith("What other learned is not known, for data.json is missing")


def test_runs_of_two_tasks_have_no_common_axis(trained: Path, tmp_path: Path) -> None:
    other = variant(trained, tmp_path / "other", seed=0, score=0.7, recipe="two")
    data = json.loads((other / "data.json").read_text())
    data["task"] |= {"kind": "regression", "metric": "rmse"}
    (other / "data.json").write_text(json.dumps(data))
    found = read_comparison([trained, other])
    assert "other regression by RMSE" in found.caution and found.to_dict()["caution"] == found.caution
    assert any(line.startswith("caution   These runs learned different things") for line in lines(found))
    html = compare_html(found)
    assert "learned different things" in html and "loss by epoch" not in html


def test_one_run_is_not_compared(trained: Path, tmp_path: Path) -> None:
    for paths in ([trained], [trained, trained]):
        with pytest.raises(UsageError, match="two different runs or more"):
            read_comparison(paths)
    (tmp_path / "trial.json").write_text("{}")
    with pytest.raises(UsageError, match="is a trial, and no run"):
        read_comparison([trained, tmp_path])


def test_command_line_compares(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from trainwell.app.cli.entry import run_command

    other = variant(trained, tmp_path / "other", seed=0, score=0.7, recipe="two")
    assert (
        run_command(["compare", str(trained), str(other), "--json", "--out", str(tmp_path / "c.html")]) == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert [r["run"] for r in told["runs"]] == [str(trained), str(other)]
    assert len(told["pairs"]) == 1
    assert (tmp_path / "c.html").is_file()
    assert run_command(["compare", str(trained)]) == 2
