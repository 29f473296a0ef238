"""`tune` from end to end on small real data."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import trainwell as tw
from tests.conftest import shared_data
from trainwell.app.cli import run_command
from trainwell.app.console import Console
from trainwell.app.tuning.search import Search
from trainwell.app.tuning.space import make_space
from trainwell.search.halving import Halving
from trainwell.search.study import COMPLETE, STOPPED, read_study
from trainwell.values.errors import Interrupted, UsageError


def digits(rows: int = 600) -> tuple[torch.Tensor, torch.Tensor]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return torch.tensor(x[:rows] / 16, dtype=torch.float32), torch.tensor(y[:rows])


def perceptron(recipe: tw.Recipe) -> nn.Module:
    width = recipe.model.get("width", 16)
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


BASE = tw.Recipe(lr=1e-3, epochs=6, batch_size=32, schedule="cosine")


def tuned(**options: Any) -> tw.Tuning:
    given = {"model": perceptron, "recipe": BASE, "out": False, "trials": 24, "budget": "20s", **options}
    return tw.tune(digits(), **given)


def test_a_bad_default_is_beaten_on_the_users_own_model() -> None:
    found = tuned(space=["model.width=8|32"], finalists=2, repeats=7)
    assert found.winner.beats_default
    assert found.winner.gain > 0.05
    assert found.config["lr"] > BASE.lr
    assert len([t for t in found.trials if t.state in (COMPLETE, STOPPED)]) == 24
    text = "\n".join(found.lines())
    for word in ("seen", "confirmed", "optimism", "better than the default by"):
        assert word in text
    assert found.to_dict()["optimism"] == found.winner.confirmed - found.best_seen
    worse = dataclasses.replace(found, best_seen=found.winner.confirmed + 0.1)
    assert any(line.startswith("optimism  -0.1000, the search did not flatter") for line in worse.lines())
    assert found.model[0].out_features == found.config["model.width"]
    assert found.recipe.lr == found.config["lr"]


def test_the_seed_decides_all_of_it() -> None:
    # a budget that a slow machine holds too: what does not fit is made shorter, by the clock
    one, other = (tuned(finalists=1, repeats=2, trials=12, budget="10m") for _ in range(2))
    assert [t.config for t in one.trials] == [t.config for t in other.trials]
    assert [t.value for t in one.trials] == [t.value for t in other.trials]
    np.testing.assert_array_equal(one.losses, other.losses)


def test_a_study_goes_on_where_it_was_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tuned(finalists=1, repeats=2, batch=4)
    told = 0
    tell = Search._tell

    def stop_after_ten(self: Search, result: Any) -> None:
        nonlocal told
        tell(self, result)
        told += 1
        if told == 10:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Search, "_tell", stop_after_ten)
        with pytest.raises(KeyboardInterrupt):
            tuned(out=tmp_path / "study", batch=4)
    found = tuned(out=tmp_path / "study", resume=True, finalists=1, repeats=2, batch=4)
    assert [t.config for t in found.trials] == [t.config for t in whole.trials]
    assert json.loads((tmp_path / "study" / "tuning.json").read_text())["trials"]["all"] == 24
    assert (tmp_path / "study" / "best" / "recipe.json").exists()
    with read_study(tmp_path / "study" / "study.jsonl") as study:
        assert len(study.trials) == 24
    longer = tuned(out=tmp_path / "study", resume=True, trials=28, finalists=1, repeats=2, batch=4)
    assert len(longer.trials) == 28
    assert (tmp_path / "study" / "best-2" / "recipe.json").exists()


def test_ctrl_c_ends_with_the_confirmed_best_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    from trainwell.app.tuning import tune as tuning

    class Pressed(tuning.Interrupts):
        def __enter__(self) -> Pressed:
            self.count = 0
            return super().__enter__()

        @property
        def signal(self) -> int:
            self.count = getattr(self, "count", 0) + 1
            return 2 if self.count > 900 else 0

        @signal.setter
        def signal(self, value: int) -> None:
            pass

    monkeypatch.setattr(tuning, "Interrupts", Pressed)
    found = tuned(trials=400, budget="60s", fidelity="full")
    assert found.interrupted == 2
    assert math.isfinite(found.winner.confirmed)
    assert found.seconds < 40


def test_loaders_feed_one_network_after_the_other() -> None:
    x, y = digits(200)
    sets = [torch.utils.data.TensorDataset(x[a:b], y[a:b]) for a, b in ((0, 150), (150, 200))]
    loaders = tuple(torch.utils.data.DataLoader(s, batch_size=32) for s in sets)
    space = ["-batch_size", "-l1.rate", "-label_smoothing.amount"]
    found = tw.tune(
        loaders, model=perceptron, loss=nn.CrossEntropyLoss(), recipe=BASE.replace(epochs=2), out=False,
        trials=5, budget="20s", finalists=1, repeats=2, searcher="random", space=space,
    )  # fmt: skip
    assert len(found.trials) == 5
    assert math.isfinite(found.winner.confirmed)


def test_the_command_tunes_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "tune", str(shared_data("churn_modelling.parquet")), "--target", "Exited", "--budget", "8s", "--trials", "6",
        "--set", "model=mlp", "--set", "model.width=16", "--set", "epochs=2", "--space", "-batch_size",
        "--space", "clip_grad.max_norm", "--searcher", "sobol", "--out", str(tmp_path / "s"), "--json",
    ]  # fmt: skip
    assert run_command(arguments) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["metric"] == "accuracy"
    assert {"best_seen", "confirmed", "optimism", "test", "importance", "flags"} <= found.keys()
    assert "clip_grad.max_norm" in found["config"]
    assert "space     " in err
    assert "lr " in err
    assert "\x1b" not in err


def test_the_command_repeats_the_study_in_outer_folds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, table = np.random.default_rng(0).standard_normal((240, 3)), tmp_path / "t.csv"
    lines = [",".join([*(f"{v:.4f}" for v in row), "yes" if row[0] > 0 else "no"]) for row in rows]
    table.write_text("\n".join(["a,b,c,y", *lines]))
    arguments = [
        "tune", str(table), "--target", "y", "--budget", "4s", "--trials", "2", "--honest", "2", "--folds", "1",
        "--set", "model=mlp", "--set", "model.width=8", "--set", "epochs=2", "--quiet", "--json",
    ]  # fmt: skip
    assert run_command(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["tests"]) == len(found["studies"]) == 2
    assert found["mean"] == pytest.approx(np.mean(found["tests"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"searcher": "sobal"}, "Did you mean 'sobol'"),
        ({"budget": "20ep"}, "takes a time"),
        ({"space": ["lr=fast to slow"], "trials": 2}, None),
        ({"space": ["-nothing"]}, "there is no 'nothing'"),
        ({"resume": True}, "needs out=FOLDER"),
        ({"workers": 0}, "workers=0: expected a whole number, 1 or more"),
        ({"on": "raid"}, "Did you mean 'ray'"),
        ({"trials": 0}, "trials=0"),
        ({"repeats": 1}, "2 or more"),
        ({"searcher": "gp:tpe"}, "expected one of auto"),
        ({"space": ["lr=fast"]}, "space='lr': fast cannot be"),
        ({"space": ["dropout.rate=[0.1, 2]"]}, "2.0 cannot be"),
        ({"space": ["nofile.json"]}, "space='nofile.json': there is no such file"),
    ],
)
def test_mistakes_are_told(options: dict[str, Any], message: str | None) -> None:
    if message is None:
        with pytest.raises(tw.TrainwellError):
            tuned(**options)
        return
    with pytest.raises(UsageError, match=message):
        tuned(**options)


def test_mistakes_are_told_before_anything_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = str(shared_data("churn_modelling.parquet"))
    for options in (
        ["--workers", "0"],
        ["--honest", "3", "--out", "x"],
        ["--preset", "qick"],
        ["--folds", "two"],
    ):
        given = ["tune", table, "--target", "Exited", "--out", str(tmp_path / "s"), *options]
        assert run_command(given) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith(f"error: {options[0]}")
    assert not (tmp_path / "s").exists()


def test_a_dose_of_some_optimizers_counts_only_there() -> None:
    space = make_space(
        BASE, ["optimizer.momentum=[0, 0.99]", "optimizer=adam|sgd"], None, own_model=True, num_rows=99
    )
    assert space["optimizer.momentum"].when == ("optimizer", ("sgd",))
    assert space["optimizer.momentum"].default == 0.9
    shared = make_space(BASE, ["optimizer=adam|adamw", "optimizer.beta1"], None, own_model=True, num_rows=99)
    assert shared["optimizer.beta1"].when is None
    clipped = make_space(BASE, "clip_grad.max_norm", None, own_model=True, num_rows=99)
    assert "clip_grad.max_norm" in [p.name for p in clipped]
    with pytest.raises(UsageError, match="has no dose"):
        make_space(BASE, "warmup.steps", None, own_model=True, num_rows=99)


def test_a_loader_decides_the_batches() -> None:
    given: dict[str, Any] = {"own_model": True, "num_rows": None}
    assert "batch_size" not in {p.name for p in make_space(BASE, None, None, **given)}
    for space in ("batch_size=16|32", make_space(BASE, "-lr", None, own_model=True, num_rows=99)):
        with pytest.raises(UsageError, match="a loader makes the batches"):
            make_space(BASE, space, None, **given)


def test_optuna_begins_a_study_and_takes_its_trials(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="needs the extra [tune]")
    storage = f"sqlite:///{tmp_path / 'o.db'}"
    given: dict[str, Any] = {"trials": 8, "repeats": 2, "finalists": 1}
    one = tuned(optuna_to=storage, **given)
    two = tuned(optuna_from=storage, optuna_to=f"{storage}#two", **{**given, "trials": 12})
    done = [t.config for t in one.trials if t.state == COMPLETE]
    assert [t.config for t in two.trials[: len(done)]] == done
    assert len(two.trials) == 12
    with pytest.raises(UsageError, match="another study 'two' already"):
        tuned(optuna_to=f"{storage}#two", seed=5, **given)
    with pytest.raises(UsageError, match="there are: trainwell, two"):
        tuned(optuna_from=storage, **given)


def test_a_study_begun_with_optunas_trials_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    optuna = pytest.importorskip("optuna", reason="needs the extra [tune]")
    storage = f"sqlite:///{tmp_path / 'o.db'}"
    given: dict[str, Any] = {"repeats": 2, "finalists": 1, "budget": "10m", "batch": 4}
    tuned(optuna_to=storage, **given, trials=6)
    given |= {"out": tmp_path / "study", "optuna_from": f"{storage}#trainwell", "optuna_to": f"{storage}#two"}
    begun = tuned(**given, trials=9)
    with pytest.raises(
        UsageError, match="another study 'trainwell' already"
    ):  # what it began with stays there
        tuned(**given | {"out": False, "optuna_to": storage}, trials=6)
    longer = tuned(**given, trials=12, resume=True, console=Console.stderr())
    assert "is not read: the study has begun" in capsys.readouterr().err
    assert [(t.config, t.value) for t in longer.trials[:9]] == [(t.config, t.value) for t in begun.trials]
    assert len(longer.trials) == 12
    assert len(optuna.load_study(study_name="two", storage=storage).trials) == 12


def test_a_search_of_recipes_that_all_fail_ends() -> None:
    space = ["lr=[1e30, 1e35] log", "-batch_size"]
    with pytest.raises(tw.TrainingError, match="no trial"):
        tuned(space=space, recipe=BASE.replace(lr=1e30), budget="60s", trials=None)


def test_a_signal_inside_a_lone_training_ends_with_the_confirmed_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, y = digits(200)
    sets = [torch.utils.data.TensorDataset(x[a:b], y[a:b]) for a, b in ((0, 150), (150, 200))]
    loaders = tuple(torch.utils.data.DataLoader(s, batch_size=32) for s in sets)
    tell, told = Search._tell, []

    def press_in_the_fourth(self: Search, result: Any) -> None:
        tell(self, result)
        told.append(result)
        if len(told) == 3:
            raise Interrupted("interrupted by SIGINT after step 9", 2)

    monkeypatch.setattr(Search, "_tell", press_in_the_fourth)
    found = tw.tune(
        loaders, model=perceptron, loss=nn.CrossEntropyLoss(), recipe=BASE.replace(epochs=2), out=False,
        trials=30, budget="20s", finalists=1, repeats=2, searcher="random", space=["-batch_size"],
    )  # fmt: skip
    assert found.interrupted == 2
    assert math.isfinite(found.winner.confirmed)


@pytest.mark.parametrize("loaded", [False, True])
def test_a_paused_trial_goes_on_as_if_it_had_not_been_paused(
    monkeypatch: pytest.MonkeyPatch, loaded: bool
) -> None:
    """What comes of it is what its training in full gives."""
    from trainwell.app.tuning import plan as tuning_plan

    class PauseAll(Halving):
        def goes_on(self, epoch: int, curve: Sequence[float], number: int | None = None) -> bool:
            if epoch == 2:
                gone_on.append(number)
            return epoch != 2

        def promoted(self) -> int | None:
            return (
                gone_on.pop(0) if len(gone_on) > 2 or (len(search.study.trials) == 10 and gone_on) else None
            )

    gone_on = list[Any]()
    x, y = digits(120)
    parts: Any = [(x[:80], y[:80]), (x[80:], y[80:])]
    given: dict[str, Any] = {"space": ["-batch_size", "-schedule"], "searcher": "random", "batch": 5}
    if loaded:
        sets = [torch.utils.data.TensorDataset(*p) for p in parts]
        parts = [torch.utils.data.DataLoader(s, batch_size=40) for s in sets]
        given |= {"loss": nn.CrossEntropyLoss()}
    begin = Search.__init__

    def known(self: Search, *arguments: Any, **options: Any) -> None:
        nonlocal search
        begin(self, *arguments, **options)
        search = self

    search: Any = None
    monkeypatch.setattr(Search, "__init__", known)
    searched = []
    for kind in (PauseAll, Halving):
        monkeypatch.setattr(tuning_plan, "Halving", kind)
        found = tw.tune(
            tuple(parts), model=perceptron, recipe=BASE, trials=10, budget="60s", finalists=1, repeats=2, out=False,
            **given,
        )  # fmt: skip
        searched.append(found.trials)
    for trial, whole in zip(*searched, strict=True):
        assert (trial.config, trial.state, whole.state) == (whole.config, COMPLETE, COMPLETE)
        np.testing.assert_allclose(trial.about["curve"], whole.about["curve"], rtol=1e-3)
