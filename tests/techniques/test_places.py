"""A technique that finds nothing to act on is refused by name, wherever it was asked for; one of a preset is left out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import trainwell as tw
from trainwell.app.cli import run_command
from trainwell.app.console import Console
from trainwell.app.outcome import load_run
from trainwell.app.recipes import names_of
from trainwell.app.treating import _why_not
from trainwell.engine.assemble import Source, assemble
from trainwell.engine.compose import kinds_of, restore_structure
from trainwell.models import build_model
from trainwell.testing.runs import TASK, Furnished, classes, perceptron
from trainwell.values.errors import NoPlaceError, UsageError
from trainwell.values.recipe import ModelSpec, Recipe
from trainwell.values.task import InputSpec
from trainwell.values.technique import REGISTRY, Technique

QUICK: dict[str, Any] = {"preset": "quick", "budget": "1ep", "watch": False, "baseline": False, "out": False}


class Heard(Console):
    """Keeps what was said."""

    def __init__(self) -> None:
        super().__init__(None)
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def table(rows: int = 80) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(rows, 4)), columns=list("abcd"))
    return frame.assign(y=np.where(frame["a"] > 0, "up", "down"))


def texts(rows: int = 80) -> pd.DataFrame:
    words = ["a fine and moving film we loved", "a dull and empty film we hated"]
    return pd.DataFrame({"t": [f"{words[i % 2]} number {i}" for i in range(rows)], "y": np.arange(rows) % 2})


def images(rows: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(rows) % 2
    return (rng.integers(0, 100, (rows, 16, 16, 3)) + 100 * y[:, None, None, None]).astype(np.uint8), y


REFUSED = [
    (table, "y", "flip", r"flip acts on images, and these are tables: leave flip out\.$"),
    (table, "y", "sort_by_length", "sort_by_length acts on texts, and these are tables"),
    (texts, "y", "trivial_augment", "trivial_augment acts on images, and these are texts"),
    (texts, "y", "mixup", "mixup acts on tables and images and sounds and features of a backbone, and these are texts"),
    (images, None, "spec_augment", "spec_augment acts on sounds, and these are images"),
    (table, "y", "freeze_norms", "freeze_norms: this network has no batch norms"),
    (table, "y", "stochastic_depth", "stochastic_depth found no residual branches"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "target", "technique", "said"), REFUSED, ids=lambda v: str(v)[:20])
def test_what_does_not_fit_the_data_or_the_network_is_refused(
    data: Any, target: str | None, technique: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(NoPlaceError, match=said):
        tw.fit(data(), target, with_=technique, **QUICK)
    with pytest.raises(NoPlaceError, match=said):
        tw.prove(
            data(), target, change=technique, seeds=2, preset="quick", budget="1ep", out=tmp_path / "trial"
        )
    assert not (tmp_path / "trial").exists(), "nothing is written for a trial that cannot be trained"


def test_the_command_line_says_it_in_one_line_and_leaves_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    texts().to_csv("t.csv", index=False)
    assert (
        run_command(["fit", "t.csv", "--target", "y", "--preset", "quick", "--with", "flip", "--quiet"]) == 2
    )
    assert "flip acts on images, and these are texts: leave flip out." in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_head_on_features_says_how_its_images_can_be_changed() -> None:
    net = build_model(ModelSpec("probe"), InputSpec(kind="features", shape=(8,)), 3, torch.Generator())
    part = classes(20, 0)
    with pytest.raises(
        NoPlaceError, match=r"flip acts on images, and these are features of a backbone.*settings_=.*model"
    ):
        assemble(net, Recipe(techniques=("flip",)), Source(part, part), task=TASK)
    with pytest.raises(
        NoPlaceError, match=r"layer_decay treats the layers before the last one apart.*settings_=.*model"
    ):
        assemble(net, Recipe(techniques=("layer_decay",)), Source(part, part), task=TASK)


@pytest.mark.parametrize("kind", ["table", "text", "image"])
def test_tensors_of_ones_own_are_known_by_their_form(kind: str) -> None:
    part, fitting = classes(20, 0, kind), {"table": "mixup", "text": "sort_by_length", "image": "flip"}
    assert kind in kinds_of(part[0])
    for technique in fitting.values():
        recipe = Recipe(techniques=(technique,), batch_size=4)
        if technique == fitting[kind] or (technique, kind) == ("mixup", "image"):
            assemble(perceptron(kind=kind), recipe, Source(part, part), task=TASK)
        else:
            with pytest.raises(
                NoPlaceError, match=rf"{technique} acts on .*, rows of the shape \(.*\) are none"
            ):
                assemble(perceptron(kind=kind), recipe, Source(part, part), task=TASK)


def test_a_loader_keeps_its_own_order() -> None:
    x, y = classes(20, 0, "text")
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*x, y), batch_size=4)
    recipe = Recipe(techniques=("sort_by_length",), batch_size=4)
    with pytest.raises(NoPlaceError, match="orders rows that lie in memory"):
        assemble(perceptron(kind="text"), recipe, Source(loader, None), task=TASK)


@pytest.mark.parametrize(
    "name",
    ["freeze", "lora", "bitfit", "layer_decay", "discriminative_rates", "gradual_unfreezing", "lp_ft", "no_norm",
     "adapt_norms", "freeze_norms", "stochastic_depth", "dropout", "batch_norm"],
)  # fmt: skip
def test_a_network_of_one_layer_has_no_place_for_what_treats_several(name: str) -> None:
    part = classes(20, 0)
    with pytest.raises(NoPlaceError) as error:
        assemble(nn.Sequential(nn.Linear(8, 3)), Recipe(techniques=(name,)), Source(part, part), task=TASK)
    assert error.value.technique == name
    assert str(error.value).startswith(name) and "out" in str(error.value)


def test_bitfit_needs_a_bias_before_the_last_layer() -> None:
    net, part = nn.Sequential(nn.Linear(8, 4, bias=False), nn.ReLU(), nn.Linear(4, 3)), classes(20, 0)
    with pytest.raises(NoPlaceError, match="no layer before the last one has a bias"):
        assemble(net, Recipe(techniques=("bitfit",)), Source(part, part), task=TASK)


def test_a_small_share_freezes_one_layer() -> None:
    part = classes(20, 0)
    run = assemble(perceptron(), Recipe(techniques=("freeze:share=0.05",)), Source(part, part), task=TASK)
    assert [n for n, p in run.model.named_parameters() if not p.requires_grad] == ["0.weight", "0.bias"]


def test_an_old_run_with_a_technique_that_does_nothing_can_be_read() -> None:
    net = perceptron()
    assert restore_structure(net, Recipe(techniques=("freeze_norms", "stochastic_depth"))) is net


def test_a_technique_of_the_preset_without_a_place_is_left_out_and_said(tmp_path: Path) -> None:
    sounds = pytest.importorskip("soundfile", reason="the extra [audio]")
    rng = np.random.default_rng(0)
    for name, pitch in (("low", 200), ("high", 1500)):
        (tmp_path / "wavs" / name).mkdir(parents=True)
        for i in range(16):
            wave = np.sin(2 * np.pi * pitch * np.arange(4000) / 8000) + 0.1 * rng.normal(size=4000)
            sounds.write(tmp_path / "wavs" / name / f"{i}.wav", 0.5 * wave[:1500], 8000)
    heard = Heard()
    given = {**QUICK, "settings_": {"model": "resnet"}, "console": heard}
    run = tw.fit(tmp_path / "wavs", **given)
    assert "left out  dropout of the preset: resnet has no place for it" in heard.lines
    assert run.recipe.get("dropout") is None and run.recipe.get("spec_augment") is not None
    for asked in ({"with_": "dropout:rate=0.2"}, {"settings_": {**given["settings_"], "dropout.rate": 0.2}}):
        with pytest.raises(NoPlaceError, match="dropout found no place in"):
            tw.fit(tmp_path / "wavs", **{**given, **asked})
    heard.lines.clear()
    with pytest.raises(NoPlaceError, match="flip acts on images, and these are sounds"):
        tw.prove(
            tmp_path / "wavs", change="flip", seeds=2, budget="1ep", preset="quick", out=False,
            settings_=given["settings_"], console=heard,
        )  # fmt: skip
    assert "left out  dropout of the preset: resnet has no place for it" in heard.lines, "the base fits"


def test_a_search_leaves_out_what_is_usual_and_refuses_what_was_named() -> None:
    heard = Heard()
    common: dict[str, Any] = {
        "settings_": {"model": "resnet"}, "preset": "quick", "budget": "20s", "trials": 2,
        "out": False, "finalists": 1, "repeats": 2, "console": heard, "folds": 1,
    }  # fmt: skip
    with pytest.raises(UsageError, match=r"space='spec_augment\.share': spec_augment acts on sounds"):
        tw.tune(images(), **common, space=["spec_augment.share"])
    told = "left out  dropout.rate is not searched: dropout found no"
    assert any(line.startswith(told) for line in heard.lines)


def test_treat_does_not_try_what_has_no_place() -> None:
    run = tw.fit(texts(), "y", **QUICK)
    assert "mixup acts on" in _why_not(run.recipe.with_("mixup"), run, None, None)
    assert _why_not(run.recipe.with_("label_smoothing"), run, None, None) == ""
    held = dataclasses.replace(run, recipe=run.recipe.with_("flip"))
    assert _why_not(held.recipe.with_("ema"), held, None, None) == "", (
        "what the run holds already is not asked again"
    )


def test_names_of_what_the_user_asked_for() -> None:
    asked = names_of({"lr": 1, "dropout.rate": 0.1}, ("mixup:alpha=0.3", REGISTRY["ema"]()))
    assert asked == {"lr", "dropout", "mixup", "ema"}


def test_every_furnished_place_is_used() -> None:
    part = classes(20, 0)
    for name in ("freeze_norms", "adapt_norms", "no_norm", "stochastic_depth"):
        assemble(Furnished(), Recipe(techniques=(name,)), Source(part, part), task=TASK)


def test_runs_that_were_written_are_read_with_their_techniques(tmp_path: Path) -> None:
    run = tw.fit(table(), "y", **{**QUICK, "out": tmp_path / "run"})
    assert load_run(tmp_path / "run").recipe == run.recipe
    assert all(isinstance(t, Technique) for t in run.recipe.techniques)
