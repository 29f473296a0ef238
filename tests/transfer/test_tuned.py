"""A search around a backbone, and the average of its best trials, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.images.samples import class_folders
from trainwell.app.cli import run_command

SEARCH = ["--trials", "3", "--budget", "60s", "--searcher", "random", "--folds", "1", "--soup", "2", "--json",
          "--quiet", "--space", "lr=[1e-4, 1e-2] log"]  # fmt: skip


def test_the_best_fine_tunings_of_a_text_encoder_are_averaged(
    tmp_path: Path, bert: tuple[Path, pd.DataFrame], capsys: pytest.CaptureFixture[str]
) -> None:
    file, frame = bert
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = [str(tmp_path / "t.csv"), "--target", "side", "--text", "text"]
    backbone = ["--backbone", "minilm", "--weights", str(file), "--set", "model=minilm"]
    assert run_command(["tune", *data, *backbone, *SEARCH, "--out", str(tmp_path / "study")]) == 0
    made = json.loads(capsys.readouterr().out)["soup"]
    assert len(made["losses"]) == 2 and made["loss"] <= min(made["losses"])
    assert run_command(["evaluate", made["out"], str(tmp_path / "t.csv")]) == 0


def test_trials_of_heads_and_of_fine_tuning_take_a_backbone(
    tmp_path: Path, bert: tuple[Path, pd.DataFrame], capsys: pytest.CaptureFixture[str]
) -> None:
    file, frame = bert
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = [
        str(tmp_path / "t.csv"),
        "--target",
        "side",
        "--text",
        "text",
        "--seeds",
        "2",
        "--json",
        "--quiet",
    ]
    backbone = ["--backbone", "minilm", "--weights", str(file), "--against", "lr=1e-5", "--budget", "3ep"]
    assert run_command(["prove", *data, *backbone, "--out", str(tmp_path / "heads")]) == 0
    heads = json.loads(capsys.readouterr().out)
    assert heads["base"]["model"]["family"] == "probe" and len(heads["comparisons"][0]["gains"]) == 2
    backbone += ["--set", "model=minilm"]
    assert run_command(["prove", *data, *backbone, "--out", str(tmp_path / "fine")]) == 0
    assert json.loads(capsys.readouterr().out)["base"]["model"]["family"] == "minilm"
    assert run_command(["prove", *data, "--weights", str(file), "--against", "lr=1e-5"]) == 2
    assert "are for a --backbone" in capsys.readouterr().err


def test_a_search_of_images_takes_their_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = class_folders(tmp_path / "data", 40)
    settings = [
        "--size",
        "16",
        "--set",
        "model.width=4",
        "--set",
        "epochs=2",
        "--out",
        str(tmp_path / "study"),
    ]
    assert run_command(["tune", str(root), *settings, *SEARCH]) == 0
    made = json.loads(capsys.readouterr().out)["soup"]
    assert made["loss"] <= min(made["losses"])
    assert run_command(["evaluate", made["out"], str(root)]) == 0


def test_the_head_of_a_search_is_one_on_cached_features(
    tmp_path: Path, bert: tuple[Path, pd.DataFrame], capsys: pytest.CaptureFixture[str]
) -> None:
    file, frame = bert
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = [str(tmp_path / "t.csv"), "--target", "side", "--text", "text", "--backbone", "minilm"]
    assert (
        run_command(["tune", *data, "--weights", str(file), *SEARCH, "--out", str(tmp_path / "study")]) == 0
    )
    made = json.loads(capsys.readouterr().out)
    assert made["soup"]["loss"] <= min(made["soup"]["losses"])
    assert run_command(["predict", str(tmp_path / "study" / "best"), str(tmp_path / "t.csv")]) == 0
