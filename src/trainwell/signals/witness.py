"""An independent witness of the data: kernel ridge regression, judged on rows that it has not seen.

Every prediction leaves its own row out, in closed form: with A = (K + lambda I)^-1 the error of row i without itself
is (A t)_i / A_ii (Rasmussen and Williams 2006, section 5.4.2). So some hundred rows suffice for a fair judgement.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from trainwell.signals import rows
from trainwell.values.signal import Array

MAX_ROWS, TRIAL_ROWS = 400, 160
"""Rows that are judged, and rows on which the kernel is chosen."""

RIDGES = (0.03, 0.3, 3.0)
TELLING = 0.97
"""A single column that tells the labels so well is looked into."""

ENOUGH = 0.7
"""Where the other columns explain so much, none is missed: the question is not asked further."""

FEW_COLUMNS = 8
"""Columns up to which the nearest row is near in all of them."""

LEAST_CLASSES, MOST_CLASSES, ORDERS = 5, 20, 500
"""Classes of which the order is asked for, and random orders that it is compared with."""

BANDS = (1.0, 4.0)
"""Squared distances are counted in medians; 4 is a kernel half as wide."""


def views(x: Array, tokens: bool) -> list[Array]:
    """Return the ways to look at (N, D) inputs: counts and order of tokens, or columns and pixels."""
    if tokens:
        return [np.sqrt(rows.counts(x)), rows.first_places(x)]
    return [rows.standardised(x)[0], rows.like_pixels(x)]


def _kernels(x: Array) -> list[Callable[[], Array]]:
    """Return the kernels to choose from, each made when it is asked for."""
    centred = torch.from_numpy((x - x.mean(0)).astype(np.float32))
    gram: Array = (centred @ centred.T).double().numpy()
    size = np.diag(gram)
    d = np.maximum(size[:, None] + size[None] - 2 * gram, 0.0)
    middle = float(np.median(d[d > 0])) if (d > 0).any() else 1.0
    scale = max(float(size.sum()) / len(x), 1e-300)
    return [lambda: gram / scale, *(partial(lambda band: np.exp(-d * band / middle), band) for band in BANDS)]


def _unseen(kernel: Array, targets: Array, ridge: float) -> Array:
    """Return what each row is predicted to be without itself: (N, K)."""
    mean = targets.mean(0)
    # kernel + ridge is positive definite, its condition below N / ridge: float32 suffices
    regular = torch.from_numpy((kernel + ridge * np.eye(len(kernel))).astype(np.float32))
    factor, failed = torch.linalg.cholesky_ex(regular)
    if failed:  # values of very different size: then it does not
        inverse = torch.linalg.inv(torch.from_numpy(kernel + ridge * np.eye(len(kernel)))).numpy()
    else:
        inverse = torch.cholesky_inverse(factor).double().numpy()
    return targets - rows.product(inverse, targets - mean) / np.diag(inverse)[:, None]


def _left(guess: Array, targets: Array) -> float:
    """Return the share of the targets' variation that the guess leaves."""
    total = float(((targets - targets.mean(0)) ** 2).sum())
    return float(((targets - guess) ** 2).sum()) / total if total > 0 else 1.0


def testify(seen: list[Array], targets: Array) -> tuple[float, Array]:
    """Return how much of the targets' variation the best kernel explains on unseen rows, and what it predicts.

    Args: seen: views of the same rows.
    Shapes: targets: (N, K); the prediction has the same shape.
    """
    few = slice(0, TRIAL_ROWS)
    found: list[tuple[float, int, int]] = []
    for i, x in enumerate(seen):
        for j, make in enumerate(_kernels(x[few])):
            kernel = make()
            left = min(_left(_unseen(kernel, targets[few], r), targets[few]) for r in RIDGES)
            found.append((left, i, j))
    best = min(found)
    kernel = _kernels(seen[best[1]])[best[2]]()
    guesses = [_unseen(kernel, targets, r) for r in RIDGES]
    lefts = [_left(g, targets) for g in guesses]
    chosen = int(np.argmin(lefts))
    return 1 - lefts[chosen], guesses[chosen]


