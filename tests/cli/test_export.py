"""What `export` writes is whole, predicts as the run does, and is checked when it is read."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.cli.conftest import QUICK, Command, make_frame

Finished = tuple[Path, Path]


def test_export_holds_all_that_a_prediction_needs(
    finished: Finished, tmp_path: Path, trainwell: Command
) -> None:
    run, data = finished
    out = tmp_path / "served"
    done = trainwell("export", run, "--out", out, "--json")
    assert done.code == 0
    assert done.json["files"] == [
        str(out / n) for n in ("MODEL_CARD.md", "model.json", "weights.safetensors")
    ]
    about = json.loads((out / "model.json").read_text())
    assert about["task"]["classes"] == ["no", "yes"]
    assert [c["type"]["name"] for c in about["transform"]["columns"]] == ["a", "b", "c"]
    assert about["recipe"] == json.loads((run / "recipe.json").read_text())
    best = load_file(run / "best" / "weights.safetensors")
    weights = load_file(out / "weights.safetensors")
    assert weights.keys() == best.keys()
    assert all(np.array_equal(weights[k], best[k]) for k in best)
    for verb in ("predict", "evaluate"):
        assert trainwell(verb, out, data).out == trainwell(verb, run, data).out


def test_export_does_not_touch_a_folder_that_is_taken(
    finished: Finished, tmp_path: Path, trainwell: Command
) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    done = trainwell("export", finished[0], "--out", tmp_path)
    assert done.code == 2
    assert "not empty" in done.err
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_export_leaves_nothing_when_it_fails(
    finished: Finished, tmp_path: Path, trainwell: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainwell.app.export.atomic_write_text", full)
    done = trainwell("export", finished[0], "--out", tmp_path / "served")
    assert done.code == 2
    assert "No space left on device" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
def test_damage_is_told(name: str, finished: Finished, tmp_path: Path, trainwell: Command) -> None:
    out = tmp_path / "served"
    assert trainwell("export", finished[0], "--out", out).code == 0
    data = bytearray((out / name).read_bytes())
    data[-3 if name.endswith("safetensors") else 0] ^= 1
    (out / name).write_bytes(data)
    done = trainwell("predict", out, finished[1])
    assert done.code == 2
    assert f"{name}" in done.err
    assert "damaged" in done.err


def test_missing_extra_says_how_to_install(
    finished: Finished, tmp_path: Path, trainwell: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = trainwell("export", finished[0], "--out", tmp_path / "served", "--onnx")
    assert done.code == 2
    assert "pip install 'trainwell[export]'" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_onnx_computes_what_the_run_predicts(kind: str, tmp_path: Path, trainwell: Command) -> None:
    runtime: Any = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    from trainwell import load

    frame = make_frame()
    frame["many"] = [f"v{i}" for i in np.random.default_rng(1).integers(0, 60, len(frame))]
    if kind == "numbers":
        frame["y"] = 40 + 9 * frame.a
    data, run, out = tmp_path / "t.csv", tmp_path / "run", tmp_path / "served"
    frame.to_csv(data, index=False)
    assert trainwell("fit", data, "--target", "y", "--out", run, *QUICK).code == 0
    done = trainwell("export", run, "--out", out, "--onnx")
    assert done.code == 0, done.err
    about = json.loads((out / "model.json").read_text())["onnx"]
    assert about["checked_to"] <= 1e-4
    loaded = load(run)
    assert loaded.predictor.transform is not None
    x = loaded.predictor.transform.apply(data)
    session = runtime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    names = [i["name"] for i in about["inputs"]]
    assert len(names) == len(x)
    found = session.run(None, dict(zip(names, x, strict=True)))[0]
    expected = loaded.predict_proba(data) if kind == "classes" else loaded.predict(data)[:, None]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_run_in_memory_is_exported_from_python(tmp_path: Path) -> None:
    import trainwell as tw

    run = tw.fit(make_frame(), "y", preset="quick", budget="1ep", baseline=False, out=False)
    formats = ("onnx",) if importlib.util.find_spec("onnxruntime") else ()
    tw.export(run, tmp_path / "served", formats=formats)
    rows = make_frame().drop(columns="y")
    np.testing.assert_array_equal(tw.load(tmp_path / "served").predict_proba(rows), run.predict_proba(rows))
    with pytest.raises(tw.UsageError, match="there is no format 'onx'"):
        tw.export(run, tmp_path / "other", formats=("onx",))
