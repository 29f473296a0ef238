"""Equal rows stay in one part of a random split, unless a table's rows are equal by nature."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwell.data import TableData, prepare_table
from trainwell.data.cells import cells_of
from trainwell.data.equal_rows import by_chance, kept_together
from trainwell.data.splits import quantile_strata, stratified, stratified_together

PARTS = ("train", "val", "test")


def distinct_rows(num: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(num, 4)), columns=list("abcd"))
    return frame.assign(e=rng.choice(["u", "v", "w"], num), y=np.where(frame.a + frame.b > 0.5, "p", "n"))


def copied(frame: pd.DataFrame, num: int, seed: int = 1) -> pd.DataFrame:
    both = pd.concat([frame, frame.sample(num, random_state=seed)])
    return both.sample(frac=1, random_state=seed, ignore_index=True)


def said(data: TableData, *codes: str) -> list[str]:
    return [n.message for n in data.notes if n.code in codes]


def in_two_parts(data: TableData, frame: pd.DataFrame, features: list[str]) -> int:
    part = pd.Series("", frame.index)
    for name, own in data.splits.items():
        part.iloc[own.index] = name
    return int((part.groupby([frame[f] for f in features]).nunique() > 1).sum())


@pytest.mark.parametrize("target", ["y", "a"])
def test_rows_that_all_differ_are_split_as_ever(target: str) -> None:
    frame = distinct_rows(700)
    data = prepare_table(frame, target, split_seed=3)
    classes = (frame.y == "p").to_numpy().astype(int)
    strata = classes if target == "y" else quantile_strata(frame.a.to_numpy())
    rows = stratified(strata, 0.15, 0.15, 3)
    assert all((data.splits[p].index == rows[p]).all() for p in PARTS)
    assert said(data, "duplicates", "equal_rows") == []


@pytest.mark.parametrize("target", ["y", "d"])
def test_copies_are_kept_in_one_part(target: str) -> None:
    frame = copied(distinct_rows(1600), 400)
    data = prepare_table(frame, target)
    assert in_two_parts(data, frame, [c for c in frame.columns if c != target]) == 0
    assert said(data, "duplicates", "equal_rows") == [
        "800 of 2000 rows have the features of another row: the split keeps equal rows in one part"
    ]
    sizes = [len(data.splits[p]) for p in PARTS]
    assert np.abs(np.array(sizes) - [1400, 300, 300]).max() <= 2
    if target == "y":
        shares = [p.y.mean() for p in data.splits.values()]
        assert np.ptp(shares) < 0.01
    again, other = prepare_table(frame, target), prepare_table(frame, target, split_seed=1)
    assert (again.splits["val"].index == data.splits["val"].index).all()
    assert not np.array_equal(other.splits["val"].index, data.splits["val"].index)


def test_columns_that_are_no_features_do_not_part_copies() -> None:
    frame = copied(distinct_rows(300), 100).assign(
        row=np.arange(400), key=lambda f: [f"k{i * 7919 % 997}" for i in f.row], seen=np.random.default_rng(0).random(400)
    )  # fmt: skip
    data = prepare_table(frame, "y", drop="seen")
    assert in_two_parts(data, frame, list("abcde")) == 0
    assert "200 of 400 rows" in said(data, "duplicates")[0]
    declared = prepare_table(frame, "y", drop="seen", numeric="row")
    assert in_two_parts(declared, frame, list("abcde")) > 0


def test_a_table_of_few_values_keeps_equal_rows_together_where_it_can() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.integers(0, [10, 10, 8], (2000, 3)), columns=list("abc"))
    frame = frame.assign(y=rng.integers(0, 2, 2000))
    data = prepare_table(frame, "y")
    assert in_two_parts(data, frame, list("abc")) == 0
    assert [abs(len(data.splits[p]) - 300) <= 4 for p in ("val", "test")] == [True, True]


def test_rows_that_are_equal_by_nature_are_drawn_one_by_one() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"c": rng.integers(0, 3, 900), "s": rng.choice(["m", "f"], 900)})
    classes = rng.integers(0, 2, 900)
    data = prepare_table(frame.assign(y=classes), "y")
    assert said(data, "duplicates", "equal_rows") == [
        "900 of 900 rows have the features of another row, as so few values make likely: the split draws row by "
        "row"
    ]
    rows = stratified(classes, 0.15, 0.15, 0)
    assert all((data.splits[p].index == rows[p]).all() for p in PARTS)


def test_groups_that_fit_no_part_are_drawn_row_by_row() -> None:
    frame = distinct_rows(400)
    frame.loc[:99, list("abcde")] = frame.loc[[0] * 100, list("abcde")].to_numpy()
    frame.loc[100:, "y"] = frame.loc[100:, "y"].sample(frac=1, random_state=0).to_numpy()
    data = prepare_table(frame, "y")
    assert any("100 of them the same, too many for one part" in m for m in said(data, "duplicates"))
    few = pd.concat([distinct_rows(400).query("y == 'n'"), *[distinct_rows(9).assign(y="p").head(5)] * 6])
    data = prepare_table(few.reset_index(drop=True), "y")
    assert any("rows are distinct, too few" in m for m in said(data, "duplicates"))


def test_chance_is_that_of_independent_columns() -> None:
    rng = np.random.default_rng(0)
    coins = {n: cells_of(rng.integers(0, 4, 50_000)) for n in "ab"}
    assert by_chance(coins) == pytest.approx(50_000 / 16, rel=0.05)
    assert by_chance({**coins, "c": cells_of(rng.normal(size=50_000))}) == 0
    assert kept_together(coins, (), np.zeros(50_000), 7500.0)[0] is None


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=30, max_size=200), st.integers(1, 4),
    st.floats(0.1, 0.3), st.floats(0.1, 0.3), st.integers(0, 99),
)  # fmt: skip
def test_whole_groups_give_the_parts_their_rows(
    sizes: list[int], classes: int, val: float, test: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    strata = rng.integers(0, classes, len(sizes))[group]
    rows = stratified_together(strata, group, val, test, seed)
    assert (np.sort(np.concatenate(list(rows.values()))) == np.arange(len(group))).all()
    parts = [set(group[r].tolist()) for r in rows.values()]
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    few = np.bincount(strata[np.unique(group, return_index=True)[1]]).min() < 10
    if not few:
        assert abs(len(rows["val"]) - val * len(group)) <= max(sizes)
        assert abs(len(rows["test"]) - test * len(group)) <= max(sizes)


def test_single_rows_are_drawn_as_by_the_plain_split() -> None:
    strata = np.random.default_rng(0).integers(0, 3, 900)
    plain, whole = stratified(strata, 0.2, 0.1, 5), stratified_together(strata, np.arange(900), 0.2, 0.1, 5)
    assert all((plain[p] == whole[p]).all() for p in PARTS)
    pair = np.arange(900)
    pair[800] = 20
    moved = stratified_together(strata, pair, 0.2, 0.1, 5)
    assert sum(len(np.setdiff1d(plain[p], moved[p])) for p in PARTS) <= 6


def test_repeated_rows_are_no_likelier_to_judge_than_to_train() -> None:
    group = np.concatenate([np.arange(500), np.arange(250)])
    vals = [stratified_together(np.zeros(750), group, 0.2, 0.2, s)["val"] for s in range(60)]
    assert np.mean([(group[v] < 250).mean() for v in vals]) == pytest.approx(2 / 3, abs=0.02)
