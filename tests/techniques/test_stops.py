"""Stopping criteria on curves worked out by hand from Prechelt 1998."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwell.techniques._prechelt import generalization_loss, training_progress
from trainwell.techniques.early_stopping import EarlyStopping
from trainwell.techniques.generalization_loss import GeneralizationLoss
from trainwell.techniques.progress_quotient import ProgressQuotient
from trainwell.techniques.successive_increases import SuccessiveIncreases

FLAT = [1.0] * 40


def test_early_stopping_counts_epochs_since_the_best() -> None:
    stop = EarlyStopping(patience=3)
    assert stop.stop([3, 2, 1, 1.5, 1.2], FLAT) is None
    assert stop.stop([3, 2, 1, 1.5, 1.2, 1.0], FLAT) == "no better than epoch 3 for 3 epochs"


def test_early_stopping_asks_for_more_than_min_delta() -> None:
    curve = [1.0, 0.95, 0.9, 0.85]
    assert (
        EarlyStopping(patience=2, min_delta=0.1).stop(curve[:3], FLAT)
        == "no better than epoch 1 for 2 epochs"
    )
    assert EarlyStopping(patience=2, min_delta=0.1).stop([*curve[:2], 0.85], FLAT) is None
    assert EarlyStopping(patience=2).stop(curve, FLAT) is None


def test_early_stopping_takes_nan_as_no_improvement() -> None:
    assert EarlyStopping(patience=2).stop([1.0, math.nan, math.nan], FLAT)
    assert EarlyStopping(patience=2).stop([math.nan, math.nan, 1.0], FLAT) is None


def test_generalization_loss_of_prechelt() -> None:
    # E_opt = 0.20, E_va = 0.21: GL = 100 (0.21 / 0.20 - 1) = 5
    assert generalization_loss([0.5, 0.2, 0.21]) == pytest.approx(5)
    assert generalization_loss([0.5, 0.2, 0.19]) == 0
    assert GeneralizationLoss(alpha=4.9).stop([0.5, 0.2, 0.21], FLAT)
    assert GeneralizationLoss(alpha=5.1).stop([0.5, 0.2, 0.21], FLAT) is None


def test_generalization_loss_of_scores_and_of_zero() -> None:
    assert generalization_loss([-0.8, -0.9, -0.81]) == pytest.approx(10)
    assert generalization_loss([0.0, 0.1]) == math.inf
    assert generalization_loss([0.0, 0.0]) == 0
    assert generalization_loss([math.nan]) == 0
    assert generalization_loss([0.5, math.inf]) == 0


def test_training_progress_of_prechelt() -> None:
    # P_5 = 1000 (mean / min - 1) = 1000 (3 / 1 - 1)
    assert training_progress([5, 4, 3, 2, 1]) == pytest.approx(2000)
    assert training_progress([1.0] * 5) == 0


def test_progress_quotient_stops_at_the_end_of_a_strip() -> None:
    train = [1.02, 1.01, 1.0, 1.0, 1.0]  # mean 1.006: P_5 = 6 per mille
    monitor = [0.6, 0.5, 0.51, 0.51, 0.53]  # GL = 6 %: PQ = 1
    assert ProgressQuotient(alpha=0.99).stop(monitor, train)
    assert ProgressQuotient(alpha=1.01).stop(monitor, train) is None
    assert ProgressQuotient(alpha=0.5).stop(monitor[:4], train[:4]) is None
    assert ProgressQuotient(alpha=0.5).stop([0.6, 0.5, 0.51, 0.51, 0.5], train) is None


def test_progress_quotient_bears_a_rise_while_training_moves_fast() -> None:
    monitor = [0.6, 0.5, 0.51, 0.51, 0.53]
    assert ProgressQuotient().stop(monitor, [5, 4, 3, 2, 1]) is None


def test_successive_increases_of_prechelt() -> None:
    stop = SuccessiveIncreases(count=2, strip=3)
    #        ends of strips: 0.5, 0.6, 0.7
    curve = [0.9, 0.7, 0.5, 0.1, 0.2, 0.6, 0.3, 0.3, 0.7]
    assert stop.stop(curve, FLAT) == "risen in 2 successive strips of 3 epochs"
    assert stop.stop(curve[:6], FLAT) is None
    assert stop.stop([*curve, 0.8], FLAT) is None
    assert stop.stop([*curve[:8], 0.55], FLAT) is None


def test_stops_that_are_off_never_stop() -> None:
    rising = [float(i) for i in range(1, 41)]
    assert GeneralizationLoss(alpha=math.inf).stop(rising, FLAT) is None
    assert ProgressQuotient(alpha=math.inf).stop(rising, FLAT) is None
    assert SuccessiveIncreases(count=0).stop(rising, FLAT) is None
    assert EarlyStopping(patience=0).is_off


numbers = st.floats(allow_nan=True, allow_infinity=True, width=32)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30))
def test_stops_never_raise(pairs: list[tuple[float, float]]) -> None:
    monitor, train = [m for m, _ in pairs], [t for _, t in pairs]
    for stop in (EarlyStopping(), GeneralizationLoss(), ProgressQuotient(), SuccessiveIncreases()):
        assert stop.stop(monitor, train) is None or stop.stop(monitor, train)


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=30), st.floats(0.01, 100))
def test_relative_criteria_do_not_see_the_scale_of_the_loss(curve: list[float], factor: float) -> None:
    assert generalization_loss([v * factor for v in curve]) == pytest.approx(
        generalization_loss(curve), abs=1e-6
    )
