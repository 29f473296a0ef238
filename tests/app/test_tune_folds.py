"""Trials that are the mean over folds, trained side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import trainwell as tw
from tests.app.test_tune import BASE, digits, perceptron
from trainwell.app.tuning import plan as tuning_plan
from trainwell.app.tuning import tune as tuning
from trainwell.app.tuning.space import recipe_of
from trainwell.app.tuning.work import Work, pool
from trainwell.engine.lanes import LaneSpec, train_lanes
from trainwell.search.halving import Halving
from trainwell.search.study import COMPLETE, STOPPED
from trainwell.values.errors import UsageError


def tuned(**options: Any) -> tw.Tuning:
    given = {"model": perceptron, "recipe": BASE, "out": False, "trials": 5, "budget": "20s", "finalists": 1,
             "repeats": 2, "searcher": "random", "space": ["-batch_size"], "folds": 3, **options}  # fmt: skip
    return tw.tune(digits(150), **given)


def test_a_trial_is_the_mean_of_its_folds_trained_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    works: list[Any] = []
    fitted = tuning.fitted

    def kept(*arguments: Any, **options: Any) -> Any:
        works.append(fitted(*arguments, **options))
        return works[-1]

    monkeypatch.setattr(tuning, "fitted", kept)
    found = tuned()
    work: Work = works[0].work
    folds = works[0].folds
    rows = torch.cat([f.judges for f in folds])
    assert sorted(rows.tolist()) == list(range(len(rows)))
    classes = pool(work).train[1]
    counts = np.array([[int((classes[f.judges] == c).sum()) for c in range(10)] for f in folds])
    assert np.ptp(counts, axis=0).max() <= 1
    trial = found.trials[3]
    recipe = recipe_of(work.base, trial.config)
    values = []
    for fold in folds:
        spec = LaneSpec(recipe, fold.seed_of(3), fold.learns, fold.judges)
        (result,) = train_lanes([spec], pool(work), work.prepared.task, model=work.build)
        values.append(work.value(result.history[result.best_epoch - 1]))
    assert trial.about["folds"] == pytest.approx(values, abs=1e-5)
    assert trial.value == pytest.approx(np.mean(values), abs=1e-5)
    assert len(trial.about["curve"]) == BASE.epochs


def test_a_trial_behind_ends_in_all_folds_and_resumes_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class EndOdd(Halving):
        def goes_on(self, epoch: int, curve: Any, number: int | None = None) -> bool:
            seen.append(epoch)
            return epoch != 2 or len(seen) % 2 == 0

    seen: list[int] = []
    monkeypatch.setattr(tuning_plan, "Halving", EndOdd)
    out = tmp_path / "study"
    found = tuned(out=out, trials=8, folds="2x2")
    stopped = [t for t in found.trials if t.state == STOPPED]
    assert stopped
    assert all(2 <= len(t.about["curve"]) <= 3 for t in stopped)
    assert all(len(t.about["folds"]) == 4 for t in found.trials if t.state == COMPLETE)
    again = tuned(out=out, trials=9, folds="auto", resume=True)
    assert len(again.trials) == 9


def test_folds_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="5x2"):
        tuned(folds="five")
    with pytest.raises(UsageError, match="at most"):
        tuned(folds=100)
    x, y = digits(60)
    loaders = tuple(
        torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x[a:b], y[a:b]))
        for a, b in ((0, 40), (40, 60))
    )
    with pytest.raises(UsageError, match="leave folds= away"):
        tw.tune(
            loaders, model=perceptron, loss=nn.CrossEntropyLoss(), recipe=BASE, folds=3, out=False, budget=5.0
        )