def label_facts(x: Array, y: Array, tokens: bool, classes: bool) -> dict[str, float]:
    """Return what the witness says of the labels.

    `learnable`: explained variation; of few columns also `nearest_z`: by how many standard errors the nearest row has
    a more similar target than any. With classes also `witness_error`, its share of errors, `witness_sure_error`,
    the same among the quarter of the rows of which it is surest, and `witness_sure_rows`, how many those are: where
    classes overlap or the witness is poor the sure ones are nearly all right, where labels are wrong they are not. And
    `witness_surest_error`, the same among the surest quarter of each answer, for labels of some classes alone.
    """
    x, y = x[:MAX_ROWS], y[:MAX_ROWS]
    seen = views(x, tokens)
    targets = _hot(y) if classes else y.reshape(len(y), -1)
    learnable, guess = testify(seen, targets)
    facts = {"learnable": learnable, "label_rows": float(len(y))}
    if not tokens and x.shape[1] <= FEW_COLUMNS:
        facts["nearest_z"] = _nearest_z(seen[0], targets)
    if classes and targets.shape[1] > 1:
        facts |= _errors(guess, targets)
    return facts


def column_facts(
    x: Array, y: Array, tokens: bool, classes: bool, learnable: float | None = None
) -> dict[str, float]:
    """Return how well the best single column tells the labels, and what is learnable without it and with it.

    Args: learnable: with it, where it has been measured on these rows.
    """
    x, y = x[:MAX_ROWS], y[:MAX_ROWS]
    if tokens or x.shape[1] < 3:
        return {}
    targets = _hot(y) if classes else y.reshape(-1, 1)
    score, column = _lone_column(x, targets)
    facts = {"lone_score": score}
    if score > TELLING:
        facts["learnable_without"], _ = testify(views(np.delete(x, column, 1), False), targets)
        if facts["learnable_without"] < ENOUGH:
            facts["learnable_with"] = (
                learnable if learnable is not None else testify(views(x, False), targets)[0]
            )
        elif targets.shape[1] == 1:  # a column that ranks a number explains about the square of it
            facts["learnable_with"] = score**2
    return facts


def ordinal_facts(x: Array, y: Array, tokens: bool) -> dict[str, float]:
    """Return whether numbers of classes are in order: `ordinal_r`, and `ordinal_p`, its chance were they only names.

    Where they stand for more and less, classes whose numbers are near lie near each other: the gaps between the numbers
    go with the distances between the means of the classes, beyond what chance makes of those. The chance is that
    of random orders of the classes (Mantel 1967, Cancer Research 27(2)). Of fewer than five classes too many are alike.
    """
    values, places, sizes = np.unique(y, return_inverse=True, return_counts=True)
    if not LEAST_CLASSES <= len(values) <= MOST_CLASSES or sizes.max() < 2:
        return {}
    seen, hot = views(x, tokens)[0], _hot(y)
    means = rows.product(hot.T, seen) / sizes[:, None]
    noise = float(((seen - means[places]) ** 2).sum()) / max(1, len(y) - len(values))
    apart = rows.distances(means, means) - noise * (1 / sizes[:, None] + 1 / sizes[None])
    pair = np.triu_indices(len(values), 1)
    # a mean of few rows lies anywhere
    weights = 1 / np.sqrt((1 / sizes[:, None] + 1 / sizes[None])[pair])
    gaps, far = np.abs(values[:, None] - values[None]), np.sqrt(np.maximum(apart, 0.0))[pair]
    far = far - np.average(far, weights=weights)
    far = weights * far / np.sqrt((weights * far**2).sum() + 1e-300)
    rng = np.random.default_rng(0)
    orders = [np.arange(len(values)), *(rng.permutation(len(values)) for _ in range(ORDERS))]
    told = np.array([_correlation(gaps[np.ix_(o, o)][pair], far, weights) for o in orders])
    return {"ordinal_r": float(told[0]), "ordinal_p": float((told[1:] >= told[0] - 1e-12).mean())}


