"""Seeds, pickles, pipelines, searches, and the user's own module."""

from __future__ import annotations

import copy
import os
import pickle
import signal
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from tests.sklearn.common import Net, blobs, classifier, regressor
from tests.sklearn.test_inputs import frame
from trainwell.app.estimators import Classifier, Regressor
from trainwell.values.recipe import Recipe


class Conv(nn.Module):
    """A module with dropout, normalization and a shared weight, over inputs of three axes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv1d(2, 4, 2), nn.BatchNorm1d(4), nn.Dropout(0.1)
        self.head = nn.Linear(4, 2)
        self.again = self.head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.norm(self.conv(x).relu())).mean(-1))


def images(rows: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    y = np.arange(rows) % 2
    X = rng.normal(size=(rows, 2, 5))
    X[:, 0] += 2 * y[:, None]
    return X, y


def through_file(estimator: Any, folder: Path) -> Any:
    joblib.dump(estimator, folder / "estimator.joblib")
    return joblib.load(folder / "estimator.joblib")


@pytest.mark.parametrize("way", ["pickle", "joblib", "deepcopy", "twice"])
@pytest.mark.parametrize("case", ["frame", "array", "module", "factory", "techniques"])
def test_fitted_estimator_survives(way: str, case: str, tmp_path: Path) -> None:
    X, y = frame() if case == "frame" else images() if case == "module" else blobs()
    params: dict[str, Any] = {"module": {"model": Conv()}, "factory": {"model": Net}}.get(case, {})
    if case == "techniques":
        params = {"with_": ("dropout:rate=0.2", "layer_norm", "he", "ema")}
    before = classifier(**params).fit(X, y)
    after = {
        "pickle": lambda e: pickle.loads(pickle.dumps(e)),  # noqa: S301
        "joblib": lambda e: through_file(e, tmp_path),
        "deepcopy": copy.deepcopy,
        "twice": lambda e: pickle.loads(pickle.dumps(copy.deepcopy(e))),  # noqa: S301
    }[way](before)
    np.testing.assert_array_equal(before.predict_proba(X), after.predict_proba(X))
    np.testing.assert_array_equal(before.run_.predictor.outputs(_inputs(before, X)), _outputs(after, X))
    assert after.history_ == before.history_
    assert after.run_.recipe == before.run_.recipe
    assert after.run_.task == before.run_.task
    assert after.run_.scores == before.run_.scores
    assert after.fit(X, y).score(X, y) > 0.8  # it can be fitted again


def _inputs(estimator: Any, X: Any) -> Any:
    return X if estimator.run_.predictor.transform is not None else X.astype(np.float32)


def _outputs(estimator: Any, X: Any) -> Any:
    return estimator.run_.predictor.outputs(_inputs(estimator, X))


def test_state_holds_plain_data_only() -> None:
    X, y = frame()
    state = classifier().fit(X, y).__getstate__()["run_"]

    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(isinstance(k, str) and plain(v) for k, v in value.items())
        if isinstance(value, list | tuple):
            return all(map(plain, value))
        return type(value) in (str, int, float, bool, bytes, type(None))

    assert plain(state)


def test_pickle_keeps_the_module_that_was_trained() -> None:
    X, y = blobs()
    fitted = classifier(model=Net).fit(X, y)
    expected = fitted.predict_proba(X)
    fitted.set_params(model=None)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(X), expected)  # noqa: S301


@pytest.mark.parametrize("model", [None, Net, "module"])
def test_seed_decides_everything(model: Any) -> None:
    X, y = blobs(seed=3)
    model = Net(4, 3) if model == "module" else model
    torch.manual_seed(1)
    np.random.seed(1)
    one = classifier(model=model, random_state=5).fit(X, y).predict_proba(X)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    estimator = classifier(model=model, random_state=5)
    np.testing.assert_array_equal(estimator.fit(X, y).predict_proba(X), one)
    np.testing.assert_array_equal(estimator.fit(X, y).predict_proba(X), one)  # fitted again
    assert torch.equal(torch.get_rng_state(), state)
    assert not np.array_equal(classifier(model=model, random_state=6).fit(X, y).predict_proba(X), one)


def test_random_state_draws_seeds_as_scikit_learn_does() -> None:
    X, y = blobs()
    runs = [classifier(random_state=np.random.RandomState(4)).fit(X, y).run_.seed for _ in range(2)]
    assert runs[0] == runs[1]
    assert classifier(random_state=7).fit(X, y).run_.seed == 7
    np.random.seed(0)
    free = classifier(random_state=None)
    assert free.fit(X, y).run_.seed != free.fit(X, y).run_.seed


def test_clone_is_unfitted_and_equal() -> None:
    X, y = blobs()
    fitted = classifier(with_=("ema",), settings={"lr": 0.01}, model=None).fit(X, y)
    twin = clone(fitted)
    assert not hasattr(twin, "run_")
    assert twin.get_params() == fitted.get_params()
    np.testing.assert_array_equal(twin.fit(X, y).predict_proba(X), fitted.predict_proba(X))


def test_pipeline_search_and_cross_validation() -> None:
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), classifier(budget="30ep"))
    assert cross_val_score(pipeline, X, y, cv=3).mean() > 0.9
    grid = {
        "classifier__settings": [{"lr": 1e-6}, {"lr": 1e-2}],
        "classifier__with_": [(), ("dropout:rate=0.1",)],
    }
    search = GridSearchCV(pipeline, grid, cv=3, scoring="neg_log_loss").fit(X, y)
    assert search.best_params_["classifier__settings"] == {"lr": 1e-2}
    assert search.best_estimator_.score(X, y) > 0.9


def test_threads_of_a_search_do_not_meet() -> None:
    X, y = blobs()
    with joblib.parallel_backend("threading", n_jobs=2):
        side_by_side = cross_val_score(classifier(), X, y, cv=4, scoring="neg_log_loss")
    np.testing.assert_allclose(
        side_by_side, cross_val_score(classifier(), X, y, cv=4, scoring="neg_log_loss")
    )


def test_column_transformer_hands_frames_on() -> None:
    X, y = frame()
    columns = make_column_transformer((StandardScaler(), ["number"]), remainder="passthrough")
    columns.set_output(transform="pandas")
    assert make_pipeline(columns, classifier()).fit(X, y).score(X, y) > 0.95


def test_regressor_learns_in_the_unit_of_the_target() -> None:
    X, y = load_diabetes(return_X_y=True)
    fitted = regressor(budget="40ep").fit(X, 1e6 + 1e3 * y)
    assert fitted.score(X, 1e6 + 1e3 * y) > 0.4
    assert fitted.run_.scores["val"]["r2"] > 0.2
    assert not hasattr(fitted, "classes_")


def test_decision_function_is_the_log_odds() -> None:
    X, y = blobs(classes=2)
    fitted = classifier().fit(X, y)
    p = fitted.predict_proba(X)
    np.testing.assert_allclose(fitted.decision_function(X), np.log(p[:, 1] / p[:, 0]), rtol=1e-5, atol=1e-6)


def test_prediction_of_a_row_does_not_depend_on_its_company() -> None:
    X, y = blobs(rows=300)
    fitted = classifier().fit(X, y)
    alone = np.concatenate([fitted.predict_proba(X[i : i + 1]) for i in range(0, 300, 7)])
    np.testing.assert_allclose(alone, fitted.predict_proba(X)[::7], rtol=1e-7, atol=1e-9)


def test_attributes_tell_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = blobs(rows=240)
    fitted = classifier(verbose=1, budget="3ep").fit(X, y)
    assert fitted.n_iter_ == len(fitted.history_) == 3
    assert fitted.run_.path is None
    assert fitted.run_.score == fitted.run_.scores["val"]["accuracy"]
    told = capsys.readouterr()
    assert "epoch    3" in told.err
    assert not told.out


def test_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    X, y = blobs()
    classifier().fit(X, y).predict(X)
    assert not list(tmp_path.iterdir())


def test_module_of_the_user_stays_as_it_was() -> None:
    X, y = images()
    net = Conv()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    fitted = classifier(model=net, recipe=Recipe(lr=0.01, epochs=20, batch_size=16)).fit(X, y)
    assert fitted.score(X, y) > 0.9
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not torch.equal(fitted.run_.model.conv.weight, net.conv.weight)


def test_loss_of_the_user_is_trained_on() -> None:
    X = np.zeros((100, 1))
    y = np.repeat([0.0, 100.0], [80, 20])  # the median is 0, the mean 20
    net = Recipe(lr=0.02, epochs=60, batch_size=20)
    fitted = regressor(model=Net, loss=nn.L1Loss(), recipe=net, validation_fraction=0).fit(X, y)
    assert abs(fitted.predict(X)[0]) < 5


class InterruptedLoss:
    """A loss that is interrupted at its fifth call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return nn.functional.cross_entropy(outputs, target)


def test_interrupt_ends_a_search() -> None:
    X, y = blobs()
    with pytest.raises(KeyboardInterrupt):
        cross_val_score(classifier(loss=InterruptedLoss()), X, y, cv=3)


@pytest.mark.parametrize("kind", [Classifier, Regressor])
def test_presets_train(kind: type) -> None:
    X, y = blobs()
    assert kind("quick", device="cpu", budget="3ep", random_state=0).fit(X, y).score(X, y) > 0.3
