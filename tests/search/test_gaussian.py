"""The Gaussian process against closed forms and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.stats import norm

from trainwell.search.gaussian import (
    Hypers,
    Objective,
    Process,
    log_expected_improvement,
    matern,
    standardised,
)

RNG = np.random.default_rng(0)
X = RNG.random((30, 4))
Y = np.sin(5 * X[:, 0]) + X[:, 1] ** 2 + 0.05 * RNG.standard_normal(30)
OWNERS = np.array([0, 1, 2, 2])


def test_gradient_equals_finite_differences() -> None:
    objective = Objective(X, Y, OWNERS, 3)
    for seed in range(4):
        at = np.random.default_rng(seed).normal([0, 0, 0, 0, -3], 0.5)
        assert check_grad(lambda v: objective(v)[0], lambda v: objective(v)[1], at) < 1e-3


def test_posterior_equals_the_formula_and_belief_equals_a_new_observation() -> None:
    hypers = Hypers(np.array([-0.5, 0.0, 0.3]), 0.2, -4.0)
    process, new = Process(X, Y, OWNERS, hypers), RNG.random((12, 4))
    points = process.at(new)
    scale = np.exp(hypers.lengths)[OWNERS]
    signal, noise = np.exp(0.2), np.exp(-4.0) + 1e-8
    gram = signal * matern(X / scale, X / scale)[0] + noise * np.eye(30)
    cross = signal * matern(X / scale, new / scale)[0]
    np.testing.assert_allclose(points.mean, cross.T @ np.linalg.solve(gram, Y), rtol=1e-6)
    np.testing.assert_allclose(
        points.variance, signal - np.diag(cross.T @ np.linalg.solve(gram, cross)), rtol=1e-4
    )
    np.testing.assert_allclose(process.mean_at(new), points.mean, rtol=1e-9)
    np.testing.assert_allclose(process.seen_mean, process.at(X).mean, atol=1e-9)
    for index in (3, 7):
        points.believe(index)
    believed = np.concatenate([X, new[[3, 7]]])
    again = Process(believed, np.concatenate([Y, points.mean[[3, 7]]]), OWNERS, hypers).at(new)
    np.testing.assert_allclose(points.mean, again.mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(points.variance, again.variance, rtol=1e-3, atol=1e-6)


def test_expected_improvement_equals_its_integral_and_stays_finite() -> None:
    mean, variance, best = np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.04, 0.25]), 0.2
    grid = np.linspace(-12, 12, 400_001)
    for m, v, found in zip(mean, variance, log_expected_improvement(mean, variance, best), strict=True):
        integral = np.trapezoid(np.maximum(best - grid, 0) * norm.pdf(grid, m, np.sqrt(v)), grid)
        assert np.exp(found) == pytest.approx(integral, rel=1e-4)
    far = log_expected_improvement(np.array([50.0, 100.0]), np.ones(2), 0.0)
    assert np.isfinite(far).all()
    assert far[0] > far[1]


def test_bad_losses_are_drawn_in() -> None:
    y, _, _ = standardised([1.0, 2.0, 3.0, 1e9, float("nan")])
    assert y[3] == y[4] == y.max()
    assert y[1] - y[0] > 0.2
