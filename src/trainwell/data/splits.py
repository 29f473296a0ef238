"""Which rows train, choose and test: stratified, by group or by time; a pure function of the split seed."""

from __future__ import annotations

import zlib

import numpy as np

from trainwell.values.errors import DataError, UsageError

Rows = dict[str, np.ndarray]
QUANTILES = 20
"""Strata of a regression target."""
GROUP_DRAWS = 32
"""Random assignments of groups, of which the one nearest to the fractions and class shares is kept."""


def check_fractions(val_fraction: float, test_fraction: float) -> None:
    """Refuse fractions that leave a part empty.

    Raises:
        UsageError: outside [0, 1), or together 1 or more.
    """
    for name, value in (("--val-fraction", val_fraction), ("--test-fraction", test_fraction)):
        if not 0 <= value < 1:
            raise UsageError(f"{name} must lie in [0, 1), got {value!r}.")
    if val_fraction + test_fraction >= 1:
        both = val_fraction + test_fraction
        raise UsageError(
            f"--val-fraction and --test-fraction must stay below 1 together, got {both:g}: no row would train."
        )


def random_of(split_seed: int, name: str) -> np.random.Generator:
    """Return the named stream of random numbers of a split."""
    return np.random.default_rng([split_seed, zlib.crc32(name.encode())])


