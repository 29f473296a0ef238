"""Laws that every searcher keeps."""

from __future__ import annotations

import importlib.util
import json
import math
from typing import Any

import pytest

from tests.search.spaces import MIXED, SMALL, loss, searched
from trainwell.search.searcher import SEARCHERS, Told, make_searcher
from trainwell.search.space import Config, same

SEARCHED = ["random", "sobol", "grid", "gp"]
if importlib.util.find_spec("optuna"):
    SEARCHED += ["optuna:tpe", "optuna:qmc"]
if importlib.util.find_spec("cmaes"):
    SEARCHED.append("optuna:cmaes")
every = pytest.mark.parametrize("name", SEARCHED)


def configs(told: list[Told]) -> list[Config]:
    return [t.config for t in told]


def test_every_searcher_is_under_the_laws() -> None:
    import trainwell.search.searchers  # noqa: F401

    assert set(SEARCHERS) == {"random", "sobol", "grid", "gp", "optuna"}


@every
def test_proposals_lie_in_the_space_and_none_comes_twice(name: str) -> None:
    _, told = searched(name, 40)
    for config in configs(told):
        assert MIXED.check(config) == config
        assert list(config) == [p.name for p in MIXED if p.name in config]
    assert len({same(c) for c in configs(told)}) == 40


@every
def test_the_seed_decides(name: str) -> None:
    first, again, other = (configs(searched(name, 24, seed=s)[1]) for s in (1, 1, 2))
    assert first == again
    assert first != other


@every
def test_trials_in_two_goes_equal_those_in_one(name: str) -> None:
    """The first proposals of a generation do not depend on how many are asked for."""
    searcher, told = searched(name, 16)
    whole = searcher.propose(told, 16, 8)
    fresh = make_searcher(name, MIXED, 0, 8)
    fresh.restore(json.loads(json.dumps(searcher.state)))
    assert fresh.propose(told, 16, 3) == whole[:3]
    assert fresh.propose(told, 16, 8) == whole


@every
def test_a_study_that_is_resumed_from_plain_data_proposes_the_same(name: str) -> None:
    _, undisturbed = searched(name, 40)
    searcher, told = searched(name, 16)
    state = json.loads(json.dumps(searcher.state))
    resumed = make_searcher(name, MIXED, 0, 8)
    resumed.restore(state)
    while len(told) < 40:
        found = resumed.propose(told, len(told), 8)
        told += [Told(len(told) + i, c, loss(c)) for i, c in enumerate(found)]
    assert configs(told) == configs(undisturbed)


@every
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_failed_trials_are_survived(name: str, bad: float) -> None:
    def objective(config: Config) -> float:
        return bad if config["optimizer"] == "adam" else loss(config)

    _, told = searched(name, 40, objective=objective)
    assert len(told) == 40


@every
def test_nothing_but_failures_is_survived(name: str) -> None:
    assert len(searched(name, 24, objective=lambda c: math.nan)[1]) == 24


@every
def test_running_trials_are_not_proposed_again_and_late_answers_are_taken(name: str) -> None:
    searcher, told = searched(name, 16)
    late = [Told(t.number, t.config, None if t.number in (3, 9, 14) else t.value) for t in told]
    found = searcher.propose(late, 16, 8)
    assert not {same(c) for c in found} & {same(t.config) for t in told}
    more = [Told(16 + i, c, loss(c)) for i, c in enumerate(found)]
    assert len(searcher.propose([*told, *more], 24, 8)) == 8


@every
def test_a_small_space_is_exhausted_and_no_more_is_proposed(name: str) -> None:
    def objective(config: Config) -> float:
        return float(config["a"])

    _, told = searched(name, 20, space=SMALL, objective=objective, batch=4)
    assert len({same(c) for c in configs(told)}) == len(told)
    assert len(told) >= 6  # a sampler of Optuna may miss one
    assert len(told) == 8 or name.startswith("optuna")


@every
def test_equal_losses_are_survived(name: str) -> None:
    assert len(searched(name, 24, objective=lambda c: 1.0)[1]) == 24


@pytest.mark.parametrize("name", ["gp"])
def test_what_learns_beats_what_does_not(name: str) -> None:
    def best(which: str, seed: int) -> float:
        return min(t.value or 0.0 for t in searched(which, 40, seed=seed)[1])

    mine = sorted(best(name, s) for s in range(5))
    theirs = sorted(best("random", s) for s in range(5))
    assert mine[2] < 0.5 * theirs[2]


def test_mistyped_searchers_get_the_nearest() -> None:
    from trainwell.values.errors import UsageError

    with pytest.raises(UsageError, match="Did you mean 'sobol'"):
        make_searcher("sobal", MIXED)


def test_states_are_plain_data() -> None:
    searcher: Any = searched("gp", 24)[0]
    assert json.loads(json.dumps(searcher.state)) == searcher.state