def _correlation(gaps: Array, far: Array, weights: Array) -> float:
    """Return the weighted correlation of gaps with distances that are centred, weighted and of length 1."""
    centred = gaps - np.average(gaps, weights=weights)
    return float((far * centred).sum() / np.sqrt((weights * centred**2).sum() + 1e-300))


def _nearest_z(x: Array, targets: Array) -> float:
    """Return by how many standard errors the nearest other row has a more similar target than any row."""
    near, _ = rows.neighbours(x, 1)
    apart = ((targets - targets[near[:, 0]]) ** 2).sum(1)
    # two rows by chance differ by twice the variance
    usual = 2 * float(((targets - targets.mean(0)) ** 2).sum(1).mean())
    # nearest rows come in pairs: every difference counts up to twice
    return float((usual - apart.mean()) / (apart.std() * np.sqrt(2 / len(apart)) + 1e-300))


def _hot(y: Array) -> Array:
    values = np.unique(y)
    return (y[:, None] == values).astype(float)


def _errors(guess: Array, targets: Array) -> dict[str, float]:
    ranked = np.sort(guess, 1)
    margin = ranked[:, -1] - ranked[:, -2]
    wrong = guess.argmax(1) != targets.argmax(1)
    sure = np.argsort(-margin, kind="stable")[: max(1, len(wrong) // 4)]
    each = surest_of_each(margin, guess.argmax(1))
    return {
        "witness_error": float(wrong.mean()), "witness_base_error": float(1 - targets.mean(0).max()),
        "witness_sure_error": float(wrong[sure].mean()), "witness_sure_rows": float(len(sure)),
        "witness_surest_error": float(wrong[each].mean()),
    }  # fmt: skip


def surest_of_each(margin: Array, answer: Array) -> Array:
    """Return the rows among the surest quarter of those with the same answer. Shapes: (N,) and (N,), to (M,)."""
    order = np.argsort(-margin, kind="stable")
    kinds = [order[answer[order] == kind] for kind in np.unique(answer)]
    return np.concatenate([rows_[: max(1, len(rows_) // 4)] for rows_ in kinds])


def _lone_column(x: Array, targets: Array) -> tuple[float, int]:
    """Return the best column and how well it tells the targets: the AUC of a class, or the rank correlation."""
    ranks = _ranks(x)
    best, column = 0.0, 0
    for k in range(targets.shape[1]):
        if targets.shape[1] > 1:
            inside = targets[:, k] > 0
            if min(inside.sum(), (~inside).sum()) < 10:
                continue
            score = 0.5 + np.abs(ranks[inside].mean(0) - ranks[~inside].mean(0)) / len(x)
        else:
            t = _ranks(targets[:, k])
            score = np.abs(rows.product(ranks.T, t)) / np.sqrt((ranks**2).sum(0) * (t**2).sum() + 1e-300)
        if float(score.max()) > best:
            best, column = float(score.max()), int(score.argmax())
    return best, column


def _ranks(x: Array) -> Array:
    """Return the ranks of each column about their mean."""
    order, ranks = np.argsort(x, 0, kind="stable"), np.empty(x.shape)
    np.put_along_axis(ranks, order, np.arange(len(x), dtype=float).reshape(-1, *[1] * (x.ndim - 1)), 0)
    return ranks - ranks.mean(0)


def residual_facts(x: Array, residual: Array, tokens: bool) -> dict[str, float]:
    """Return the share of the residuals' variation about zero that the witness predicts on unseen rows."""
    total = float((residual**2).sum())
    if total <= 0:
        return {"residual_r2": 0.0}
    _, guess = testify(views(x, tokens), residual)
    return {"residual_r2": 1 - float(((residual - guess) ** 2).sum()) / total}
