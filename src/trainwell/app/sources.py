"""Turns whatever a user passes to `fit` into tensors (or loaders), a task and what is known about both."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainwell.app.given import tidy
from trainwell.values.errors import DataError, RunError, UsageError, did_you_mean
from trainwell.values.journal import to_plain
from trainwell.values.recipe import ALSO_CALLED, Recipe
from trainwell.values.runfolder import RunFolder
from trainwell.values.task import InputSpec, Task

if TYPE_CHECKING:
    import torch

    from trainwell.data import TableData
    from trainwell.data.samples import SampleData
    from trainwell.engine.feed import XY


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Data that are ready for the engine.

    Args:
        kind: `table`, `tensors`, `loaders`, or the name of a kind in `data/samples`.
        task: what is learned; `None` for a user's own loss on outputs of any shape.
        parts: train, val, test: tensors (x tuple, y) or loaders; a part may be missing.
        table: the prepared table, with transform, notes and raw frames; `None` for other kinds.
        samples: what a kind of `data/samples` made ready, with its transform; `None` for others.
        source: how to have the data again, plain data for the run folder.
        fingerprint: hash of the content and the split.
    """

    kind: str
    task: Task | None
    parts: Mapping[str, Any]
    table: TableData | None = None
    source: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fingerprint: str = ""
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[Any, ...] = ()
    samples: SampleData | None = None

    @property
    def inputs(self) -> InputSpec | None:
        """The shape of a row, from which a family of ours can build a model."""
        if self.table is not None:
            return self.table.spec
        if self.samples is not None:
            return self.samples.spec
        if self.kind == "tensors":
            x = self.parts["train"][0]
            if len(x) == 1 and x[0].ndim == 2 and x[0].is_floating_point():
                return InputSpec(num_numeric=x[0].shape[1])
        return None

    @property
    def num_rows(self) -> int:
        """Rows of the training part; 0 when a loader does not say."""
        return self.rows_of("train")

    def rows_of(self, name: str) -> int:
        """Return the rows of a part; 0 where there is none, or a loader does not say."""
        part = self.parts.get(name)
        return len(part[1]) if isinstance(part, tuple) else len(getattr(part, "dataset", ()))

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns of x[0]."""
        if self.table is None:
            return ()
        numbers, onehot, _ = self.table.transform.feature_names()
        return (*numbers, *onehot)

    @property
    def transform(self) -> Any:
        made = self.table or self.samples
        return made.transform if made is not None else None


def is_table(data: Any) -> bool:
    """Whether the data are a file or a frame, or a pair of features and target that are not tensors."""
    if isinstance(data, str | Path) or hasattr(data, "columns"):
        return True
    if not (isinstance(data, tuple) and len(data) == 2) or isinstance(data[0], tuple | list):
        return False
    if hasattr(data[0], "columns"):
        return True
    return isinstance(data[0], np.ndarray) and data[0].ndim == 2


def prepare(
    data: Any,
    target: str | None,
    *,
    own_model: bool,
    loss: Any,
    options: Mapping[str, Any],
    device: torch.device | None = None,
) -> Prepared:
    """Prepare data of any kind.

    Args:
        data: path, frame, (X, y), tensors, a pair (train, val) of those, or loaders; what is prepared stays as it is.
        target: name of the target column of a table.
        own_model: the user brings a module, so arrays are taken as they are.
        loss: the user's own loss.
        options: `val`, `test`, `task`, `metric`, `split_seed` and the options of tables.
        device: where the features of a backbone are computed; None takes an accelerator if there is one.
    """
    if isinstance(data, Prepared):
        return data
    from trainwell.data.samples import kind_of

    data, target = tidy(data, target)

    if options.get("backbone") is not None and not own_model:
        from trainwell.app.transfer import prepare_features

        return prepare_features(data, target, options, device=device)
    found = None if own_model else kind_of(data, target, options)
    if found is not None:
        return of_samples(found[0].prepare(data, target, options), data, target, options)
    if not own_model:
        check_tree(data)
    options = _of_tables(options)
    if is_table(data) and not (own_model and not isinstance(data, str | Path) and target is None):
        return _prepare_table(data, target, options)
    return _prepare_tensors(data if own_model else _single(data), loss, options)


def same_data(
    folder: RunFolder,
    known: Mapping[str, Any],
    data: Any,
    loss: Any,
    given: Mapping[str, Any],
    *,
    own_model: bool,
    device: torch.device | None = None,
) -> Prepared:
    """Prepare the data of a run again and make sure that they are the same."""
    source = known["source"]
    again = [f"{name}=..." for name in source["again"] if name not in given]
    if again or (data is None and "data" not in source):
        words = ", ".join(["path", *["data"] * ("data" not in source), *again])
        raise RunError(f"{folder.path}: its data were passed from Python; give them again: resume({words}).")
    if data is None and not Path(source["data"]).exists():
        raise RunError(
            f"{folder.path}: the data that it was trained on are no longer at {source['data']}. Put them back there, or "
            "start a new run with `trainwell fit`."
        )
    kept = {k: tuple(v) if isinstance(v, list) else v for k, v in source["options"].items()}
    data, target = source["data"] if data is None else data, source.get("target")
    prepared = prepare(data, target, own_model=own_model, loss=loss, options={**kept, **given}, device=device)
    if prepared.fingerprint != known["fingerprint"]:
        raise DataError(
            f"{source.get('data', 'the data')}: not the data that the run was trained on (fingerprint "
            f"{prepared.fingerprint}, expected {known['fingerprint']}). Start a new run with `trainwell fit`."
        )
    return prepared


def note_shapes(error: Exception, prepared: Prepared, step: int) -> None:
    """Add to the error of a first step, of a network or a loss that does not fit, what the data are."""
    train = prepared.parts["train"]
    if not step and isinstance(train, tuple):
        x, y = (
            [f"{tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for t in ts]
            for ts in (train[0], train[1:])
        )
        error.add_note(f"trainwell: the training part has x {', '.join(x)} and y {y[0]}, rows first.")


def check_tree(data: Any) -> None:
    """Refuse a folder or archive that no kind claims, before an option is blamed.

    Raises:
        DataError: it holds nothing to learn from.
    """
    from trainwell.data.samples.tree import Tree, is_tree

    if is_tree(data):
        few = ", ".join(Tree(Path(data)).names[:5]) or "nothing"
        raise DataError(
            f"{data} holds no image, no sound and no table of them (it holds {few}); expected a folder for each class "
            "with its files, or the path of a table."
        )


def _of_tables(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options without those of other kinds.

    Raises:
        UsageError: one of those is given.
    """
    from trainwell.data import prepare_table
    from trainwell.data.samples import KINDS

    others = {
        "max_bad",
        "backbone",
        "weights",
        "allow_pickle",
        *(name for kind in KINDS.values() for name in kind.options),
        "text",
    }
    for name in others:
        if options.get(name) not in (None, (), []):
            raise UsageError(
                f"--{name.replace('_', '-')} is for images, texts and sounds; these data are none of them."
            )
    known = set(inspect.signature(prepare_table).parameters) - {"source", "target"}
    for name in options:
        if name not in known | others:
            raise UsageError(f"there is no option '{name}'.{_meant(name, known | others)}")
    return {name: value for name, value in options.items() if name not in others}


