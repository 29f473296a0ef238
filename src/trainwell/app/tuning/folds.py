"""The rows that a trial learns from and is judged by: the parts as they are, or the folds of a cross-validation."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from trainwell.app.console import Console
from trainwell.app.tuning.options import parse_folds
from trainwell.app.tuning.work import Work
from trainwell.engine.streams import derive
from trainwell.values.errors import UsageError

FEW_ROWS = 2000
"""Training and validation rows up to which `auto` takes folds, where the budget holds enough trainings."""

AUTO_FOLDS = 5

ENOUGH_TRIALS = 64
"""Trials with all their folds that have to fit into the budget, or `auto` keeps to the parts as they are."""


@dataclasses.dataclass(frozen=True, eq=False)
class Fold:
    """Rows of training and validation part together, and a seed.

    Args:
        learns, judges: indices, (N,) int64; None for the parts as they are.
    """

    seed: int
    learns: Tensor | None = None
    judges: Tensor | None = None

    def seed_of(self, number: int) -> int:
        """Return the seed of a trial: with one for all, its luck would count as that of the configurations near it."""
        return derive(self.seed, "trial", number)


def folds_for(
    work: Work, asked: str, affordable: float, seed: int, console: Console
) -> tuple[list[Fold], str]:
    """Return the folds of a trial, and what was asked for in plain words (`5x2`, `1`) so that a resume can agree.

    Args:
        asked: `auto`, or K or KxR: K folds, R times with other folds and seeds; 1 for the parts as they are.
        affordable: full trainings that the budget holds.
    """
    as_they_are = [Fold(seed)]
    count, times = parse_folds(str(asked))
    rows = shared_rows(work)
    if count == 0:
        enough = affordable >= AUTO_FOLDS * ENOUGH_TRIALS
        if rows is None or rows > FEW_ROWS or not enough:
            return as_they_are, "1"
        count = AUTO_FOLDS
    if count == 1:
        return as_they_are, "1"
    check_folds(work, asked)
    console.say(
        f"folds     each trial is the mean over {count * times} trainings, {count} folds of {rows} rows"
    )
    made = []
    for r in range(times):
        own = derive(seed, "folds", r) if r else seed
        made += [Fold(own, *split) for split in _split(work, count, derive(seed, "split", r))]
    return made, f"{count}x{times}"


def check_folds(work: Work, asked: str | int) -> None:
    """Make sure that the rows can be cut into so many folds.

    Raises:
        UsageError: they cannot.
    """
    count, rows = parse_folds(str(asked))[0], shared_rows(work)
    if count < 2:
        return
    if rows is None:
        raise UsageError(
            f"--folds {asked}: groups, time, a validation part of its own or loaders decide what is judged by here; "
            "leave --folds away."
        )
    if count > rows // 2:
        raise UsageError(f"--folds {asked}: expected at most {rows // 2} folds, half of the {rows} rows.")


def shared_rows(work: Work) -> int | None:
    """Return how many rows training and validation part have together; None where they must not be mixed."""
    prepared = work.prepared
    if not all(isinstance(prepared.parts[p], tuple) for p in ("train", "val")):
        return None
    options = prepared.source.get("options", {})
    if any(prepared.provenance.get(k) for k in ("group", "time")) or any(
        options.get(k) for k in ("group", "time", "val")
    ):
        return None
    return len(prepared.parts["train"][1]) + len(prepared.parts["val"][1])


def _split(work: Work, count: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Return (train rows, validation rows) of every fold; classes have equal shares in all of them."""
    y = torch.cat([work.prepared.parts[p][1] for p in ("train", "val")])
    order = np.random.default_rng(seed).permutation(len(y))
    if y.ndim == 1 and not y.is_floating_point():
        order = order[
            np.argsort(y.numpy()[order], kind="stable")
        ]  # neighbours of one class go to different folds
    place = np.empty(len(y), dtype=np.int64)
    place[order] = np.arange(len(y)) % count
    rows = [torch.from_numpy(np.flatnonzero(place == k)) for k in range(count)]
    return [(torch.from_numpy(np.flatnonzero(place != k)), rows[k]) for k in range(count)]
