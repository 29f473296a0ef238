"""scikit-learn's X and y, read for the engine: validated its way, typed and transformed ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_array, column_or_1d, validate_data

from trainwell.data.cells import NUMBERS, OTHER, cells_of
from trainwell.data.columns import CATEGORY, NUMERIC, ColumnType, infer, typed
from trainwell.data.encoders import Encoder, OneHotColumn, fit_encoder
from trainwell.data.notes import Note, info, warning
from trainwell.data.read import Table
from trainwell.data.splits import quantile_strata, stratified
from trainwell.data.transform import TableTransform
from trainwell.values.errors import DataError, UsageError, did_you_mean

Array = npt.NDArray[Any]
MIN_VALIDATION_ROWS = 30
"""A validation part of fewer rows is not set apart. Source: benchmarks/small_validation.py: with 4 to 21 rows it made
the loss 1 to 9 % larger on average than training on all rows, with 40 rows 6 % smaller."""
MIN_CLASS_ROWS = 3
"""A class of fewer rows than this trains whole."""


class InputError(DataError, ValueError, TypeError):
    """X or y is at fault. It is a ValueError and a TypeError too, as scikit-learn's contract asks."""


@contextlib.contextmanager
def input_errors() -> Iterator[None]:
    """Turn what the data room says about the data into an InputError."""
    try:
        yield
    except InputError:
        raise
    except DataError as error:
        raise InputError(str(error)) from None


def read_table(estimator: Any, X: Any, *, reset: bool) -> Table:
    """Validate X and return its columns by name: those of the frame, or x0, x1 ...

    Args:
        reset: remember names and number of the features (in `fit`), else compare with them.
    """
    if _is_frame(X):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        frame = X.to_pandas() if hasattr(X, "to_pandas") else X
        if 0 in frame.shape:
            raise InputError(f"X must have rows and columns, got a frame of shape {frame.shape}.")
        columns = [frame.iloc[:, i] for i in range(frame.shape[1])]
    else:
        array = validate_data(
            estimator, _with_objects(X), reset=reset, dtype=None, ensure_all_finite="allow-nan"
        )
        columns = [array[:, i] for i in range(array.shape[1])]
    names = getattr(estimator, "feature_names_in_", [f"x{i}" for i in range(len(columns))])
    return Table(dict(zip(map(str, names), columns, strict=True)), "X")


def read_array(estimator: Any, X: Any, *, reset: bool) -> Array:
    """Validate X for a module of the user's and return it as float32, (N, ...)."""
    return np.asarray(validate_data(estimator, X, reset=reset, dtype=np.float32, allow_nd=True))


def _is_frame(X: Any) -> bool:
    return hasattr(X, "columns") and type(X).__module__.partition(".")[0] in ("pandas", "polars")


def _with_objects(X: Any) -> Any:
    """Keep numbers and missing cells of a list that holds words too; numpy would write them as words."""
    if isinstance(X, list | tuple) and len(X) and np.asarray(X).dtype.kind in "US":
        return np.array(X, dtype=object)
    return X


def read_numbers(y: Any) -> Array:
    """Return a regression target as float64, (N,)."""
    flat = column_or_1d(_required(y), warn=True)
    return np.asarray(check_array(flat, ensure_2d=False, dtype=np.float64, input_name="y"))


def read_labels(y: Any) -> Array:
    """Return class labels, (N,).

    Raises:
        ValueError: y holds numbers with fractions (scikit-learn's message), or a label is missing.
    """
    from sklearn.utils.multiclass import check_classification_targets

    labels = column_or_1d(_required(y), warn=True)
    if labels.dtype.kind == "O":
        gone = np.array([v is None or v != v for v in labels.tolist()], bool)
        if gone.any():
            raise InputError(
                f"y, row {int(gone.argmax())} (from 0): no label ({gone.sum()} rows). Remove them."
            )
    elif labels.dtype.kind == "f":
        check_array(labels, ensure_2d=False, input_name="y")
    check_classification_targets(labels)
    return np.asarray(labels)


def _required(y: Any) -> Any:
    if y is None:
        raise InputError("this estimator requires y to be passed, but the target y is None.")
    return y