def _meant(name: str, known: set[str]) -> str:
    """Return what was perhaps meant: a field of the recipe, or the nearest option."""
    fields = {field.name for field in dataclasses.fields(Recipe)} | set(ALSO_CALLED)
    if name not in fields:
        return did_you_mean(name, known)
    field = ALSO_CALLED.get(name, name)
    return f" '{field}' is a field of the recipe: settings_={{'{field}': ...}}, or recipe=tw.Recipe({field}=...)."


def _single(data: Any) -> Any:
    """Return tensors of double precision in single precision, which the networks of ours compute in."""
    if isinstance(data, tuple):
        return tuple(map(_single, data))
    return data.float() if str(getattr(data, "dtype", "")) == "torch.float64" else data


def of_samples(made: SampleData, data: Any, target: str | None, options: Mapping[str, Any]) -> Prepared:
    """Return what a kind of `data/samples` made ready, as the engine takes it."""
    from trainwell.engine.feed import from_numpy

    parts: dict[str, XY] = {name: from_numpy(x, y) for name, (x, y) in made.parts.items()}
    source = _source(made.kind, data, target, options)
    return Prepared(
        made.kind, made.task, parts, None, source, made.fingerprint, made.provenance, made.notes, made
    )  # fmt: skip


def _source(kind: str, data: Any, target: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return how to have the data again."""
    source: dict[str, Any] = {"kind": kind, "target": target, **_kept(options)}
    if isinstance(data, str | Path):
        source["data"] = str(Path(data).resolve())
    return source


def _prepare_table(data: Any, target: str | None, options: Mapping[str, Any]) -> Prepared:
    from trainwell.data import prepare_table
    from trainwell.engine.feed import from_numpy

    table = prepare_table(data, target, **options)
    parts: dict[str, XY] = {name: from_numpy(p.x, p.y) for name, p in table.splits.items()}
    source = _source("table", data, target, options)
    return Prepared(
        "table", table.task, parts, table, source, table.fingerprint, table.provenance, table.notes
    )  # fmt: skip


def _kept(options: Mapping[str, Any]) -> dict[str, Any]:
    """Split options into those that a run folder can keep, and the names of those to be given again for a resume.

    The paths of other parts become absolute, so that a run can be resumed from anywhere.
    """
    kept: dict[str, Any] = {}
    again = []
    for key, value in options.items():
        if key in ("val", "test") and isinstance(value, str | Path):
            kept[key] = str(Path(value).resolve())
            continue
        try:
            kept[key] = to_plain(value)
        except TypeError:
            again.append(key)
    return {"options": kept, "again": again}


def _prepare_tensors(data: Any, loss: Any, options: Mapping[str, Any]) -> Prepared:
    from trainwell.data import prepare_tensors

    allowed = {"val", "test", "task", "metric", "split_seed", "val_fraction", "test_fraction"}
    for key, value in options.items():
        if key not in allowed and value not in (None, (), "warn"):
            raise UsageError(f"--{key.replace('_', '-')} is for tables; these data are tensors or loaders.")
    given = {k: v for k, v in options.items() if k in allowed and v is not None}
    found = prepare_tensors(data, loss=loss, **given)
    return Prepared(
        found.kind, found.task, found.parts, None, {"kind": found.kind, **_kept(given)}, found.fingerprint,
        found.provenance, found.notes,
    )  # fmt: skip
