"""A user's own loaders made ready for training: the first batch is looked at, nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainwell.data.notes import Note, info, warning
from trainwell.data.splits import stratified
from trainwell.data.target import metric_of
from trainwell.data.tensors import first_not_finite, strata_of, task_of
from trainwell.values.errors import DataError, UsageError
from trainwell.values.task import BINARY, MULTICLASS, Task

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import DataLoader


@dataclasses.dataclass(frozen=True)
class LoaderData:
    """Loaders that are ready to be trained on.

    Args:
        task: what is learned; `None` for a user's own loss on outputs of any meaning.
        parts: per part a loader that can be gone through again and again.
        fingerprint: empty; what a loader will yield is not known.
        provenance: how each part was made; plain data.
        notes: everything that was inferred or changed.
    """

    task: Task | None
    parts: dict[str, Any]
    fingerprint: str
    provenance: dict[str, Any]
    notes: tuple[Note, ...] = ()
    kind: str = "loaders"


def prepare_loaders(
    given: dict[str, Any],
    loss: Any,
    task: Task | str | None,
    metric: str | None,
    val_fraction: float,
    split_seed: int,
    batch_size: int,
) -> LoaderData:
    """Check loaders by their first batch; cut a validation part from a loader whose data set can be indexed.

    Raises:
        UsageError: a loader can be gone through once only, or no validation part can be cut.
        DataError: the first batch is not (x, y), its lengths differ, or it holds a number that is not finite.
    """
    notes: list[Note] = []
    made: dict[str, dict[str, Any]] = {n: {"source": "loader", "kind": "given"} for n in given}
    loaders = {name: _loader(part, name, batch_size) for name, part in given.items()}
    if "val" not in loaders:
        loaders["train"], loaders["val"], how = _cut(loaders["train"], val_fraction, split_seed)
        made["train"] = {"source": "loader", "kind": how, "fraction": round(1 - val_fraction, 12)}
        made["val"] = {"source": "loader", "kind": how, "fraction": val_fraction}
        notes.append(info("split", f"{val_fraction:.0%} of the data set validate, under the same transform"))
    first = {name: _first_batch(loader, name) for name, loader in loaders.items()}
    found = _task(loaders["train"], first["train"][1], loss, task, metric, notes)
    order = [n for n in ("train", "val", "test") if n in loaders]
    for name in order:
        made[name]["batches"] = len(loaders[name])
        if len(loaders[name]) == 0:
            raise DataError(f"the {name} loader has no batch.")
    provenance = {"split_seed": split_seed, "parts": {n: made[n] for n in order}}
    return LoaderData(found, {n: loaders[n] for n in order}, "", provenance, tuple(notes))


def _loader(part: Any, name: str, batch_size: int) -> Any:
    """Return a loader; a data set is wrapped in one."""
    if isinstance(part, tuple | list):
        raise UsageError(f"the {name} part is tensors and another part a loader; give both in one form.")
    if hasattr(part, "__next__") or not (hasattr(part, "__iter__") or hasattr(part, "__getitem__")):
        raise UsageError(
            f"the {name} loader is a {type(part).__name__}, which can be gone through only once. "
            "Pass a torch DataLoader or another object whose iter() begins anew."
        )
    try:
        len(part)
    except TypeError:
        raise UsageError(
            f"the {name} loader has no length; the schedule needs to know the batches of an epoch. "
            "Give its data set a __len__."
        ) from None
    if hasattr(part, "__getitem__") and not hasattr(part, "batch_size"):
        from torch.utils.data import DataLoader

        return DataLoader(part, batch_size=batch_size, shuffle=name == "train")
    return part


def _cut(loader: Any, val_fraction: float, split_seed: int) -> tuple[Any, Any, str]:
    """Make two loaders over two parts of the data set of one."""
    from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

    plain = isinstance(getattr(loader, "sampler", None), RandomSampler | SequentialSampler)
    dataset = getattr(loader, "dataset", None)
    if not isinstance(loader, DataLoader) or not plain or loader.batch_size is None or dataset is None:
        raise UsageError(
            "no validation part can be cut from this loader; pass a pair of loaders (train, val)."
        )
    labels = _labels_of(dataset)
    strata, how = strata_of(np.zeros(len(dataset), np.int64) if labels is None else labels)
    rows = stratified(strata, val_fraction, 0.0, split_seed)
    if not len(rows["val"]):
        raise DataError(f"the validation part is empty ({len(dataset)} rows, val_fraction={val_fraction:g}).")
    shuffled = isinstance(loader.sampler, RandomSampler)
    train = _like(loader, rows["train"], shuffled)
    return train, _like(loader, rows["val"], False), "random" if labels is None else how


def _like(loader: DataLoader[Any], rows: np.ndarray, shuffle: bool) -> DataLoader[Any]:
    """Return a loader over some rows that is otherwise as the given one."""
    from torch.utils.data import DataLoader, Subset

    return DataLoader(
        Subset(loader.dataset, rows.tolist()), loader.batch_size, shuffle, num_workers=loader.num_workers,
        collate_fn=loader.collate_fn, pin_memory=loader.pin_memory, timeout=loader.timeout,
        drop_last=loader.drop_last and shuffle, worker_init_fn=loader.worker_init_fn,
        persistent_workers=loader.persistent_workers, generator=loader.generator if shuffle else None,
    )  # fmt: skip


def _labels_of(dataset: Any) -> np.ndarray | None:
    """Return the class of every row where the data set keeps them, as those of torchvision do."""
    inner, indices = getattr(dataset, "dataset", None), getattr(dataset, "indices", None)
    if inner is not None and indices is not None:
        labels = _labels_of(inner)
        return None if labels is None else labels[np.asarray(indices)]
    tensors = getattr(dataset, "tensors", None)
    labels = (
        tensors[-1] if isinstance(tensors, tuple) and len(tensors) > 1 else getattr(dataset, "targets", None)
    )
    if labels is None:
        return None
    array = np.asarray(labels)
    return array if array.dtype.kind in "iu" and array.ndim == 1 and len(array) == len(dataset) else None


def _first_batch(loader: Any, name: str) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return the first batch and leave the random streams as they were."""
    import torch

    outer, own = torch.get_rng_state(), getattr(loader, "generator", None)
    kept = None if own is None else own.get_state()
    try:
        batch = next(iter(loader), None)
    finally:
        torch.set_rng_state(outer)
        if own is not None:
            own.set_state(kept)
    if batch is None:
        raise DataError(f"the {name} loader yields no batch.")
    x, y = _split(batch, name)
    for i, t in enumerate((*x, y)):
        what = "y" if i == len(x) else f"x[{i}]" if len(x) > 1 else "x"
        if not isinstance(t, torch.Tensor):
            raise DataError(f"the {name} loader: {what} of a batch is {type(t).__name__}, expected a tensor.")
        if len(t) != len(y):
            raise DataError(
                f"the {name} loader: {what} of its first batch has {len(t)} rows, y has {len(y)}."
            )
        at = first_not_finite(t)
        if at is not None:
            place = f"row {at[0]}" + (f", column {at[1] if len(at) == 2 else at[1:]}" if len(at) > 1 else "")
            raise DataError(
                f"the {name} loader: {what} of its first batch is {t[at].item()} at {place} (from 0)."
            )
    return x, y


