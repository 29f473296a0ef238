"""Rows with equal features: which of them a random split keeps together, and what is to be said about it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from trainwell.data.cells import NUMBERS, WORDS, Cells
from trainwell.data.columns import infer
from trainwell.data.notes import Note, info
from trainwell.data.suspicion import row_hashes

BY_CHANCE = 3.0
"""So many equal rows each row would have if the columns were drawn independently: then copies are not told apart."""
DISTINCT = 10
"""Distinct rows that a class needs, if it has more rows than twice as many."""
LOOKED_AT = 20_000
"""Rows from which chance is estimated."""


def kept_together(
    columns: Mapping[str, Cells], declared: Collection[str], classes: np.ndarray, least_rows: float
) -> tuple[np.ndarray | None, list[Note]]:
    """Return the group of equal rows of each row, or None where each row is drawn by itself.

    Copies in two parts make scores too good. Where few columns of few values describe the rows, equal rows are
    different things that look alike, as the rows to come will, and keeping them together makes scores too bad.

    Args:
        columns: the features. declared: those that the user said are features.
        classes: (N,) class of each row, one number for all in regression.
        least_rows: rows of the smallest part that is cut.
    """
    columns = {n: c for n, c in columns.items() if n in declared or not _names_rows(n, c)}
    if not columns:
        return None, []
    _, group, sizes = np.unique(row_hashes(columns), return_inverse=True, return_counts=True)
    repeated = int(sizes[sizes > 1].sum())
    if not repeated:
        return None, []
    said = f"{repeated} of {len(group)} rows have the features of another row"
    if by_chance(columns) >= BY_CHANCE:
        why = "as so few values make likely: the split draws row by row"
        return None, [info("equal_rows", f"{said}, {why}")]
    why = ""
    if sizes.max() > max(2, least_rows / 2):
        why = f"{sizes.max()} of them the same, too many for one part"
    elif _few(group, classes):
        why = f"only {len(sizes)} rows are distinct, too few to keep equal ones in one part"
    if why:
        return None, [info("duplicates", f"{said}, {why}: the split draws row by row")]
    return group, [info("duplicates", f"{said}: the split keeps equal rows in one part")]


def by_chance(columns: Mapping[str, Cells]) -> float:
    """Return how many rows equal to it a row would have if the columns were independent."""
    num = len(next(iter(columns.values())))
    rows = np.linspace(0, num - 1, min(num, LOOKED_AT)).astype(np.int64)
    expected = float(num)
    for cells in columns.values():
        _, counts = np.unique(cells.values[rows], return_counts=True, equal_nan=True)
        expected *= float((counts * (counts - 1)).sum()) / max(1, len(rows) * (len(rows) - 1))
    return expected


def _names_rows(name: str, cells: Cells) -> bool:
    """Whether the column only names or numbers the rows, or holds prose: it is no feature and hides copies."""
    if cells.form == NUMBERS:
        known = cells.values[~np.isnan(cells.values)]
        if not (known == np.floor(known)).all():
            return False
    elif cells.form != WORDS or len(cells.words) < len(cells) / 2:
        return False
    return not infer(name, cells, np.arange(len(cells)), "").is_feature


def _few(group: np.ndarray, classes: np.ndarray) -> bool:
    """Whether some class is made of few distinct rows that repeat."""
    _, label = np.unique(classes, return_inverse=True)
    rows = np.bincount(label)
    _, first = np.unique(group * np.int64(len(rows)) + label, return_index=True)
    distinct = np.bincount(label[first], minlength=len(rows))
    return bool(((distinct < DISTINCT) & (rows > 2 * distinct)).any())
