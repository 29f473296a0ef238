"""Whether rows of the first validation are trained on later, as where the split is drawn anew in every epoch."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from torch import Tensor

from trainwell.signals.family import Family, Record
from trainwell.signals.rows import hashes
from trainwell.signals.scene import Look, Scene
from trainwell.values.signal import Signal

COLUMNS, ROWS, LOOKS = 256, 64, 24
"""Columns by which rows are compared, rows of one step that are, and steps that are looked at."""


class LaterRows(Family):
    """Measure how many of the rows that are trained on after the first validation stood in it."""

    signals: ClassVar = (
        Signal(
            "later_rows", "facts of rows trained on later", cadence="once", cost="64 rows of a look, 24 times"
        ),
    )

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        self._found = self._rows = self._looks = 0

    def look(self, look: Look, record: Record) -> None:
        scene, forward = look.scene, look.window[0]
        if not scene.val or not scene.last_val or self._looks >= LOOKS:
            return
        x = forward.tensors[0] if forward.tensors else None
        if x is None or not _has_numbers(x) or x.shape[1:] != scene.val[0].x.shape[1:]:
            return
        if not self._known:
            self._known = {key for b in scene.val for key in _keys(b.x)}
        self._looks += 1
        keys = _keys(x[:ROWS])
        self._found += sum(key in self._known for key in keys)
        self._rows += len(keys)

    def close(self, scene: Scene, record: Record) -> None:
        if self._rows:
            scene.facts["trained_on_later"] = self._found / self._rows
            scene.facts["trained_on_later_rows"] = self._found


def _has_numbers(x: Tensor) -> bool:
    """Whether rows are of measured numbers: rows of codes and tokens may be equal by chance."""
    return x.dim() > 1 and x.is_floating_point() and x[0].numel() > 1


def _keys(x: Tensor) -> list[bytes]:
    """Return a key for each row that is not blank, of some of its columns."""
    flat = x.detach().reshape(len(x), -1)
    some = flat[:, :: max(1, flat.shape[1] // COLUMNS)].cpu().float().numpy()
    blank = some.max(1) == some.min(1)
    return hashes(np.ascontiguousarray(some[~blank]))
