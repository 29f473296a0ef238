"""Arrays, tensors and loaders made ready for training: checked, split where no part is given, hashed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trainwell.data.fingerprint import fingerprint
from trainwell.data.notes import Note, info, warning
from trainwell.data.splits import check_fractions, quantile_strata, stratified
from trainwell.data.target import metric_of
from trainwell.values.errors import DataError, UsageError, did_you_mean
from trainwell.values.task import BINARY, KINDS, MULTICLASS, REGRESSION, Task

if TYPE_CHECKING:
    from torch import Tensor

    XY = tuple[tuple[Tensor, ...], Tensor]

CHECK_BYTES = 64 << 20
"""Non-finite numbers are looked for in blocks of this size, so that the mask stays small."""
FIT_LOSSES = frozenset({
    "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss",
})  # fmt: skip
"""Losses under which numbers are a regression target; under another the outputs may mean anything."""


@dataclasses.dataclass(frozen=True)
class TensorData:
    """Tensors in memory that are ready to be trained on.

    Args:
        task: what is learned; `None` for a user's own loss on outputs of any meaning.
        parts: per part the inputs, a tuple of (N, ...), and the target, (N, ...).
        rows: per part the positions of its rows in what was given.
        fingerprint: a hash of shapes, dtypes, values and parts.
        provenance: how each part was made; plain data.
        notes: everything that was inferred or changed.
    """

    task: Task | None
    parts: dict[str, XY]
    rows: dict[str, np.ndarray]
    fingerprint: str
    provenance: dict[str, Any]
    notes: tuple[Note, ...] = ()
    kind: str = "tensors"


def prepare_tensors(
    data: Any,
    *,
    loss: Any = None,
    val: Any = None,
    test: Any = None,
    task: Task | str | None = None,
    metric: str | None = None,
    val_fraction: float = 0.15,
    test_fraction: float = 0.0,
    split_seed: int = 0,
    batch_size: int = 32,
) -> Any:
    """Check arrays, tensors, data sets or loaders, and cut a validation part where none is given.

    Values stay as they are, but float64 arrays of numpy become float32, and whole numbers of a target int64.

    Args:
        data: (x, y), where x may be a tuple of inputs; a pair (train, val) or triple with test of those; a
            torch data set or loader of (x, y), or a pair of them.
        loss: the user's own loss; decides whether a target of numbers is a regression.
        val, test: further parts, as `data`.
        task: a task or its kind; inferred when `None`.
        batch_size: for data sets that are no tensors.
    Returns: TensorData, or LoaderData for loaders.
    Raises:
        UsageError: the data are of no kind that is known.
        DataError: lengths differ, a number is not finite, or the target does not fit the task.
    """
    check_fractions(val_fraction, test_fraction)
    given = _parts_of(data, val, test)
    if any(_is_loader(part) for part in given.values()):
        from trainwell.data.loaders import prepare_loaders

        return prepare_loaders(given, loss, task, metric, val_fraction, split_seed, batch_size)
    notes: list[Note] = []
    tensors = {name: _as_tensors(part, name, notes) for name, part in given.items()}
    for name, (x, y) in tensors.items():
        _check_finite(x, y, name)
    rows = {name: np.arange(len(y)) for name, (_, y) in tensors.items()}
    made: dict[str, dict[str, Any]] = {n: {"source": "tensors", "kind": "given"} for n in tensors}
    if "val" not in tensors:
        shares = {"val": val_fraction, "test": 0.0 if "test" in tensors else test_fraction}
        _cut(tensors, rows, made, shares, split_seed)
    found = task_of({n: y for n, (_, y) in tensors.items()}, loss, task, metric, notes)
    tensors = {n: (x, _fitted_target(y, found, loss)) for n, (x, y) in tensors.items()}
    order = [n for n in ("train", "val", "test") if n in tensors]
    provenance = {"split_seed": split_seed, "parts": {n: {**made[n], "rows": len(rows[n])} for n in order}}
    arrays = {f"{n} {i}": _bytes_of(t) for n in order for i, t in enumerate((*tensors[n][0], tensors[n][1]))}
    shapes = {k: list(t.shape) for k, t in arrays.items()}
    return TensorData(
        found, {n: tensors[n] for n in order}, {n: rows[n] for n in order}, fingerprint(shapes, {}, arrays),
        provenance, tuple(notes),
    )  # fmt: skip


def _parts_of(data: Any, val: Any, test: Any) -> dict[str, Any]:
    """Tell (x, y) from (train, val) and (train, val, test): a target is never a tuple."""
    given: dict[str, Any] = {"train": data}
    if isinstance(data, Mapping):
        unknown = set(data) - {"train", "val", "test"}
        if "train" not in data or unknown:
            raise UsageError(
                f"a mapping of parts has the keys train, val and test, got {', '.join(map(str, data))}."
            )
        given = dict(data)
    elif isinstance(data, tuple | list) and len(data) in (2, 3) and all(_is_part(d) for d in data):
        given = dict(zip(("train", "val", "test"), data, strict=False))
    for name, part in (("val", val), ("test", test)):
        if part is not None and given.get(name) is not None:
            raise UsageError(f"the {name} part is given twice: in the data and as {name}=.")
        given[name] = given.get(name) if part is None else part
    return {name: part for name, part in given.items() if part is not None}


def _is_part(data: Any) -> bool:
    if isinstance(data, tuple | list):
        return len(data) == 2 and hasattr(data[1], "__array__")
    return _is_loader(data) or bool(_tensors_of_dataset(data))


def _is_loader(data: Any) -> bool:
    """Whether the data come in batches or one by one, rather than whole."""
    if hasattr(data, "__array__") or isinstance(data, tuple | list | str | bytes | Mapping):
        return False
    return not _tensors_of_dataset(data) and (hasattr(data, "__iter__") or hasattr(data, "__getitem__"))


def _tensors_of_dataset(data: Any) -> tuple[Tensor, ...]:
    """Return the tensors of a TensorDataset or of a Subset of one, or an empty tuple."""
    tensors = getattr(data, "tensors", None)
    if isinstance(tensors, tuple) and len(tensors) > 1:
        return tensors
    inner, indices = getattr(data, "dataset", None), getattr(data, "indices", None)
    if inner is None or indices is None:
        return ()
    return tuple(t[list(indices)] for t in _tensors_of_dataset(inner))


def _as_tensors(part: Any, name: str, notes: list[Note]) -> XY:
    """Return one part as tensors of one length."""
    tensors = _tensors_of_dataset(part)
    x, y = (tensors[:-1], tensors[-1]) if tensors else _xy(part, name)
    inputs = tuple(_tensor(t, f"x[{i}]" if len(x) > 1 else "x", name, notes) for i, t in enumerate(x))
    target = _tensor(y, "y", name, notes)
    if target.ndim == 2 and target.shape[1] == 1 and not target.is_floating_point():
        notes.append(
            info("target", f"y of the {name} part is made one-dimensional: whole numbers are classes")
        )
        target = target[:, 0]
    for i, t in enumerate(inputs):
        if t.ndim == 0 or target.ndim == 0 or len(t) != len(target):
            what = f"x[{i}]" if len(inputs) > 1 else "x"
            shapes = f"{what} has shape {tuple(t.shape)}, y {tuple(target.shape)}"
            raise DataError(f"the {name} part: {shapes}. Their first axes, the rows, must agree.")
    if not len(target):
        raise DataError(f"the {name} part is empty: it has 0 rows.")
    return inputs, target.long() if not target.is_floating_point() else target


def _xy(part: Any, name: str) -> tuple[tuple[Any, ...], Any]:
    if not isinstance(part, tuple | list) or len(part) != 2:
        raise UsageError(
            f"the {name} part must be (x, y), a torch data set or a loader of (x, y), got "
            f"{type(part).__name__}."
        )
    x, y = part
    return (tuple(x), y) if isinstance(x, tuple | list) and x and hasattr(x[0], "shape") else ((x,), y)


def _tensor(value: Any, what: str, name: str, notes: list[Note]) -> Tensor:
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach()
    try:
        array = value.to_numpy() if hasattr(value, "to_numpy") else np.asarray(value)
    except ValueError:
        raise DataError(
            f"the {name} part: {what} is a list of pieces of several shapes; expected one array or tensor. Batches come "
            "in a torch DataLoader."
        ) from None
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"the {name} part: {what} holds {array.dtype} values; tensors hold numbers. Encode text as "
            "class indices, "
            "or pass a data frame and the name of the target."
        )
    if array.dtype == np.float64:
        notes.append(info("dtype", f"{what} of the {name} part is read as float32"))
        array = array.astype(np.float32)
    array = array.astype(np.int64) if array.dtype.kind == "u" and array.itemsize > 1 else array
    return torch.from_numpy(np.ascontiguousarray(array))


def _check_finite(x: tuple[Tensor, ...], y: Tensor, name: str) -> None:
    named = {"y": y, **{f"x[{i}]" if len(x) > 1 else "x": t for i, t in enumerate(x)}}
    for what, t in named.items():
        at = first_not_finite(t)
        if at is not None:
            row, place = at[0], f", column {at[1] if len(at) == 2 else at[1:]}" if len(at) > 1 else ""
            raise DataError(
                f"the {name} part: {what} is {t[at].item()} at row {row}{place} (from 0). Remove the row "
                "or fill it in; "
                "tensors are taken as they are."
            )


def first_not_finite(t: Tensor) -> tuple[int, ...] | None:
    """Return the index of the first NaN or infinite number, or None."""
    if not t.is_floating_point() or not t.numel():
        return None
    rows = max(1, CHECK_BYTES // max(1, t[0].numel() * t.element_size()))
    for start in range(0, len(t), rows):
        bad = ~t[start : start + rows].isfinite()
        if bad.any():
            first = bad.nonzero()[0].tolist()
            return (first[0] + start, *first[1:])
    return None


def _cut(
    tensors: dict[str, XY],
    rows: dict[str, np.ndarray],
    made: dict[str, Any],
    shares: dict[str, float],
    seed: int,
) -> None:
    """Cut the parts that are not given from the training part, stratified by class or quantile."""
    import torch

    x, y = tensors["train"]
    strata, kind = strata_of(y.cpu().numpy())
    cut = stratified(strata, shares["val"], shares["test"], seed)
    if not len(cut["val"]):
        raise DataError(
            f"the validation part is empty ({len(y)} rows, val_fraction={shares['val']:g}). Pass (train, "
            "val), or a "
            "larger fraction: without it nothing tells when to stop."
        )
    shares = {**shares, "train": 1 - shares["val"] - shares["test"]}
    for name, kept in cut.items():
        if len(kept):
            index = torch.from_numpy(kept).to(y.device)
            tensors[name] = (tuple(t[index.to(t.device)] for t in x), y[index])
            rows[name] = kept
            made[name] = {"source": "tensors", "kind": kind, "fraction": round(shares[name], 12)}


def strata_of(y: np.ndarray) -> tuple[np.ndarray, str]:
    """Return what a random split keeps the shares of: classes, quantiles, or nothing."""
    if y.ndim == 1 and y.dtype.kind in "biu":
        return y, "random, stratified by class"
    if y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1):
        return quantile_strata(y.reshape(-1)), "random, stratified by quantile"
    return np.zeros(len(y), np.int64), "random"


def task_of(
    targets: Mapping[str, Tensor], loss: Any, task: Task | str | None, metric: str | None, notes: list[Note]
) -> Task | None:
    """Infer the task from the targets and the loss, or check the one that was asked for.

    Raises:
        UsageError: the task or metric is unknown.
        DataError: the targets do not fit.
    """
    if isinstance(task, Task):
        return task
    if task is not None and task not in KINDS:
        raise UsageError(f"task must be one of {', '.join(KINDS)}, got '{task}'.{did_you_mean(task, KINDS)}")
    y = targets["train"]
    numbers = y.is_floating_point()
    name = getattr(loss, "__name__", type(loss).__name__)
    if task is None and numbers and loss is not None and name not in FIT_LOSSES:
        notes.append(
            info("task", f"none: what the outputs mean under {name} is not known; the loss is the measure")
        )
        return None
    if task is None and not numbers and y.ndim > 1:
        notes.append(info("task", f"none: a target of shape {tuple(y.shape)} is judged by the loss alone"))
        return None
    if task == REGRESSION or (task is None and numbers):
        _warn_of_scale(y, notes)
        chosen, sign = metric_of(metric, REGRESSION)
        return Task(REGRESSION, metric=chosen, metric_sign=sign)
    return _classes(targets, task, metric, notes)


def _warn_of_scale(y: Tensor, notes: list[Note]) -> None:
    if len(y) < 2:
        return
    mean, scale = float(y.double().mean()), float(y.double().std())
    if scale == 0:
        raise DataError(f"y of the train part has one value only, {mean:g}. There is nothing to learn.")
    if abs(mean) > 10 * scale or not 0.01 <= scale <= 100:
        said = f"y has mean {mean:.3g} and standard deviation {scale:.3g}; tensors are learned as they are"
        notes.append(warning("scale", f"{said}. Standardise it, or pass a data frame"))


def _classes(targets: Mapping[str, Tensor], task: str | None, metric: str | None, notes: list[Note]) -> Task:
    """Make a classification task of class indices 0, 1, ..., or of such numbers when it was asked for."""
    top = 0
    for name, y in targets.items():
        if y.is_floating_point() and (y != y.floor()).any():
            row = int((y != y.floor()).reshape(len(y), -1).any(1).nonzero()[0])
            raise DataError(
                f"the {name} part: y is {y[row].tolist()} at row {row} (from 0), expected a class index."
            )
        low = int(y.min())
        if low < 0:
            row = int((y == low).reshape(len(y), -1).any(1).nonzero()[0])
            raise DataError(
                f"the {name} part: y is {low} at row {row} (from 0), but class indices begin at 0. "
                "Map the labels to 0, 1, ..."
            )
        top = max(top, int(y.max()))
    counts = np.bincount(targets["train"].long().reshape(-1).cpu().numpy(), minlength=top + 1)
    if (counts > 0).sum() < 2:
        only = int(counts.argmax())
        raise DataError(
            f"y of the train part has one class only, {only}. There is nothing to learn; add rows."
        )
    if task == BINARY and top > 1:
        raise DataError(f"task 'binary' needs the class indices 0 and 1, but y goes up to {top}.")
    unseen = [str(c) for c in np.flatnonzero(counts == 0)]
    if unseen:
        shown = ", ".join(unseen[:8]) + (", ..." if len(unseen) > 8 else "")
        notes.append(warning("unseen_class", f"no training row has class {shown} (classes 0 to {top})"))
    kind = task or (BINARY if top == 1 else MULTICLASS)
    chosen, sign = metric_of(metric, kind)
    found = Task(kind, tuple(range(top + 1)), tuple(counts.tolist()), metric=chosen, metric_sign=sign)
    notes.append(info("task", f"{kind} ({top + 1} classes), because y holds class indices; metric {chosen}"))
    return found


def _fitted_target(y: Tensor, task: Task | None, loss: Any) -> Tensor:
    """Give numbers a second axis, as the outputs have; a user's own loss gets the target as given."""
    if loss is None and task is not None and task.kind == REGRESSION:
        return (y if y.is_floating_point() else y.float()).reshape(len(y), -1)
    if loss is None and task is not None and y.is_floating_point():
        return y.reshape(len(y)).long()
    return y


def _bytes_of(t: Tensor) -> np.ndarray:
    """Return the bytes of a tensor of any dtype, (N, bytes of a row)."""
    import torch

    flat = t.cpu().contiguous().reshape(len(t), -1)
    return np.asarray(flat.view(torch.uint8).numpy() if flat.shape[1] else np.empty((len(t), 0), np.uint8))
