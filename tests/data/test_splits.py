"""Splits: disjoint, exhaustive, stratified, and a function of the split seed alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwell.data.splits import by_group, by_time, check_fractions, quantile_strata, stratified
from trainwell.values.errors import DataError, UsageError

fractions = st.floats(0.05, 0.4)


def assert_partition(rows: dict[str, np.ndarray], num: int) -> None:
    together = np.sort(np.concatenate(list(rows.values())))
    assert (together == np.arange(num)).all()
    assert all((np.diff(r) > 0).all() for r in rows.values())


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), fractions, fractions, st.integers(0, 99))
def test_stratified_keeps_shares_within_one_row(
    counts: list[int], val: float, test: float, seed: int
) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    rows = stratified(labels, val, test, seed)
    assert_partition(rows, len(labels))
    for label, count in enumerate(counts):
        has = {name: int((labels[r] == label).sum()) for name, r in rows.items()}
        assert has["train"] >= 1
        if count >= 3:
            assert has["val"] >= 1
            assert has["test"] >= 1
            assert abs(has["val"] - val * count) <= 1
            assert abs(has["test"] - test * count) <= 1
        if count == 1:
            assert has["train"] == 1


def test_stratified_sizes_agree_with_scikit_learn() -> None:
    from sklearn.model_selection import train_test_split

    labels = np.random.default_rng(0).choice(5, 1000, p=[0.5, 0.2, 0.15, 0.1, 0.05])
    rows = stratified(labels, 0.2, 0.0, 0)
    theirs = train_test_split(np.arange(1000), test_size=0.2, stratify=labels, random_state=0)[1]
    assert len(rows["val"]) == len(theirs)
    difference = np.bincount(labels[rows["val"]]) - np.bincount(labels[theirs])
    assert np.abs(difference).max() <= 1


def test_split_depends_on_its_seed_and_on_nothing_else() -> None:
    labels = np.arange(200) % 3
    first, again, other = (stratified(labels, 0.2, 0.2, s) for s in (4, 4, 5))
    assert all((first[n] == again[n]).all() for n in first)
    assert any(len(first[n]) != len(other[n]) or (first[n] != other[n]).any() for n in first)


def test_quantile_strata_split_a_target_evenly() -> None:
    y = np.random.default_rng(0).lognormal(size=2000)
    rows = stratified(quantile_strata(y), 0.15, 0.15, 0)
    for part in ("val", "test"):
        quantiles = np.quantile(y[rows[part]], [0.1, 0.5, 0.9])
        assert np.allclose(quantiles, np.quantile(y, [0.1, 0.5, 0.9]), rtol=0.1)


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 40), st.integers(1, 20), st.integers(0, 99))
def test_groups_stand_in_one_part_only(num_groups: int, most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(num_groups), rng.integers(1, most + 1, num_groups))
    rows = by_group(groups, rng.integers(0, 2, len(groups)), 0.15, 0.15, seed)
    assert_partition(rows, len(groups))
    owners = [set(groups[r].tolist()) for r in rows.values()]
    assert all(len(o) >= 1 for o in owners)
    assert sum(len(o) for o in owners) == num_groups


def test_groups_keep_the_fractions_and_the_classes() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 200, 5000)
    labels = (rng.random(5000) < np.where(groups < 100, 0.2, 0.6)).astype(int)
    rows = by_group(groups, labels, 0.15, 0.15, 0)
    for part in ("val", "test"):
        assert abs(len(rows[part]) / 5000 - 0.15) < 0.02
        assert abs(labels[rows[part]].mean() - labels.mean()) < 0.03


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(DataError, match="2 distinct values"):
        by_group(np.array([0, 0, 1, 1]), np.zeros(4), 0.2, 0.2, 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=40, max_size=120), st.integers(0, 9))
def test_time_never_goes_back(times: list[int], seed: int) -> None:
    moments = np.array(times)
    if len(np.unique(moments)) < 20:
        return
    rows = by_time(moments, 0.2, 0.2)
    assert_partition(rows, len(moments))
    assert moments[rows["train"]].max() < moments[rows["val"]].min()
    assert moments[rows["val"]].max() < moments[rows["test"]].min()


def test_time_cuts_at_the_fractions() -> None:
    moments = np.random.default_rng(0).permutation(1000)
    rows = by_time(moments, 0.1, 0.2)
    assert (len(rows["train"]), len(rows["val"]), len(rows["test"])) == (700, 100, 200)
    without = by_time(moments, 0.1, 0.0)
    assert (len(without["val"]), len(without["test"])) == (100, 0)


@pytest.mark.parametrize("times", [np.zeros(10), np.array([0] * 9 + [1])])
def test_time_without_enough_moments_is_refused(times: np.ndarray) -> None:
    with pytest.raises(DataError, match="too few or too uneven"):
        by_time(times, 0.2, 0.2)


@pytest.mark.parametrize(("val", "test"), [(1.0, 0.0), (-0.1, 0.1), (0.5, 0.5), (0.1, float("nan"))])
def test_fractions_that_leave_nothing_are_refused(val: float, test: float) -> None:
    with pytest.raises(UsageError):
        check_fractions(val, test)
