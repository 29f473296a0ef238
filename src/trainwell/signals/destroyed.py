"""Inputs that were destroyed on the way: cells that were filled, channels that stand still."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from trainwell.signals.family import Family, Record
from trainwell.signals.scene import Batch, Scene
from trainwell.values.signal import Array, Signal

ROWS, CELLS = 1024, 262_144
"""Rows that are looked at, and numbers that they may hold."""

FEW, COLUMNS = 256, 512
"""Rows of which a filler must hold two; columns from which rows are pictures."""

RARE, MOSTLY = 0.02, 0.9
"""Share of the rows that must hold a filler, or a channel that stands still, and must not; share of the other cells of
that column, or of the rows that stand still, that must have a number of their own, as measured ones do."""

LONG = 8
"""Places of a channel from which standing still is no chance."""


class Destroyed(Family):
    """Measure which rows hold cells that were filled or stand still, and what the network loses by those rows."""

    signals: ClassVar = (
        Signal(
            "destroyed", "facts of rows that were destroyed", cadence="once", cost="one pass over 1,024 rows"
        ),
    )

    is_late = True

    def close(self, scene: Scene, record: Record) -> None:
        first = scene.train[0].x if scene.train else None
        if scene.is_sound or first is None or not first.is_floating_point() or first.dim() not in (2, 3):
            return
        train, facts = _stacked(scene.train), scene.facts
        if first.dim() == 3:
            facts["stuck_share"] = stuck_share(train)
            return
        known = filled(train)
        if known is None or not scene.val:
            return
        judged = {r["number"]: r for r in scene.last_val}
        batches = [b for b in scene.val if b.step in judged and b.x.shape[1:] == first.shape[1:]]
        losses = [judged[b.step]["each"].reshape(-1) for b in batches]
        if not batches or any(len(e) != len(b.x) for e, b in zip(losses, batches, strict=True)):
            return
        marked = known(np.concatenate([b.x.detach().cpu().numpy() for b in batches]))
        cost, z = cost_of(marked, np.concatenate([e.detach().float().cpu().numpy() for e in losses]))
        facts |= {"filled_share": float(known(train).mean()), "filled_cost": cost, "filled_cost_z": z}


def _stacked(batches: list[Batch]) -> Array:
    like = [b.x for b in batches if b.x.shape[1:] == batches[0].x.shape[1:]]
    most = min(ROWS, max(1, CELLS // max(1, like[0][0].numel())))
    found: list[Array] = []
    for x in like:
        if sum(map(len, found)) < most:
            found.append(x[: most - sum(map(len, found))].detach().cpu().numpy())
    return np.concatenate(found)


def filled(x: Array) -> Callable[[Array], Array] | None:
    """Return a function that tells rows with a filled cell; `None` where no column of (N, F) holds a filler.

    A filler is one number that comes again and again in the midst of a column whose other numbers are all different.
    """
    fillers: list[tuple[int, float]] = []
    again = np.diff(np.sort(x[:FEW], axis=0), axis=0) == 0
    for column in np.flatnonzero(again.any(0)) if x.shape[1] <= COLUMNS else ():
        values, counts = np.unique(x[:, column], return_counts=True)
        top = int(counts.argmax())
        share, rest = counts[top] / len(x), counts.sum() - counts[top]
        inside = rest > 0 and RARE < float((x[:, column] < values[top]).sum() / rest) < 1 - RARE
        if RARE < share < 1 - RARE and inside and len(values) - 1 > MOSTLY * rest:
            fillers.append((int(column), float(values[top])))
    if not fillers:
        return None

    def holds(rows: Array) -> Array:
        found: Array = np.any([rows[:, c] == v for c, v in fillers], axis=0)
        return found

    return holds


def stuck_share(x: Array) -> float:
    """Return the share of the rows (N, T, C) or (N, C, T) of which a channel never moves.

    It must move in other rows, at every place: what only changes now and then is at rest in between. And it must stand
    at another number in each: silence and padding stand at one.
    """
    shares = [0.0]
    for y in (x, np.swapaxes(x, 1, 2)):  # (N, T, C)
        if y.shape[1] < LONG:
            continue
        still, level = y.max(1) == y.min(1), y[:, 0]
        shares.append(float(still[:, [c for c in range(y.shape[2]) if _is_stuck(y[:, :, c], still[:, c], level[:, c])]]
                            .any(1).mean()))  # fmt: skip
    return max(shares)


def _is_stuck(channel: Array, still: Array, level: Array) -> bool:
    """Whether a channel (N, T) stands still in some rows, each at its own number, and moves at every place of others."""
    if not RARE < still.mean() < 1 - RARE:
        return False
    own = len(np.unique(level[still])) > MOSTLY * still.sum()
    return bool(own and (np.diff(channel[~still], axis=1) == 0).mean() < RARE)


def cost_of(marked: Array, losses: Array) -> tuple[float, float]:
    """Return the mean loss of marked rows over that of the others, and how surely it is larger: the z of their ranks."""
    a, b = losses[marked], losses[~marked]
    if min(len(a), len(b)) < LONG or not np.isfinite(losses).all():
        return 1.0, 0.0
    ranks = np.empty(len(losses))
    ranks[np.argsort(losses, kind="stable")] = np.arange(1, len(losses) + 1)
    middle, spread = len(a) * (len(losses) + 1) / 2, math.sqrt(len(a) * len(b) * (len(losses) + 1) / 12)
    return float(a.mean() / max(b.mean(), 1e-12)), float((ranks[marked].sum() - middle) / spread)
