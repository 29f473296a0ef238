"""Networks of images, texts and sounds as files that need nothing else: whole backbones, and ONNX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import trainwell as tw
from tests.audio.test_audio import folders
from tests.images.samples import class_folders
from tests.text.test_text import reviews
from trainwell.app.export import export_run
from trainwell.models.backbones.base import Backbone, BackboneNet
from trainwell.values.errors import UsageError

QUICK: dict[str, Any] = {"out": False, "watch": False, "baseline": False, "budget": "1ep", "preset": "quick"}


def quick_run(kind: str, family: str, home: Path) -> tuple[tw.Run, Any]:
    """Return a run of a small network, and data to predict."""
    settings = {"model": family, "model.width": 16, "batch_size": 16}
    if kind == "text":
        return tw.fit(reviews(), "liked", settings_=settings, **QUICK), reviews()
    data = class_folders(home / "data", 20) if kind == "image" else folders(home / "data", 20)
    return tw.fit(data, settings_=settings, **QUICK), data


@pytest.mark.parametrize(
    ("kind", "family", "name"),
    [
        ("image", "cnn", "pixels"),
        ("text", "gru", "tokens"),
        ("text", "transformer", "tokens"),
        ("audio", "gru", "spectra"),
    ],
)
def test_onnx_computes_what_the_run_predicts(kind: str, family: str, name: str, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    run, data = quick_run(kind, family, tmp_path)
    export_run(run, tmp_path / "out", formats=("onnx",))
    about = json.loads((tmp_path / "out" / "model.json").read_text())["onnx"]
    assert [i["name"] for i in about["inputs"]] == [name] and about["checked_to"] < 1e-4
    session = runtime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    rows = np.concatenate([x for (x,) in run.predictor.transform.batches(data)])
    assert rows.shape[1:] == tuple(about["inputs"][0]["shape"][1:])
    assert str(rows.dtype) == about["inputs"][0]["dtype"]
    found = session.run(None, {name: rows})[0]
    np.testing.assert_allclose(found, run.predict_proba(data), atol=1e-4)


def test_what_onnx_has_no_word_for_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    run, _ = quick_run("text", "bag", tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("export failed") from ValueError("no word for it\nand more")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(
        UsageError, match=r"cannot write this network as ONNX: no word for it\. Leave formats="
    ):
        export_run(run, tmp_path / "out", formats=("onnx",))
    assert not (tmp_path / "out").exists()


def test_the_probe_of_a_backbone_is_exported_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINWELL_CACHE", str(tmp_path / "cache"))
    data = class_folders(tmp_path / "data", 20)
    run = tw.fit(data, backbone="efficientnet_lite0", weights="none", size=32, **QUICK)
    export_run(run, tmp_path / "out")

    def refuse(self: Backbone) -> None:
        raise AssertionError("no weights beside those of the export are read")

    monkeypatch.setattr(Backbone, "tensors", refuse)
    whole = tw.load(tmp_path / "out")
    assert isinstance(whole.model, BackboneNet) and whole.recipe.model.family == "efficientnet_lite0"
    (pixels,) = (torch.from_numpy(x) for (x,) in whole.predictor.transform.batches(data))
    with torch.no_grad():
        torch.testing.assert_close(
            whole.model(pixels), run.model(whole.model.features(pixels)), atol=1e-4, rtol=1e-4
        )
    again = tw.evaluate(whole, data)["accuracy"]
    assert again == pytest.approx((pd.Series(whole.predict(data)) == ["left"] * 20 + ["right"] * 20).mean())
