"""Statistics of the rows that were seen: scale, odd cells, copies, shift, and what neighbours say of the labels."""

from __future__ import annotations

import math

import numpy as np
import torch

from trainwell.values.signal import Array

NEIGHBOURS = 5

USUAL_CELLS = 65_536
"""Cells, of rows spread over all, from which their usual size is taken."""

ORDERED = 60
"""Rows from which the order of a single column is no chance."""

BLANK_COLUMNS, ALIKE = 8, 0.1
"""Columns from which a row whose cells are all equal holds nothing; share of the rows, or of the variance, by which the
targets of such rows may differ where nothing is missing in them."""

MOST_TOKENS = 5_000_000
"""Vocabulary up to which tokens are counted."""

MOST_PLACES = 512
"""Tokens of a row of which the order is looked at."""

BORDER = 0.1
"""Share of the pixels that may lie elsewhere without a shift."""

LEAST_CELLS = 6
"""Cells of a row, and rows, from which that their mean and deviation are all alike is no chance."""

FLOOR = 0.05
"""Deviation of a column, against that of the usual one, under which its own scale says little."""

HALF, MEASURED = 0.5, 0.9
"""Share of distinct rows under which most come again, as codes do; share that a column parts, if it was measured."""

QUARTILE_ROWS = 512
"""Rows, spread over all, from which the quantiles of a column are taken."""


def scale_facts(x: Array) -> dict[str, float]:
    """Return rms, spread of the columns' scales and share of constant columns of (N, D) inputs."""
    with np.errstate(all="ignore"):
        finite = np.isfinite(x)
        clean = np.where(finite, x, 0.0)
        sd = clean.std(0)
        top = float(sd.max()) if sd.size else 0.0
        # against itself: beside a column of billions one of a usual scale still moves
        alive = sd > np.maximum(1e-6 * np.abs(clean.mean(0)), 1e-300)
        rms = float(np.sqrt((clean**2).mean()))
    ratio = float(top / np.median(sd[alive])) if alive.any() else 1.0
    return {
        "x_rms": rms, "x_sd_ratio": ratio, "x_columns": float(x.shape[1]),
        "x_constant_share": float(1 - alive.mean()) if sd.size else 0.0,
        "x_nonfinite_share": float(1 - finite.mean()) if finite.size else 0.0,
    }  # fmt: skip


def own_scale(x: Array) -> float:
    """Return by how much mean and deviation of the (N, D) rows differ from row to row, in units of their deviation.

    Next to nothing where each row was standardised by itself. Infinite where rows are too short to tell.
    """
    if x.shape[1] < LEAST_CELLS or len(x) < LEAST_CELLS:
        return float("inf")
    middle, size = x.mean(1), x.std(1)
    return float(max(middle.std(), size.std()) / max(float(np.median(size)), 1e-300))