def quantile_strata(values: np.ndarray) -> np.ndarray:
    """Return strata of nearly equal size by rank of the number, (N,) int."""
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return np.asarray(ranks * min(QUANTILES, max(1, len(values) // 10)) // max(1, len(values)))


def stratified(strata: np.ndarray, val_fraction: float, test_fraction: float, split_seed: int) -> Rows:
    """Split so that every part has its share of every stratum, to within one row.

    A stratum of three rows or more has at least one row in every part; a single row trains.

    Shapes: strata: (N,) labels; returns ascending row positions.
    """
    rng = random_of(split_seed, "split")
    _, labels, counts = np.unique(strata, return_inverse=True, return_counts=True)
    order = rng.permutation(len(strata))
    order = order[np.argsort(labels[order], kind="stable")]
    ends = np.cumsum(counts)
    take: dict[str, list[np.ndarray]] = {"train": [], "val": [], "test": []}
    cuts = {
        name: np.diff(_rounded(ends * f), prepend=0)
        for name, f in (("val", val_fraction), ("test", test_fraction))
    }
    for label, (end, count) in enumerate(zip(ends.tolist(), counts.tolist(), strict=True)):
        rows = order[end - count : end]
        num_val = _share(
            int(cuts["val"][label]), count, val_fraction, 2 if test_fraction and count > 2 else 1
        )
        num_test = _share(int(cuts["test"][label]), count - num_val, test_fraction, 1)
        take["val"].append(rows[:num_val])
        take["test"].append(rows[num_val : num_val + num_test])
        take["train"].append(rows[num_val + num_test :])
    return {name: np.sort(np.concatenate(parts)) for name, parts in take.items()}


def _rounded(numbers: np.ndarray) -> np.ndarray:
    return np.floor(numbers + 0.5).astype(np.int64)


def _share(num: int, available: int, fraction: float, reserved: int) -> int:
    """Return how many rows of a stratum a part gets: at least one, if as many as are reserved stay behind."""
    if fraction == 0 or available <= reserved:
        return 0
    return min(max(num, 1), available - reserved)


def stratified_together(
    strata: np.ndarray, group: np.ndarray, val_fraction: float, test_fraction: float, split_seed: int
) -> Rows:
    """Split as `stratified`, with the rows of a group in one part; for many groups of few rows.

    A group counts for its commonest stratum and goes where the draw puts its first row, so that a few groups
    of two move few rows. The sizes of parts are met to within the rows of a group.

    Shapes: strata, group: (N,) labels; returns ascending row positions.
    """
    rng = random_of(split_seed, "split")
    _, first, group, sizes = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
    place = np.empty(len(strata), np.int64)
    place[rng.permutation(len(strata))] = np.arange(len(strata))
    _, label = np.unique(_commonest(strata, group), return_inverse=True)
    order = np.lexsort((place[first], label))
    row_ends = np.cumsum(np.bincount(label, sizes))
    wanted = [np.diff(_rounded(row_ends * f), prepend=0) for f in (val_fraction, test_fraction)]
    drawn = np.full(len(sizes), 2)
    owed = [0, 0]
    for stratum, groups in enumerate(np.split(order, np.cumsum(np.bincount(label))[:-1])):
        for part, fraction in enumerate((val_fraction, test_fraction)):
            reserved = 2 if part == 0 and test_fraction and len(groups) > 2 else 1
            rows = np.cumsum(sizes[groups])
            want = int(wanted[part][stratum]) + owed[part]
            num = _share(_nearest(rows, want), len(groups), fraction, reserved)
            owed[part] = want - int(rows[num - 1]) if num else 0
            drawn[groups[:num]] = part
            groups = groups[num:]
    return {name: np.flatnonzero(drawn[group] == i) for i, name in enumerate(("val", "test", "train"))}


def _nearest(rows: np.ndarray, want: int) -> int:
    """Return how many groups have together nearest to the wanted rows, given their running sum."""
    ends = np.concatenate([[0], rows])
    at = min(int(np.searchsorted(ends, want)), len(rows))
    return at - 1 if at and want - ends[at - 1] <= ends[at] - want else at


def _commonest(strata: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the commonest stratum of each group, (G,), of groups numbered from 0."""
    values, label = np.unique(strata, return_inverse=True)
    pairs, counts = np.unique(group * np.int64(len(values)) + label, return_counts=True)
    owner = pairs // len(values)
    order = np.lexsort((counts, owner))
    last = np.flatnonzero(np.append(np.diff(owner), 1))
    return np.asarray(values[pairs[order[last]] % len(values)])


def by_group(
    groups: np.ndarray, strata: np.ndarray, val_fraction: float, test_fraction: float, split_seed: int
) -> Rows:
    """Split whole groups, so that no group stands in two parts.

    Args:
        groups: (N,) group of each row.
        strata: (N,) class or quantile, whose shares are kept as near as may be.
    Raises:
        DataError: fewer groups than parts.
    """
    _, group = np.unique(groups, return_inverse=True)
    _, stratum = np.unique(strata, return_inverse=True)
    num_groups, num_strata = int(group.max()) + 1, int(stratum.max()) + 1
    wanted = {"test": test_fraction, "val": val_fraction}
    parts = 1 + sum(f > 0 for f in wanted.values())
    if num_groups < parts:
        raise DataError(
            f"the group column has {num_groups} distinct values; {parts} parts need at least {parts}."
        )
    table = np.zeros((num_groups, num_strata))
    np.add.at(table, (group, stratum), 1)
    rng = random_of(split_seed, "split")
    best, least = None, np.inf
    for _ in range(GROUP_DRAWS):
        drawn = _draw_groups(rng.permutation(num_groups), table, wanted)
        miss = sum(
            np.abs(table[drawn == i].sum(0) - f * table.sum(0)).sum() for i, f in enumerate(wanted.values())
        )
        if miss < least:
            best, least = drawn, float(miss)
    assert best is not None
    return {name: np.flatnonzero(best[group] == i) for i, name in enumerate(("test", "val", "train"))}


def _draw_groups(order: np.ndarray, table: np.ndarray, wanted: dict[str, float]) -> np.ndarray:
    """Fill test, then val, with groups in this order until each has its rows; the rest trains."""
    sizes, total = table.sum(1), table.sum()
    drawn = np.full(len(order), 2)
    at = 0
    for part, fraction in enumerate(wanted.values()):
        rows = 0.0
        left = 1 + sum(f > 0 for f in list(wanted.values())[part + 1 :])
        while fraction > 0 and at < len(order) - left:
            size = sizes[order[at]]
            if rows and abs(rows + size - fraction * total) > abs(rows - fraction * total):
                break
            drawn[order[at]] = part
            rows, at = rows + size, at + 1
    return drawn


def by_time(times: np.ndarray, val_fraction: float, test_fraction: float) -> Rows:
    """Test on the latest rows, choose on those before, train on the rest; rows of one moment stay together.

    Raises:
        DataError: too few distinct moments.
    """
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))

    def cut(share: float) -> int:
        return int(starts[np.argmin(np.abs(starts - share * len(times)))])

    first_test = cut(1 - test_fraction) if test_fraction else len(times)
    first_val = cut((1 - test_fraction) - val_fraction)
    if not 0 < first_val < first_test or (test_fraction and first_test >= len(times)):
        raise DataError(
            f"the time column has {len(starts)} distinct moments, too few or too uneven to cut into parts; "
            "take another column or larger fractions."
        )
    return {
        "train": np.sort(order[:first_val]),
        "val": np.sort(order[first_val:first_test]),
        "test": np.sort(order[first_test:]),
    }
