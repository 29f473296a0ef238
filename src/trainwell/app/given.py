"""Brings what a user passes as data into one of the forms that `prepare` reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trainwell.values.errors import DataError, UsageError

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("train", "val", "test")


def tidy(data: Any, target: Any) -> tuple[Any, str | None]:
    """Return the data and the name of the target: a frame with words for names, or what was given.

    Takes lists of dictionaries, dictionaries of columns, lazy frames of polars, tables of Arrow and lists of rows.

    Raises:
        UsageError: there are no data, or they are of a form that does not fit. DataError: two columns of one name.
    """
    name = None if target is None else str(target)
    if data is None:
        raise UsageError("data=None: expected a path, a data frame with target=, arrays (X, y) or loaders.")
    module = type(data).__module__.partition(".")[0]
    if module == "polars" and hasattr(data, "collect"):
        return data.collect(), name
    if module == "pyarrow" and hasattr(data, "to_pandas"):
        return _named(data.to_pandas()), name
    if module == "pandas" and hasattr(data, "columns"):
        return _named(data), name
    if isinstance(data, np.ndarray) and data.ndim == 2 and name is not None:
        columns = {f"x{i}": data[:, i] for i in range(data.shape[1])}
        return _frame(columns), f"x{name}" if name.isdigit() else name
    if isinstance(data, Mapping) and name is not None and not set(data) <= set(PARTS):
        return _frame(data), name
    if isinstance(data, list) and data and all(isinstance(row, Mapping) for row in data):
        return _frame(data), name
    return _arrays(data), name


def _arrays(data: Any) -> Any:
    """Return (X, y) as arrays where X is a list of rows of numbers or words."""
    if not isinstance(data, tuple) or len(data) != 2:
        return data
    rows = data[0]
    if hasattr(rows, "toarray"):
        raise UsageError("a sparse matrix is no table; pass X.toarray() if it fits into memory.")
    flat = isinstance(rows, list) and rows and isinstance(rows[0], list | tuple) and len(rows[0]) > 0
    if not flat or not np.isscalar(rows[0][0]):
        return data
    widths = {len(row) for row in rows}
    if len(widths) > 1:
        raise DataError(
            f"the rows of X have {min(widths)} to {max(widths)} fields; expected one number of fields."
        )
    mixed = any(isinstance(value, str) for value in rows[0])
    return np.array(rows, object if mixed else None), np.asarray(data[1])


def _frame(columns: Any) -> pd.DataFrame:
    import pandas as pd

    try:
        return _named(pd.DataFrame(columns))
    except ValueError as error:
        raise DataError(f"the columns do not make a table: {error}.") from None


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with words for the names of its columns."""
    names = [str(name) for name in frame.columns]
    double = (
        next((n for i, n in enumerate(names) if n in names[:i]), None)
        if len(set(names)) < len(names)
        else None
    )
    if double is not None:
        raise DataError(f"the data frame: two columns are called '{double}'. Rename one of them.")
    return frame if names == list(frame.columns) else frame.set_axis(names, axis=1)