def split_rows(target: Array, fraction: float | None, seed: int, *, classes: bool) -> tuple[Array, Array]:
    """Return the rows that train and those that choose the epoch, both ascending.

    Classes of one or two rows train whole. The second part is empty when it would be smaller than MIN_VALIDATION_ROWS.

    Args:
        target: labels, or numbers.
        fraction: share of the rows that choose, in [0, 1); None is 0.
    """
    fraction = fraction or 0.0
    if not (isinstance(fraction, int | float) and 0 <= fraction < 1):
        raise UsageError(f"validation_fraction must lie in [0, 1) or be None, got {fraction!r}.")
    everything = np.arange(len(target))
    if fraction * len(target) < MIN_VALIDATION_ROWS:
        return everything, everything[:0]
    strata = np.unique(target, return_inverse=True)[1] if classes else quantile_strata(target)
    enough = np.flatnonzero(np.bincount(strata)[strata] >= MIN_CLASS_ROWS) if classes else everything
    chosen = enough[stratified(strata[enough], fraction, 0.0, seed)["val"]]
    if len(chosen) < MIN_VALIDATION_ROWS:
        return everything, everything[:0]
    return np.setdiff1d(everything, chosen), chosen


def fit_transform(
    table: Table, rows: Array, categorical: Sequence[Any]
) -> tuple[TableTransform, tuple[Note, ...]]:
    """Infer the columns from the training rows and fit their encoders; say which are left out.

    Unlike `fit`, whole numbers that count the rows are kept: whoever passes X has chosen its columns.

    Args:
        categorical: names or positions of columns that hold categories.
    """
    declared = _declared(table, categorical)
    encoders, left_out = [], []
    for name in table.columns:
        column, encoder = _fit_column(table, name, rows, categorical=name in declared)
        if encoder is not None and encoder.fate:
            encoders.append(encoder)
        else:
            left_out.append(column)
    if not encoders:
        encoders = [_zeros(left_out)]
    return TableTransform(tuple(encoders)), _notes(left_out)


def _fit_column(
    table: Table, name: str, rows: Array, *, categorical: bool
) -> tuple[ColumnType, Encoder | None]:
    cells = cells_of(table.columns[name])
    if cells.form == OTHER:
        odd = next(
            (type(v).__name__ for v in table.columns[name] if not isinstance(v, str | float | int)),
            cells.dtype,
        )
        raise InputError(
            f"X, column '{name}': argument must be a string or a real number, not '{odd}'. Turn such a column "
            "into numbers or categories, or leave it out."
        )
    declared = CATEGORY if categorical or cells.dtype == "category" else ""
    column = infer(name, cells, rows, declared or (NUMERIC if cells.form == NUMBERS else ""))
    if not column.is_feature:
        return column, None
    return column, fit_encoder(column, typed(column, cells, table).take(rows))


def _declared(table: Table, categorical: Sequence[Any]) -> set[str]:
    """Return the names of the columns that the user calls categories."""
    names, found = list(table.columns), set()
    listed = [categorical] if isinstance(categorical, str) else categorical
    for item in listed:
        if isinstance(item, int | np.integer) and -len(names) <= item < len(names):
            found.add(names[item])
        elif item in names:
            found.add(item)
        else:
            hint = did_you_mean(str(item), names)
            raise UsageError(f"categorical: X has no column {item!r} (it has {len(names)}).{hint}")
    return found


def _zeros(left_out: Sequence[ColumnType]) -> Encoder:
    """Return an encoder that gives zeros: where X does not vary, what is learned are the means of y.

    Raises:
        InputError: there are columns that vary, and none of them can be used.
    """
    useless = [f"'{c.name}' ({c.kind})" for c in left_out if c.kind in ("text", "identifier")]
    if useless:
        raise InputError(
            f"X has no column to learn from: {', '.join(useless[:8])}. Turn text into numbers or categories, "
            "e.g. with a vectorizer in a pipeline, or name its columns in categorical=."
        )
    return OneHotColumn(ColumnType(left_out[0].name, CATEGORY), ("",), False)


def _notes(left_out: Sequence[ColumnType]) -> tuple[Note, ...]:
    notes = []
    for column in left_out:
        said = f"'{column.name}' is left out: it is {column.kind}"
        told = column.kind in ("text", "identifier")
        mend = ". Name it in categorical= to keep it" if told else ""
        notes.append((warning if told else info)("dropped", said + mend, column.name))
    return tuple(notes)
