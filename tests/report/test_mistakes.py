"""The figures of the section on errors against closed forms and scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix

from trainwell.app.mistakes import Scored, calibration, confusion, interval, residuals, wilson, worse_slices
from trainwell.values.task import BINARY, MULTICLASS, REGRESSION, Task


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (7, 50), (6411, 7326)])
def test_wilson_equals_scipy(hits: int, n: int) -> None:
    found = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits, n) == pytest.approx((found.low, found.high), abs=1e-6)


def scored(rows: int = 4000, classes: int = 3) -> Scored:
    draws = np.random.default_rng(0)
    outputs = draws.dirichlet(np.full(classes, 0.5), rows)
    truth = np.array([draws.choice(classes, p=p) for p in outputs])
    kind = BINARY if classes == 2 else MULTICLASS
    return Scored(Task(kind, tuple(f"c{i}" for i in range(classes))), truth, outputs)


def test_confusion_equals_scikit_learn() -> None:
    found = scored()
    assert confusion(found)["counts"] == confusion_matrix(found.truth, found.called).tolist()


def test_honest_probabilities_lie_on_the_line() -> None:
    bins = calibration(scored())
    assert sum(b["rows"] for b in bins) == 4000
    assert all(b["low"] - 0.02 <= b["confidence"] <= b["high"] + 0.02 for b in bins)


def test_interval_of_rmse_covers_its_standard_error() -> None:
    rest = np.random.default_rng(1).normal(size=2000)
    found = Scored(Task(REGRESSION, metric="rmse", metric_sign=-1), rest, np.zeros(2000))
    low, high = interval(found)
    # the standard error of a standard deviation is 1 / sqrt(2 n)
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(4000), rel=0.2)
    assert residuals(found)["quantiles"]["median"] == pytest.approx(np.median(rest))


def table(seed: int, rows: int = 3000) -> tuple[pd.DataFrame, np.ndarray]:
    draws = np.random.default_rng(seed)
    kind = pd.Categorical(draws.choice(["x", "y", "z"], rows))
    return pd.DataFrame({"kind": kind, "n": draws.normal(size=rows)}), (draws.random(rows) < 0.8).astype(
        float
    )


def test_slices_find_the_part_that_does_worse() -> None:
    frame, good = table(0)
    good[(frame["kind"] == "y").to_numpy() & (np.random.default_rng(9).random(len(frame)) < 0.3)] = 0.0
    assert [s["slice"] for s in worse_slices(good, frame, "accuracy")] == ["kind = y"]


def test_slices_of_noise_are_told_in_one_of_twenty() -> None:
    alarms = sum(bool(worse_slices(good, frame, "accuracy")) for frame, good in map(table, range(200)))
    assert alarms <= 20  # 10 expected; 20 has a chance of 1 in 1,000
