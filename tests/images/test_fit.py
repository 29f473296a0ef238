"""Images from the folder to the prediction."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import trainwell as tw
from tests.conftest import shared_data
from tests.images.samples import class_folders, picture
from tests.images.test_decode import prepared
from trainwell.app import settings
from trainwell.app.cli import run_command
from trainwell.app.outcome import predictions
from trainwell.data.samples import store
from trainwell.models import build_model
from trainwell.values.errors import DataError, DoseError, RecipeError, UsageError
from trainwell.values.task import InputSpec

QUICK = {
    "settings_": {"model.width": 4, "batch_size": 16},
    "without": ("flip",),
    "budget": "6ep",
    "watch": False,
}


def test_fit_predict_evaluate_and_resume_a_folder(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", 40)
    run = tw.fit(root, out=tmp_path / "run", **QUICK)
    assert run.task is not None and run.task.classes == ("left", "right")
    assert run.score > 0.9
    read = tw.load(tmp_path / "run")
    assert read.predict(root / "left").tolist() == run.predict(root / "left").tolist()
    assert tw.evaluate(read, root)["accuracy"] > 0.9
    longer = tw.resume(tmp_path / "run", budget="8ep", watch=False)
    assert len(longer.history) == 8
    files = tw.export(longer, tmp_path / "served")
    assert any(f.name == "model.json" for f in files)
    served = tw.load(tmp_path / "served")
    assert np.array_equal(served.predict_proba(root), longer.predict_proba(root))


def test_arrays_of_bytes_are_images() -> None:
    y = np.arange(80) % 2
    x = np.stack([picture(int(label), i) for i, label in enumerate(y)])
    run = tw.fit((x, y), out=False, **QUICK)
    assert run.recipe.model.family == "cnn"
    assert (run.predict(x) == y).mean() > 0.9


def test_predictions_name_the_files_and_take_what_a_stranger_passes(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", 20)
    run = tw.fit(root, out=False, **{**QUICK, "budget": "1ep"})
    frame = predictions(run, root, proba=True)
    assert frame.columns.tolist() == ["file", "prediction", "probability_left", "probability_right"]
    assert frame["file"].tolist()[::20] == ["left/000.png", "right/000.png"]
    files = [root / name for name in frame["file"]]
    assert run.predict(files).tolist() == frame["prediction"].tolist()
    assert predictions(run, str(files[3]))["file"].tolist() == [str(files[3])]
    one = picture(0, 0)
    assert run.predict(one).tolist() == run.predict(one[None]).tolist()
    assert predictions(run, one).columns.tolist() == ["prediction"]
    with pytest.raises(UsageError, match=r"there is no file .*left/00\.png\. Did you mean '"):
        run.predict(root / "left" / "00.png")
    with pytest.raises(DataError, match=r"gone\.png is named, but there is no such file"):
        run.predict([files[0], root / "gone.png"])
    with pytest.raises(DataError, match=r"uint8 pixels\), got float32 numbers of the shape \(1, 20, 20, 3\)"):
        run.predict(one[None].astype(np.float32))
    with pytest.raises(DataError, match="got an empty list"):
        run.predict([])


def test_a_table_of_several_columns_is_scored_by_that_of_the_training(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", 20)
    files = sorted(root.rglob("*.png"))
    sides = [f.parent.name for f in files]
    table = pd.DataFrame({"file": map(str, files), "side": sides, "age": range(len(files))})
    run = tw.fit(table, "side", out=tmp_path / "run", **{**QUICK, "budget": "2ep"})
    found = tw.evaluate(tw.load(tmp_path / "run"), table)["accuracy"]
    assert found == pytest.approx((run.predict(table) == table["side"]).mean())


def test_a_target_that_folders_do_not_have_is_refused(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", 20)
    with pytest.raises(UsageError, match=r"target='age': .* the class of a file is its folder"):
        tw.fit(root, "age", out=False, **QUICK)


def test_a_table_of_files_that_are_not_there_says_where_they_were_looked_for(tmp_path: Path) -> None:
    table = pd.DataFrame({"file": ["a.jpg", "b.jpg"] * 10, "label": ["x", "y"] * 10})
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=f"names files of the kind image, e.g. a.jpg, but none .* {tmp_path}"):
        tw.fit(tmp_path / "t.csv", "label", out=False)


def test_arrays_that_are_no_images_or_no_labels_say_what_is_expected() -> None:
    x, y = np.stack([picture(i % 2, i) for i in range(20)]), np.arange(20) % 2
    with pytest.raises(DataError, match=r"have the shape \(20,\), got \(20, 2\); take y\.argmax"):
        tw.fit((x, np.eye(2)[y]), out=False, **QUICK)
    with pytest.raises(UsageError, match=r"model=your_module; uint8 pixels need none"):
        tw.fit((x.astype(np.float32), y), out=False, **QUICK)


def test_a_broken_file_in_a_prediction_is_an_error(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", 20)
    run = tw.fit(root, out=False, **QUICK)
    (root / "left" / "zz.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"left/zz\.png is no image"):
        run.predict(root)


@pytest.mark.parametrize("depth", ["18", 18])
def test_depths_that_are_words_may_be_written_as_numbers(depth: object) -> None:
    made = settings.apply(tw.Recipe(), settings={"model.depth": depth, "model": "resnet"})
    assert made.model.get("depth") == "18"
    build_model(made.model, InputSpec(kind="image", shape=(3, 32, 32)), 2, torch.Generator())
    odd = settings.apply(made, settings={"model.depth": 19})
    with pytest.raises(DoseError, match=r"model\.depth must be one of 20, 32"):
        build_model(odd.model, InputSpec(kind="image", shape=(3, 32, 32)), 2, torch.Generator())


def test_a_family_of_tables_is_refused(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", 20)
    with pytest.raises(
        RecipeError, match=r"'tabm' reads table data, these are of the kind image; take one of: .*cnn"
    ):
        tw.fit(root, out=False, settings_={"model": "tabm"}, watch=False)


def test_the_command_fits_a_zip_of_real_photographs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = shared_data("clothing10_small.zip")
    words = ["fit", str(archive), "--size", "16", "--budget", "1ep", "--set", "model.width=4", "--no-watch"]
    assert run_command([*words, "--out", str(tmp_path / "run"), "--quiet", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["scores"].keys() == {"val", "test"}


def test_cifar_files_have_the_parts_of_their_column() -> None:
    run = tw.fit(
        shared_data("cifar10_jpeg_10k.parquet"), "label", out=False, budget="0.05ep", watch=False,
        settings_={"model.width": 2, "batch_size": 256},
    )  # fmt: skip
    told = next(n.message for n in run.notes if n.code == "parts")
    assert "train 10000, test 2000" in told


def test_a_class_folder_without_files_is_told(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", 12)
    (root / "nowhere").mkdir()
    made = prepared(root)
    assert any(n.code == "empty_class" and "'nowhere'" in n.message for n in made.notes)
    assert made.task.classes == ("left", "right")


def test_a_folder_of_two_kinds_is_refused_and_a_stray_file_is_not(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", 24)
    (root / "left" / "stray.wav").write_bytes(b"RIFF")
    made = prepared(root)
    assert made.kind == "image" and any("stray.wav" in n.message for n in made.notes)
    for i in range(12):
        (root / "left" / f"{i}.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match="48 image files and 13 audio files; expected files of one kind"):
        prepared(root)


def test_a_table_that_is_at_fault_says_how(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", 12)
    files = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.png"))
    rows = [f"{f},{f.split('/')[0]},{i % 3}" for i, f in enumerate([*files, "left/gone.png"])]
    (root / "table.csv").write_text("\n".join(["file,label,camera", *rows]))
    with pytest.raises(UsageError, match=r"target= is needed.*label, camera"):
        prepared(root, max_bad="10%")
    with pytest.raises(UsageError, match=r"group=.*'camra'.*Did you mean 'camera'"):
        prepared(root, "label", group="camra")
    with pytest.raises(UsageError, match="is one image or sound; expected many"):
        tw.fit(root / files[0], out=False)
    with pytest.raises(DataError, match=r"gone\.png: is named, but there is no such file"):
        prepared(root, "label")


def test_pixels_are_no_unscaled_inputs(tmp_path: Path) -> None:
    run = tw.fit(class_folders(tmp_path / "data", 40), out=False, **{**QUICK, "watch": True, "budget": "1ep"})
    assert "unscaled_inputs" not in {f.ailment for f in run.findings}


def test_copies_are_alike_and_other_trousers_are_not() -> None:
    with np.load(shared_data("fashion_mnist_10k.npz")) as file:
        x, y = file["x_train"][:1200], file["y_train"][:1200]
    copies = np.clip(x[:30].astype(int) * 1.2, 0, 255).astype(np.uint8)
    made = prepared(((x[:900], y[:900]), (np.r_[x[900:], copies], np.r_[y[900:], y[:30]])))
    assert 25 <= made.facts["alike"]["val"] <= 36


def test_pixels_that_memory_does_not_hold_lie_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = class_folders(tmp_path / "data", 40)
    held = tw.fit(root, out=False, **QUICK)
    monkeypatch.setattr(store, "available_bytes", lambda: 100_000)
    made = prepared(root)
    assert isinstance(made.parts["train"][0][0], np.memmap)
    assert [r["val_loss"] for r in tw.fit(root, out=False, **QUICK).history] == [
        r["val_loss"] for r in held.history
    ]
    monkeypatch.setattr(store.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(DataError, match=r"the pixels take .* MiB; memory has .*size="):
        prepared(root)


def test_a_table_of_names_without_endings_is_read_and_what_it_leaves_out_is_told(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", 12)
    files = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.png"))
    rows = [f"{f.removesuffix('.png')},{f.split('/')[0]}" for f in files[1:]]
    (root / "labels.csv").write_text("\n".join(["id,side", *rows]))
    made = prepared(root)
    assert sum(map(len, made.targets.values())) == 23
    assert any(
        "1 files that labels.csv does not name are passed over: 'left/000.png'" in n.message
        for n in made.notes
    )
    flat = tmp_path / "flat"
    flat.mkdir()
    for i, f in enumerate(files):
        (root / f).rename(flat / f"{i}.png")
    (flat / "other.csv").write_text("a,b\n1.5,2\n1.5,3\n")
    with pytest.raises(DataError, match=r"has no labels \(other\.csv names none of its files\)"):
        prepared(flat)


def test_a_number_is_learned_from_images() -> None:
    y = np.arange(80) % 2
    x = np.stack([picture(int(label), i) for i, label in enumerate(y)])
    run = tw.fit((x, y * 3.5 + np.arange(80) / 200), out=False, **{**QUICK, "budget": "12ep"})
    assert run.task is not None and run.task.kind == "regression"
    assert run.score < 1.2  # of the constant answer 1.75


@pytest.mark.parametrize("options", [{}, {"size": 16}, {"backbone": "efficientnet_lite0", "weights": "none"}])
def test_a_folder_without_data_is_said_whatever_was_asked(tmp_path: Path, options: dict[str, object]) -> None:
    (tmp_path / "data" / "left").mkdir(parents=True)
    (tmp_path / "data" / "notes.txt").write_text("nothing")
    with pytest.raises(
        DataError, match=r"data holds no image, no sound and no table of them \(it holds notes\.txt\)"
    ):
        tw.fit(tmp_path / "data", out=False, **options)


def test_folders_that_are_no_classes_are_refused_in_words_of_folders(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", 20)
    alone = tmp_path / "alone"
    (alone / "left").mkdir(parents=True)
    for i, file in enumerate(sorted((root / "left").iterdir())):
        (alone / "left" / file.name).write_bytes(file.read_bytes())
        (tmp_path / "each" / f"class{i}").mkdir(parents=True)
        (tmp_path / "each" / f"class{i}" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(DataError, match=r"alone has one class folder only, 'left'.*a folder of its own"):
        tw.fit(alone, out=False, **QUICK)
    with pytest.raises(DataError, match=r"each has 20 class folders for 20 files; a class needs several"):
        tw.fit(tmp_path / "each", out=False, **QUICK)
