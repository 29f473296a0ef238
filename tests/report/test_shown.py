"""Samples in a report: pictures that a decoder reads back, texts as they are, and nothing else in their place."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import trainwell as tw
from trainwell.app.reporting import write_report
from trainwell.app.shown import picture, png
from trainwell.report.blocks import Card
from trainwell.report.saved import read_saved
from trainwell.report.sections.summary import _is_of_files

Image = pytest.importorskip("PIL.Image")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINWELL_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("shape", [(1, 7, 5), (3, 16, 20)])
def test_png_reads_back_as_it_was(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    back = np.asarray(Image.open(io.BytesIO(png(image))))
    assert np.array_equal(back, image.transpose(1, 2, 0).squeeze())


def test_large_image_and_spectrum_become_small_pictures() -> None:
    for pixels in (np.zeros((4, 1000, 700), np.uint8), np.random.default_rng(0).normal(size=(1, 40, 900))):
        held = picture(pixels)
        with Image.open(io.BytesIO(base64.b64decode(held.partition(",")[2]))) as found:
            assert max(found.size) <= 180
        assert Card("x", [], held).picture == held


@pytest.mark.parametrize(
    "bad", ["javascript:alert(1)", "data:text/html,<b>", 'data:image/png;base64,A" onerror="x']
)
def test_only_pictures_are_shown_as_pictures(bad: str) -> None:
    assert Card("x", [], bad).picture == ""


def test_worst_images_stand_in_the_report_with_their_names(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    for label in ("dark", "light"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(40):
            pixels = draws.integers(0, 128, (12, 12, 3)) + (100 if label == "light" else 0)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / label / f"<b>{i}.png")
    recipe = tw.Recipe(model="cnn", epochs=1, batch_size=16)
    tw.fit(tmp_path / "photos", recipe=recipe, out=tmp_path / "run", watch=False)
    html = write_report(tmp_path / "run").read_text()
    assert html.count('<img src="data:image/png;base64,') == 12
    assert "dark/&lt;b&gt;" in html and "<b>0.png" not in html
    assert "NEW_FILES --out predictions.csv" in html and "NEW_ROWS" not in html
    assert _is_of_files(read_saved(tmp_path / "run"))


def test_worst_texts_stand_in_the_report(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    words, draws = ["good", "fine", "bad", "awful"], np.random.default_rng(0)
    rows = []
    for i in range(120):
        label = int(draws.integers(2))
        body = " ".join(draws.choice(words[2 * label :][:2], 8))
        rows.append(
            {"text": f"Review {i}: {body} <script>x</script> of the film", "label": "no" if label else "yes"}
        )
    pd.DataFrame(rows).to_csv(tmp_path / "films.csv", index=False)
    recipe = tw.Recipe(model="bag", epochs=1, batch_size=16)
    tw.fit(
        tmp_path / "films.csv", target="label", text="text", recipe=recipe, out=tmp_path / "run", watch=False
    )
    html = write_report(tmp_path / "run").read_text()
    assert html.count("<blockquote>Review ") == 12
    assert not _is_of_files(read_saved(tmp_path / "run"))
    assert "&lt;script&gt;x&lt;/script&gt; of the film" in html