def odd_facts(x: Array) -> dict[str, float]:
    """Return the share of cells that hold one far-off value, and of rows of far-off size."""
    finite = np.isfinite(x)
    clean = np.where(finite, x, 0.0)
    size = np.abs(clean)
    some = size[:: max(1, size.size // USUAL_CELLS)]
    usual = float(np.median(some[some > 0])) if (some > 0).any() else 1.0
    far = clean[size > 20 * usual]
    sentinel, share = math.nan, 0.0
    if far.size:
        values, counts = np.unique(far, return_counts=True)
        best = int(counts.argmax())
        if counts[best] >= max(4, 0.3 * far.size):
            sentinel = float(values[best])
            share = _stranger_share(clean, sentinel)
    # robust scales: a column of large numbers is no odd row, and odd rows must not widen their columns
    some = clean[:: max(1, len(clean) // QUARTILE_ROWS)]
    low, mid, high = np.percentile(some, (5, 50, 95), axis=0)
    # where a column is nearly always the same (an edge of images, a rare code) its middle says nothing of its scale
    spread = np.maximum((high - low) / 3.29, 0.3 * clean.std(0))
    usual_part = (high - low)[high > low]
    norms = _mean_of_most(np.abs((clean - mid) / np.where(spread > 0, spread, 1.0)))
    middle = float(np.median(norms))
    odd = norms > 12 * middle if middle > 0 else np.zeros(len(x), bool)
    return {
        "sentinel_value": sentinel, "sentinel_share": share, "odd_row_share": float(odd.mean()),
        # of the usual part of the columns, which no odd row widens
        "x_spread_ratio": float(usual_part.max() / np.median(usual_part)) if usual_part.size else 1.0,
        # rows without any typical cell: what a stuck sensor or a wrong read leaves
        "odd_row_ratio": float(norms.max() / middle) if middle > 0 else 1.0,
    }  # fmt: skip


def _mean_of_most(sizes: Array) -> Array:
    """Return the mean of each row without its largest tenth: a few odd cells make no odd row."""
    columns = sizes.shape[1]
    if columns < 3:
        means: Array = sizes.mean(1)
        return means
    most = columns - max(1, columns // 10)
    means = np.partition(sizes, most, axis=1)[:, :most].mean(1)
    return means


def is_blank(x: Array) -> Array:
    """Say of each row whether all its cells are equal, so that it holds nothing; of a few columns that is no wonder."""
    blank: Array = x.max(1) == x.min(1) if x.shape[1] >= BLANK_COLUMNS else np.zeros(len(x), bool)
    return blank


def alike(y: Array | None, chosen: Array, classes: bool) -> bool:
    """Say whether the chosen rows have hardly different targets: a window of a series at rest holds nothing rightly."""
    if y is None or y.ndim != 1 or len(y) != len(chosen) or not chosen.any():
        return False
    if classes:
        return bool(np.unique(y[chosen], return_counts=True)[1].max() >= (1 - ALIKE) * chosen.sum())
    return bool(y[chosen].var() <= ALIKE * y.var())


def _stranger_share(x: Array, value: float) -> float:
    """Return the share of cells that hold a value which lies far from all others of their column.

    A rare category that was standardised, or the bound at which a column was clipped, does not.
    """
    count = 0
    for column in np.flatnonzero((x == value).any(0)):
        rest = x[x[:, column] != value, column]
        gap = np.abs(rest - value).min() if rest.size else 0.0
        if gap > 5 * rest.std() > 1e-9 * abs(value):
            count += len(x) - rest.size
    return count / x.size


def standardised(x: Array, other: Array | None = None) -> tuple[Array, Array | None]:
    """Centre and scale columns by the first array; columns that hardly vary are dropped, odd cells cut at 8 sd."""
    clean = np.where(np.isfinite(x), x, 0.0)
    mean, sd = clean.mean(0), clean.std(0)
    # against the usual column: one of huge numbers must not hide all others
    keep = sd > 1e-3 * (np.median(sd[sd > 0]) if (sd > 0).any() else 0.0)
    if not keep.any():
        keep = np.ones_like(keep)
    sd = np.where(sd > 0, sd, 1.0)

    def scaled(a: Array) -> Array:
        a = np.where(np.isfinite(a), a, 0.0)
        return np.clip((a[:, keep] - mean[keep]) / sd[keep], -8, 8)

    return scaled(x), scaled(other) if other is not None else None


def like_pixels(x: Array) -> Array:
    """Centre columns and scale all by one number: what suits images, where a column's own scale means little."""
    clean = np.where(np.isfinite(x), x, 0.0)
    return (clean - clean.mean(0)) / max(float(clean.std()), 1e-300)


def counts(tokens: Array) -> Array:
    """Return how often each token stands in each row: (N, vocabulary)."""
    ids = np.clip(tokens.astype(int), 0, 4095)
    table = np.zeros((len(ids), int(ids.max()) + 1))
    np.add.at(table, (np.arange(len(ids))[:, None], ids), 1.0)
    return table


def first_places(tokens: Array) -> Array:
    """Return where each token stands first in each row, from 1 at its beginning down to 0 of what is not in it."""
    ids = np.clip(tokens[:, :MOST_PLACES].astype(int), 0, 4095)
    table, length = np.zeros((len(ids), int(ids.max()) + 1)), ids.shape[1]
    for place in reversed(range(length)):
        table[np.arange(len(ids)), ids[:, place]] = 1 - place / length
    return table


def product(a: Array, b: Array) -> Array:
    """Return a @ b in float64, on the threads that torch may use.

    numpy's own threads would come on top of torch's: on a machine that is busy they spin for seconds.
    """
    left, right = (torch.from_numpy(np.ascontiguousarray(v, dtype=np.float64)) for v in (a, b))
    return np.asarray((left @ right).numpy())


def distances(a: Array, b: Array) -> Array:
    """Return squared distances (len(a), len(b)) in float64."""
    square = (a**2).sum(1)[:, None] + (b**2).sum(1)[None]
    twice = product(a, b.T)
    twice *= 2  # in place: every new array of a thousand rows squared costs as much as the product
    square -= twice
    return np.maximum(square, 0.0, out=square)


def neighbours(a: Array, k: int = NEIGHBOURS) -> tuple[Array, Array]:
    """Return indices (N, k) of the nearest other rows, and squared distance to the first of them."""
    d = distances(a, a)
    np.fill_diagonal(d, np.inf)
    order = np.argpartition(d, min(k, d.shape[1] - 1), axis=1)[:, :k]
    return order, np.take_along_axis(d, order, 1).min(1)


def hashes(x: Array) -> list[bytes]:
    """Return one key per row; equal rows have equal keys."""
    return [row.tobytes() for row in np.ascontiguousarray(x)]


def first_of_each(x: Array) -> Array:
    """Return the indices of the first occurrence of every row, in order."""
    seen: dict[bytes, int] = {}
    for i, key in enumerate(hashes(x)):
        seen.setdefault(key, i)
    return np.fromiter(seen.values(), int)


def drawn_again(x: Array, batch: Array) -> float:
    """Return the share of batches that hold both new rows and such as came before.

    Of rows read in order it is the batch at most in which one epoch ends. `batch` is the number of each row's batch.
    """
    new = np.zeros(len(x), bool)
    new[first_of_each(x)] = True
    groups = [new[batch == b] for b in sorted(set(batch.tolist()))]
    return float(np.mean([g.any() and not g.all() for g in groups]))


def copy_facts(
    train: Array, val: Array, num_train: int, targets: tuple[Array, Array] | None = None
) -> dict[str, float]:
    """Return the share of validation rows that also stand in training, with their targets where those are known.

    Of different targets it is another case of the same codes; `copied_alike` is how many of equal rows have equal ones.
    """
    pair = (train, val) if targets is None else [
        np.hstack([v, t]) for v, t in zip((train, val), targets, strict=True)
    ]  # fmt: skip
    known = set(hashes(pair[0]))
    same = np.array([key in known for key in hashes(pair[1])])
    drawn, distinct = set(hashes(pair[1])), len(set(hashes(val))) / max(1, len(val))
    coverage = min(1.0, len(first_of_each(train)) / max(1, num_train))
    share = float(same.mean())
    facts = {
        "copied_share": share / coverage if distinct > HALF else 0.0, "copied_rows": float(same.sum()),
        "val_distinct_share": distinct, "copied_of_seen": share,
    }  # fmt: skip
    if targets is not None:
        equal = sum(map(set(hashes(train)).__contains__, hashes(val)))
        facts |= {
            "copied_alike": float(same.sum()) / max(1, equal),
            "equal_of_seen": equal / max(1, len(val)),
        }
    if same.any():  # a row of codes may come again by chance, one with a measured number in it hardly does
        once = train[first_of_each(train)]
        facts["most_distinct"] = max(len(np.unique(column)) / len(once) for column in once.T)
        # what was drawn again and again counts once
        if distinct <= HALF and facts["most_distinct"] > MEASURED:
            facts["copied_share"] = len(known & drawn) / len(drawn) / min(1.0, len(train) / max(1, num_train))
    return facts


def near_facts(train: Array, val: Array) -> dict[str, float]:
    """Return the share of rows that nearly stand in training, of validation and of training itself."""
    a, b = standardised(train, val)
    assert b is not None
    found = [_near(a, b)]
    sd = np.where(np.isfinite(train), train, 0.0).std(0)
    if sd.size and 0 < sd[sd > 0].min(initial=np.inf) < FLOOR * float(np.median(sd)):
        # a nearly constant column, such as an edge of images, hides there how near rows are
        both = like_pixels(np.concatenate([train, val]))
        found.append(_near(both[: len(train)], both[len(train) :]))
    within, across = max(found, key=lambda pair: pair[1] - 4 * pair[0])
    return {"near_share": across, "near_share_within": within}


def _near(a: Array, b: Array) -> tuple[float, float]:
    """Return the share of rows that nearly stand in `a`, of its own and of `b`."""
    apart = distances(a, a)
    np.fill_diagonal(apart, np.inf)
    own = np.sqrt(apart.min(1))
    cross = np.sqrt(distances(b, a).min(1))
    # what counts as near: a quarter of the usual distance between neighbours within training
    near = 0.25 * float(np.median(own))
    return float((own < near).mean()), float((cross < near).mean())


def shift_facts(train: Array, val: Array, pixels: bool = False) -> dict[str, float]:
    """Return how far validation inputs lie from training inputs, column by column and as a cloud.

    Of pixels a tenth must lie so far: what turns or moves the pictures of a training fills their borders.
    """
    a, b = (np.where(np.isfinite(v), v, 0.0) for v in (train, val))
    sd = a.std(0)
    keep = sd > 1e-3 * sd.max(initial=0.0)
    # what is small against the usual column is no shift, however constant its own column is
    sd = np.maximum(sd, FLOOR * float(np.median(sd[keep]))) if keep.any() else sd
    if not keep.any() or min(len(a), len(b)) < 20:
        return {}
    a, b, sd = a[:, keep], b[:, keep], sd[keep]
    difference = (b.mean(0) - a.mean(0)) / sd
    error = np.sqrt(1 / len(a) + (b.std(0) / sd) ** 2 / len(b))
    ranked = np.abs(difference).argsort()
    strongest = int(ranked[-1 - int(BORDER * len(ranked)) if pixels else -1])
    ratio = np.sqrt((b.var(0).sum() + 1e-300) / (a.var(0).sum() + 1e-300))
    changed = _scale_changed(a, b)
    n = min(len(a), len(b), 400)
    both = np.concatenate([a[:n], b[:n]])
    scaled, _ = standardised(both)
    side = np.arange(2 * n) >= n
    near, _ = neighbours(scaled)
    same = float((side[near] == side[:, None]).mean())
    return {
        "shift_sd": float(np.abs(difference[strongest])), "shift_z": float(np.abs(difference / error)[strongest]),
        "shift_scale": float(max(ratio, 1 / ratio)), "shift_scaled_columns": float(changed.mean()),
        "shift_same_side": same, "shift_same_side_z": (same - 0.5) / math.sqrt(0.25 / (2 * n)),
        "shift_overall": float(np.sqrt((difference**2).mean())),
    }  # fmt: skip


def token_shift_facts(train: Array, val: Array) -> dict[str, float]:
    """Return the share of validation tokens that training has not, or has less often, beyond what chance makes of it.

    That is the total variation distance of the two distributions over tokens, less that of two halves of the training
    rows, as far as those are no larger. Takes (N, T) and (M, T) tokens, whole numbers that are not negative.
    """
    a, b = train.astype(np.int64), val.astype(np.int64)
    if min(len(a), len(b)) < 20 or min(a.min(), b.min()) < 0 or max(a.max(), b.max()) > MOST_TOKENS:
        return {}
    order = np.random.default_rng(0).permutation(len(a))
    halves = _apart(a[order[::2]], a[order[1::2]]) * max(
        1.0, math.sqrt((1 / len(a) + 1 / len(b)) * len(a) / 4)
    )
    return {"shift_tokens": _apart(a, b) - halves}


def _apart(a: Array, b: Array) -> float:
    """Return the total variation distance between the values of two arrays."""
    size = int(max(a.max(), b.max())) + 1
    shares = [np.bincount(v.ravel(), minlength=size) / v.size for v in (a, b)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def _scale_changed(train: Array, val: Array) -> Array:
    """Say of which columns the spread differs by more than a factor of two and than chance.

    The error of a spread grows with the kurtosis of the column: a category of few rows may well be missing in one part.
    """
    var = train.var(0)
    one_more = (len(val) * val.var(0) + var) / (len(val) + 1)  # as if one more row had been as the others
    apart = np.abs(0.5 * np.log(one_more / var))
    kurtosis = ((train - train.mean(0)) ** 4).mean(0) / var**2
    error = np.sqrt((kurtosis - 1).clip(min=0.1) * (1 / len(train) + 1 / len(val)))
    changed: Array = (apart > math.log(2)) & (apart > 6 * error)
    return changed


def order_facts(y: Array, batch: Array, classes: bool, x: Array | None = None) -> dict[str, float]:
    """Return how much of the targets' variation lies between the batches of one epoch, beyond chance.

    Args:
        batch: for each row the number of its batch.
        x: inputs, of which `between_batches_x` is the same of the column that is the most in order.
    """
    targets = np.eye(int(y.max()) + 1)[y.astype(int)] if classes else y.reshape(len(y), -1).astype(float)
    groups = [batch == b for b in sorted(set(batch.tolist()))]
    if not targets.std(0).any() or len(groups) < 4 or np.median([g.sum() for g in groups]) < 2:
        return {}
    total, between = _parted(targets, groups)
    facts = {"between_batches": _beyond_chance(between.sum() / total.sum(), len(groups), len(y))}
    if x is not None and len(x) >= ORDERED:
        total, between = _parted(np.where(np.isfinite(x), x, 0.0), groups)
        shares = between[total > 0] / total[total > 0]
        facts["between_batches_x"] = _beyond_chance(shares.max(initial=0.0), len(groups), len(x))
    if classes:
        facts["common_in_batch"] = float(np.mean([targets[g].mean(0).max() for g in groups]))
        facts["common_overall"] = float(targets.mean(0).max())
    return facts


def _parted(values: Array, groups: list[Array]) -> tuple[Array, Array]:
    """Return the sum of squares of each column about its mean, and the part of it that lies between the groups."""
    middle = values.mean(0)
    between = np.stack([g.sum() * (values[g].mean(0) - middle) ** 2 for g in groups])
    return ((values - middle) ** 2).sum(0), between.sum(0)


def _beyond_chance(share: float, groups: int, rows: int) -> float:
    expected = (groups - 1) / max(1, rows - 1)
    return float(max(0.0, (share - expected) / max(1e-9, 1 - expected)))
