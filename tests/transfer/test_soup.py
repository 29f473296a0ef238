"""Averages of the weights of trainings that began alike, chosen on the validation part."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import trainwell as tw
from trainwell.app.cli import run_command
from trainwell.app.soup import average
from trainwell.values.errors import UsageError

Part = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def data() -> tuple[Part, Part, Part]:
    x, y = load_digits(return_X_y=True)
    images, labels = torch.tensor(x / 16).float(), torch.tensor(y)
    return tuple((images[a:b], labels[a:b]) for a, b in ((0, 500), (500, 900), (900, 1797)))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def start(data: tuple[Part, Part, Part]) -> nn.Module:
    """Return a network that knows the digits a little, from which fine-tunings stay in one basin."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 10))
    recipe = tw.Recipe(lr=1e-2, epochs=4)
    return tw.fit(data[:2], model=net, recipe=recipe, out=False, watch=False).model


def tuned(start: nn.Module, data: tuple[Part, Part, Part], **fields: object) -> tw.Run:
    recipe = tw.Recipe(**{"lr": 3e-3, "epochs": 3, **fields})  # type: ignore[arg-type]
    return tw.fit(data[:2], test=data[2], model=copy.deepcopy(start), recipe=recipe, out=False, watch=False)


def test_average_is_the_mean_and_keeps_counters() -> None:
    held = [{"w": torch.tensor([float(i), 2.0]), "n": torch.tensor(i + 5)} for i in range(3)]
    made = average(held)
    assert made["w"].tolist() == [1.0, 2.0] and int(made["n"]) == 5


def test_greedy_is_never_worse_than_the_best_run(
    start: nn.Module, data: tuple[Part, Part, Part], tmp_path: Path
) -> None:
    runs = [tuned(start, data, lr=lr) for lr in (1e-3, 3e-3, 1e-2)]
    made = tw.soup(runs, data[:2], test=data[2], out=tmp_path / "soup")
    assert made.loss <= min(made.losses) and made.taken[0] == int(np.argmin(made.losses))
    assert made.run.scores["test"]["accuracy"] > 0.8
    again = tw.load(tmp_path / "soup", model=copy.deepcopy(start))
    x = data[2][0]
    assert np.array_equal(again.predict(x), made.run.predict(x))


def test_a_run_that_does_harm_is_left_out_and_uniform_takes_it(
    start: nn.Module, data: tuple[Part, Part, Part]
) -> None:
    runs = [tuned(start, data, lr=lr) for lr in (1e-3, 2e-3)]
    spoiled = tuned(start, data, lr=1e-3)
    with torch.no_grad():
        for parameter in spoiled.model.parameters():
            parameter.mul_(-3)
    greedy = tw.soup([*copy.deepcopy(runs), copy.deepcopy(spoiled)], data[:2])
    uniform = tw.soup([*runs, spoiled], data[:2], way="uniform")
    assert 2 not in greedy.taken and set(uniform.taken) == {0, 1, 2} and uniform.loss > greedy.loss


def test_networks_that_began_elsewhere_are_refused(start: nn.Module, data: tuple[Part, Part, Part]) -> None:
    one = tuned(start, data, epochs=1)
    one = dataclasses.replace(one, recipe=one.recipe.replace(model=tw.ModelSpec.of("mlp")))
    other = dataclasses.replace(one, seed=3)
    for runs, message in (([one], "two runs"), ([one, other], "seed 3, not 0")):
        with pytest.raises(UsageError, match=message):
            tw.soup(runs, data[:2])
    with pytest.raises(UsageError, match="greedy"):
        tw.soup([one, one], data[:2], way="gready")


def test_the_verb_averages_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = load_digits(return_X_y=True)
    np.savez(tmp_path / "d.npz", x=(x[:400] * 15).astype(np.uint8).reshape(-1, 8, 8), y=y[:400])
    for name, lr in (("a", 1e-3), ("b", 2e-3)):
        settings = [
            "--preset",
            "quick",
            "--budget",
            "2 epochs",
            "--set",
            f"lr={lr}",
            "--set",
            "model.width=4",
        ]
        folder = str(tmp_path / name)
        assert run_command(["fit", str(tmp_path / "d.npz"), *settings, "--no-watch", "--out", folder]) == 0
    capsys.readouterr()
    assert (
        run_command(
            ["soup", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "s"), "--json"]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["loss"] <= min(told["losses"]) and set(told["scores"]) == {"val", "test"}
    assert run_command(["evaluate", str(tmp_path / "s"), str(tmp_path / "d.npz")]) == 0
    (tmp_path / "latest").symlink_to(tmp_path / "a")
    assert run_command(["soup", str(tmp_path / "a"), str(tmp_path / "latest")]) == 2
    assert "is given twice" in capsys.readouterr().err


def test_the_best_trials_of_a_tuning_are_averaged(start: nn.Module, data: tuple[Part, Part, Part]) -> None:
    def again(recipe: tw.Recipe) -> nn.Module:
        return copy.deepcopy(start)

    given = {
        "recipe": tw.Recipe(lr=1e-3, epochs=2),
        "trials": 6,
        "budget": "60s",
        "searcher": "random",
        "out": False,
    }
    found = tw.tune(data[:2], model=again, finalists=1, repeats=2, **given)  # type: ignore[arg-type]
    made = tw.soup(found, data[:2], top=3, model=again)
    assert len(made.losses) == 3 and made.loss <= min(made.losses)