def _split(batch: Any, name: str) -> tuple[tuple[Any, ...], Any]:
    if not isinstance(batch, Sequence) or isinstance(batch, str | bytes) or len(batch) < 2:
        raise DataError(
            f"the {name} loader must yield (x, y) or (x1, x2, y), got {type(batch).__name__}. "
            "Give the DataLoader a collate_fn that returns a tuple."
        )
    *x, y = batch
    return (tuple(x[0]) if len(x) == 1 and isinstance(x[0], list | tuple) else tuple(x)), y


def _task(
    loader: Any, y: Tensor, loss: Any, task: Task | str | None, metric: str | None, notes: list[Note]
) -> Task | None:
    """Infer the task: classes from the labels that the data set keeps, else from the first batch."""
    import torch

    labels = _labels_of(getattr(loader, "dataset", None))
    if labels is not None and not y.is_floating_point():
        return task_of({"train": torch.from_numpy(labels.astype(np.int64))}, loss, task, metric, notes)
    if isinstance(task, Task) or y.is_floating_point() or y.ndim > 1:
        return task_of({"train": y}, loss, task, metric, notes)
    known = getattr(getattr(loader, "dataset", None), "classes", None)
    if int(y.min()) < 0:
        raise DataError(f"the train loader: y holds {int(y.min())}, but class indices begin at 0.")
    top = max(int(y.max()) + 1, len(known) if isinstance(known, Sequence) else 0, 2)
    if known is None:
        said = f"{top} classes, from the first batch alone; if there are more, pass task=Task(...)"
        notes.append(warning("classes", said))
    kind = task or (BINARY if top == 2 else MULTICLASS)
    chosen, sign = metric_of(metric, kind)
    return Task(kind, tuple(range(top)), metric=chosen, metric_sign=sign)
