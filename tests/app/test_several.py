"""`predict` and `evaluate` with several sources: files as a shell lists them, folders, tables of like columns."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import trainwell as tw
from trainwell.app.cli import run_command
from trainwell.app.several import grouped
from trainwell.values.errors import UsageError

QUICK: dict[str, Any] = {"preset": "quick", "budget": "2ep", "watch": False, "baseline": False}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `data/`, two classes of images, and `run/`, trained on them."""
    pytest.importorskip("PIL.Image", reason="Pillow is not installed: the extra [image]")
    from tests.images.samples import class_folders

    root = tmp_path_factory.mktemp("photos")
    class_folders(root / "data", 20)
    given = {
        **QUICK,
        "budget": "6ep",
        "settings_": {"model.width": 4, "batch_size": 16},
        "without": ("flip",),
    }
    tw.fit(root / "data", out=root / "run", **given)
    return root


def read(capsys: pytest.CaptureFixture[str]) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(capsys.readouterr().out))


def test_files_and_folders_are_predicted_in_their_order(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    left = sorted(map(str, Path("data/left").iterdir()))
    some = ["data/right/003.png", *left[:3]]
    assert run_command(["predict", "run", *some, "data/left", left[5], "--proba"]) == 0
    found = read(capsys)
    assert found["file"].tolist() == [*some, *left, left[5]]
    assert found.columns.tolist() == ["file", "prediction", "probability_left", "probability_right"]
    whole = tw.load(photos / "run").predict(photos / "data" / "left")
    assert found["prediction"].tolist()[4:-1] == whole.tolist()
    assert found["prediction"].tolist()[1:4] == whole[:3].tolist()
    assert found["prediction"].tolist()[-1] == whole[5]
    assert run_command(["predict", "run", "data/left"]) == 0
    assert read(capsys)["file"].tolist() == [Path(n).name for n in left], "of one folder as before"


def test_what_cannot_be_read_is_named(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, odd = next((photos / "data" / "left").iterdir()), photos / "note.txt"
    odd.write_text("no image")
    assert run_command(["predict", str(photos / "run"), str(file), str(odd)]) == 3
    said = capsys.readouterr().err
    assert f"{odd} is no image of a known format" in said and "list of files" not in said
    assert run_command(["predict", str(photos / "run"), str(file), str(photos / "data" / "lost.png")]) == 2
    assert "there is no file" in capsys.readouterr().err
    assert run_command(["predict", str(photos / "run")]) == 2
    assert "DATA" in capsys.readouterr().err


def test_folders_are_scored_together(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(photos / "data")
    assert run_command(["evaluate", str(photos / "run"), data, data, "--json"]) == 0
    said = capsys.readouterr()
    twice = json.loads(said.out)
    held = tw.load(photos / "run").scores["test"]["accuracy"]
    assert (
        f"was trained on rows of {data}, which says little of new ones; its test part alone: {held:.6g}"
        in said.err
    )
    assert twice["data"] == [data, data]
    assert twice["scores"] == pytest.approx(tw.evaluate(tw.load(photos / "run"), data))


def table(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(rows, 3)), columns=list("abc"))
    return frame.assign(y=np.where(frame["a"] + frame["b"] > 0, "up", "down"))


def test_tables_of_like_columns_are_taken_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tw.fit(table(300, 0), "y", out=tmp_path / "run", **QUICK)
    frames = {"one.csv": table(7, 1), "two.parquet": table(5, 2)[["c", "a", "b"]]}
    frames["one.csv"].to_csv(tmp_path / "one.csv", index=False)
    frames["two.parquet"].to_parquet(tmp_path / "two.parquet")
    paths = [str(tmp_path / name) for name in frames]
    assert run_command(["predict", str(tmp_path / "run"), *paths]) == 0
    found = read(capsys)
    assert found["file"].tolist() == [paths[0]] * 7 + [paths[1]] * 5
    assert found["prediction"].tolist() == [p for f in frames.values() for p in run.predict(f)]
    both = pd.concat([table(7, 1), table(9, 3)])
    assert tw.evaluate(run, table(7, 1), table(9, 3)) == pytest.approx(tw.evaluate(run, both))


def test_sounds_are_predicted_by_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sounds = pytest.importorskip("soundfile", reason="the extra [audio]")
    rng = np.random.default_rng(0)
    for name, pitch in (("low", 200), ("high", 1500)):
        (tmp_path / "wavs" / name).mkdir(parents=True)
        for i in range(20):
            wave = np.sin(2 * np.pi * pitch * np.arange(2000) / 8000) + 0.1 * rng.normal(size=2000)
            sounds.write(tmp_path / "wavs" / name / f"{i:02d}.wav", 0.5 * wave, 8000)
    run = tw.fit(tmp_path / "wavs", out=tmp_path / "run", **QUICK)
    files = [str(tmp_path / "wavs" / name) for name in ("low/03.wav", "high/11.wav")]
    assert run_command(["predict", str(tmp_path / "run"), *files]) == 0
    found = read(capsys)
    assert found["file"].tolist() == files
    assert found["prediction"].tolist() == run.predict(files).tolist()


def test_groups_keep_the_order(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "t.csv", "c.JPG"):
        (tmp_path / name).write_text("")
    (tmp_path / "folder").mkdir()
    a, b, t, c, folder = (str(tmp_path / n) for n in ("a.jpg", "b.jpg", "t.csv", "c.JPG", "folder"))
    assert grouped([a, b, folder, c, t, a], of_files=True) == [[a, b], folder, [c], t, [a]]
    assert grouped([t, t], of_files=False) == [t, t]
    with pytest.raises(UsageError, match=r"there is no file .*d\.jpg"):
        grouped([a, str(tmp_path / "d.jpg")], of_files=True)
