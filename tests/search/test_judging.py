"""Rungs, the winner and importance on made data with known answers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.search.spaces import MIXED, loss, searched
from trainwell.search.belief import expected, promising
from trainwell.search.halving import PILOTS, Halving, first_rung
from trainwell.search.importance import importances
from trainwell.search.parameter import Parameter
from trainwell.search.policy import choose_searcher
from trainwell.search.searcher import Told
from trainwell.search.space import Space
from trainwell.search.winner import choose_winner


def curves(count: int, epochs: int, *, predicting: bool, seed: int = 0) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    ends = rng.random(count)
    fall = 2.0 ** -np.arange(1, epochs + 1)
    starts = ends if predicting else rng.random(count)
    return [list(e * (1 - fall) + (1 + s) * fall) for e, s in zip(ends, starts, strict=True)]


def test_rungs_are_laid_where_early_results_predict() -> None:
    epoch, why = first_rung(curves(20, 27, predicting=True))
    assert epoch == 1
    assert "rank correlation 1.00" in why
    noisy = [list(np.random.default_rng(s).random(27) * 0.01 + (27 - np.arange(27)) + s % 7 * (np.arange(27) == 26))
             for s in range(20)]  # fmt: skip
    assert first_rung(noisy)[0] == 0


def test_a_third_goes_on_at_a_rung() -> None:
    halving = Halving(27)
    for curve in curves(PILOTS, 27, predicting=True):
        halving.end(curve)
    assert halving.rungs == [1, 3, 9]
    went_on = [halving.goes_on(1, c) for c in curves(300, 27, predicting=True, seed=1)]
    assert 0.25 < np.mean(went_on) < 0.42
    assert halving.goes_on(2, [9.0, 9.0])


def test_a_diverged_training_does_not_go_on() -> None:
    halving = Halving(9)
    for curve in curves(PILOTS, 9, predicting=True):
        halving.end(curve)
    assert not halving.goes_on(1, [float("nan")])


def test_the_default_wins_a_tie() -> None:
    row = np.array([0.1, 0.7, 0.2, 0.4])
    assert choose_winner(np.stack([row, row[::-1], row[[2, 0, 3, 1]]])).index == 0
    assert choose_winner(np.stack([row, np.nextafter(row, 0)])).index == 0


def test_equal_arms_are_seldom_called_better() -> None:
    rng, claims = np.random.default_rng(0), 0
    for _ in range(400):
        claims += choose_winner(rng.standard_normal((5, 8)) + rng.standard_normal(8)).beats_default
    assert claims / 400 <= 0.05


def test_two_repeats_claim_nothing_however_great_the_gain() -> None:
    y = np.array([[1.0, 1.01], [0.1, 0.11], [0.5, 0.52]])
    few = choose_winner(y)
    assert (few.index, few.beats_default, few.decided) == (1, False, False)
    enough = choose_winner(np.concatenate([y] * 4, 1)[:, : few.needed])
    assert (enough.beats_default, enough.decided, few.needed) == (True, True, 7)


def test_the_luckiest_of_equal_trials_is_not_expected_to_be_as_good_again() -> None:
    rng, space = np.random.default_rng(0), Space((Parameter("a", 0.0, 1.0), Parameter("b", 0.0, 1.0)))
    at = rng.random((60, 2))
    true = (at[:, 0] - 0.3) ** 2
    seen = true + 0.2 * rng.standard_normal(60)
    told = [
        Told(i, {"a": float(a), "b": float(b)}, float(v))
        for i, ((a, b), v) in enumerate(zip(at, seen, strict=True))
    ]
    found = expected(space, told)
    assert np.square(found - true).mean() < 0.4 * np.square(seen - true).mean()
    exact = [dataclasses.replace(t, value=float(v)) for t, v in zip(told, true, strict=True)]
    assert np.abs(expected(space, exact) - true).max() < 0.02


def test_a_better_arm_is_found_and_its_gain_lies_in_the_interval() -> None:
    rng, inside = np.random.default_rng(1), 0
    for _ in range(200):
        y = 0.1 * rng.standard_normal((4, 8)) + rng.standard_normal(8)
        y[2] -= 1.0
        found = choose_winner(y)
        assert found.index == 2
        assert found.beats_default
        inside += found.gain_interval[0] <= 1.0 <= found.gain_interval[1]
    assert inside / 200 == pytest.approx(0.95, abs=0.04)


def test_failed_repeats_never_win() -> None:
    y = np.ones((3, 4))
    y[1, 2] = np.nan
    y[2] = 0.9
    assert choose_winner(y).index == 2


def test_importance_names_what_matters() -> None:
    _, told = searched("random", 120)
    found = importances(MIXED, told)
    assert found[0].name == "lr"
    assert all(i.low <= i.share <= i.high for i in found)
    shares = {i.name: i.share for i in found}
    assert shares["width"] < 0.1 < shares["lr"]
    assert importances(MIXED, told[:5]) == []
    assert loss(MIXED.default()) > 0


def test_policy_says_why() -> None:
    small = Space((MIXED["depth"], MIXED["optimizer"]))
    assert choose_searcher(small, 20)[0] == "grid"
    assert choose_searcher(MIXED, 4)[0] == "sobol"
    name, why = choose_searcher(MIXED, None)
    assert name == "gp"
    assert why


def test_those_that_are_alike_are_judged_once() -> None:
    space = Space((Parameter("lr", 1e-4, 1.0, log=True), Parameter("unused", 0.0, 1.0)))
    rng = np.random.default_rng(0)
    places = [*np.linspace(0, 1, 20), *(0.5 + 1e-3 * rng.random(12))]
    told = [
        Told(i, {"lr": 10 ** (4 * x - 4), "unused": float(rng.random())}, float((x - 0.5) ** 2))
        for i, x in enumerate(places)
    ]
    chosen = promising(space, told, 4)
    assert len(set(chosen)) == 4
    assert chosen[0] == int(np.argmin([t.value for t in told]))
    assert sum(0.49 < places[i] < 0.51 for i in chosen) == 1
    assert sorted(promising(space, told[:3], 4)) == [0, 1, 2]
    assert promising(space, [], 4) == []


def test_trials_of_other_processes_count_at_the_rungs_once_the_pilots_have_ended() -> None:
    halving = Halving(27)
    for curve in curves(PILOTS, 27, predicting=True):
        halving.learn(curve, in_full=True)
    better = [[v - 10 for v in c] for c in curves(60, 27, predicting=True, seed=2)]
    middle = curves(1, 27, predicting=True, seed=4)[0]
    assert halving.goes_on(3, [v - 1 for v in middle])
    for curve in better:
        halving.learn(curve, in_full=True)
    assert not halving.goes_on(3, [v - 1 for v in middle])


def test_many_that_are_as_good_as_the_best_are_judged_all_the_same() -> None:
    space = Space((Parameter("lr", 1e-4, 1.0, log=True),))
    told = [Told(i, {"lr": 10 ** (i / 10 - 4)}, 0.0 if i > 8 else 1.0 - i / 10) for i in range(40)]
    assert np.isfinite(expected(space, told)).all()
    assert len(promising(space, told, 4)) == 4
    far = [*told, *(Told(40 + i, {"lr": 1e-3 * (i + 2)}, 0.0) for i in range(400))]
    assert np.isfinite(expected(space, far)).all()
