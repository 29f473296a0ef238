"""Tensors and loaders: taken as they are, checked before the first step, split where nothing is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, random_split

from trainwell.data import LoaderData, TensorData, prepare_tensors
from trainwell.values.errors import DataError, TrainwellError, UsageError
from trainwell.values.task import Task


def xy(rows: int = 100, classes: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 5, generator=generator)
    return x, torch.arange(rows) % classes


def refused(error: type[TrainwellError], data: Any, **kwargs: Any) -> str:
    with pytest.raises(error) as found:
        prepare_tensors(data, **kwargs)
    return str(found.value)


def test_validation_part_is_cut_and_stratified() -> None:
    x, y = xy()
    data = prepare_tensors((x, y))
    assert isinstance(data, TensorData)
    assert data.kind == "tensors"
    assert [len(p[1]) for p in data.parts.values()] == [85, 15]
    assert data.parts["val"][1].bincount().tolist() == [5, 5, 5]
    for part, rows in data.rows.items():
        assert torch.equal(data.parts[part][0][0], x[rows])
    assert data.provenance["parts"]["val"]["kind"] == "random, stratified by class"
    three = prepare_tensors((x, y), test_fraction=0.2)
    assert [len(p[1]) for p in three.parts.values()] == [65, 15, 20]


def test_forms_of_the_same_data_agree() -> None:
    x, y = xy()
    first = prepare_tensors((x, y))
    forms = [
        (x.numpy(), y.numpy()),
        [x, y],
        TensorDataset(x, y),
        (x, y.int()),
        (x, y[:, None]),
        (x, y.tolist()),
    ]
    for form in forms:
        other = prepare_tensors(form)
        assert other.fingerprint == first.fingerprint
        assert other.task == first.task
    assert prepare_tensors((x, y), split_seed=1).fingerprint != first.fingerprint
    x[3, 2] += 1
    assert prepare_tensors((x, y)).fingerprint != first.fingerprint


def test_pairs_triples_mappings_and_options_name_the_parts() -> None:
    train, val, test = xy(60), xy(30, seed=1), xy(20, seed=2)
    forms: list[tuple[Any, dict[str, Any]]] = [
        ((train, val, test), {}), ((train, val), {"test": test}), (train, {"val": val, "test": test}),
        ({"train": train, "val": val, "test": test}, {}),
    ]  # fmt: skip
    for data, options in forms:
        found = prepare_tensors(data, **options)
        assert {n: len(p[1]) for n, p in found.parts.items()} == {"train": 60, "val": 30, "test": 20}
    halves = prepare_tensors(random_split(TensorDataset(*xy()), [80, 20]))
    assert [len(p[1]) for p in halves.parts.values()] == [80, 20]
    assert "given twice" in refused(UsageError, (train, val), val=val)
    assert "keys train, val and test" in refused(UsageError, {"train": train, "valid": val})


def test_several_inputs_are_a_tuple() -> None:
    x, y = xy()
    data = prepare_tensors(((x, x.long()), y))
    assert [t.dtype for t in data.parts["train"][0]] == [torch.float32, torch.int64]


def test_numpy_floats_become_float32_and_tensors_stay() -> None:
    x, y = xy()
    data = prepare_tensors((x.double().numpy(), y.numpy()))
    assert data.parts["train"][0][0].dtype == torch.float32
    assert any(n.code == "dtype" for n in data.notes)
    assert prepare_tensors((x.double(), y)).parts["train"][0][0].dtype == torch.float64
    images = prepare_tensors((torch.zeros(40, 1, 8, 8, dtype=torch.uint8), y[:40]))
    assert images.parts["train"][0][0].dtype == torch.uint8


@pytest.mark.parametrize(
    ("y", "loss", "kind"),
    [
        (torch.arange(40) % 2, None, "binary"),
        (torch.arange(40) % 4, nn.CrossEntropyLoss(), "multiclass"),
        (torch.arange(40) % 2 == 0, None, "binary"),
        (torch.linspace(0, 1, 40), None, "regression"),
        (torch.linspace(0, 1, 40), nn.MSELoss(), "regression"),
        (torch.linspace(0, 1, 40), nn.functional.l1_loss, "regression"),
        (torch.linspace(0, 1, 40), nn.BCEWithLogitsLoss(), None),
        (torch.zeros(40, 3, dtype=torch.long), nn.CrossEntropyLoss(), None),
        (torch.randn(40, 2, 2), lambda a, b: ((a - b) ** 2).mean(), None),
    ],
)  # fmt: skip
def test_task_is_inferred_from_target_and_loss(y: torch.Tensor, loss: Any, kind: str | None) -> None:
    data = prepare_tensors((torch.randn(40, 3), y), loss=loss)
    assert (data.task.kind if data.task else None) == kind
    if loss is not None:
        assert data.parts["train"][1].shape[1:] == y.shape[1:]
    elif kind == "regression":
        assert data.parts["train"][1].ndim == 2
    assert torch.equal(
        data.parts["val"][1].reshape(-1), y[data.rows["val"]].to(data.parts["val"][1].dtype).reshape(-1)
    )


def test_task_that_was_asked_for_is_kept_and_checked() -> None:
    x, y = xy()
    own = Task("multiclass", tuple(range(10)))
    assert prepare_tensors((x, y), task=own).task is own
    assert prepare_tensors((x, y), task="regression").parts["train"][1].dtype == torch.float32
    assert prepare_tensors((x, y.float()), task="multiclass").parts["train"][1].dtype == torch.int64
    assert "goes up to 2" in refused(DataError, (x, y), task="binary")
    assert "expected a class index" in refused(DataError, (x, x[:, 0]), task="binary")
    assert "Did you mean 'binary'" in refused(UsageError, (x, y), task="binry")


def spoiled(row: int, column: int, value: float) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = xy()
    x[row, column] = value
    return x, y


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (spoiled(7, 2, float("nan")), "the train part: x is nan at row 7, column 2 (from 0)"),
        (spoiled(7, 2, float("inf")), "x is inf at row 7, column 2"),
        ((xy(), spoiled(3, 0, float("nan"))), "the val part: x is nan at row 3, column 0"),
        (((xy()[0], spoiled(7, 2, float("nan"))[0]), xy()[1]), "x[1] is nan at row 7"),
        ((torch.randn(3, 2), torch.tensor([0.0, float("nan"), 1.0])), "y is nan at row 1 (from 0)"),
        ((torch.randn(3, 2), torch.tensor([0, 1])), "x has shape (3, 2), y (2,)"),
        ((torch.randn(0, 2), torch.zeros(0)), "is empty"),
        ((torch.randn(4, 2), torch.tensor([-1, 1, 1, -1])), "y is -1 at row 0 (from 0), but class indices begin at 0"),
        ((torch.randn(4, 2), torch.tensor([1, 1, 1, 1])), "one class only, 1"),
        ((torch.randn(4, 2), torch.ones(4)), "one value only, 1"),
        ((np.zeros((4, 2)), np.array(["a", "b", "a", "b"])), "y holds <U1 values"),
        ((np.array([["a"], ["b"]]), np.array([0, 1])), "x holds <U1 values"),
    ],
)  # fmt: skip
def test_bad_tensors_are_refused_with_row_and_column(data: Any, said: str) -> None:
    assert said in refused(DataError, data)


def test_first_bad_number_is_found_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainwell.data.tensors.CHECK_BYTES", 64)
    assert "row 77, column 4" in refused(DataError, spoiled(77, 4, float("nan")))


def test_targets_of_a_strange_scale_and_unseen_classes_are_said() -> None:
    x, y = xy()
    assert any(n.code == "scale" for n in prepare_tensors((x, 1e5 * x[:, 0])).notes)
    assert not any(n.code == "scale" for n in prepare_tensors((x, x[:, 0])).notes)
    (note,) = (n for n in prepare_tensors(((x, y), (x, y + 1))).notes if n.code == "unseen_class")
    assert "class 3 " in note.message


def test_empty_validation_part_is_refused() -> None:
    assert "the validation part is empty" in refused(DataError, xy(), val_fraction=0)


class Rows(Dataset[Any]):
    def __init__(self, rows: int = 50) -> None:
        self.x, self.y = xy(rows)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.x[index], int(self.y[index])


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(Rows(8)[i] for i in range(8))


def test_loaders_are_taken_as_they_are() -> None:
    train, val = DataLoader(TensorDataset(*xy()), 16, shuffle=True), DataLoader(TensorDataset(*xy(30)), 16)
    data = prepare_tensors((train, val))
    assert isinstance(data, LoaderData)
    assert data.kind == "loaders"
    assert (data.parts["train"], data.parts["val"]) == (train, val)
    assert data.task == Task("multiclass", (0, 1, 2), (34, 33, 33))
    assert data.provenance["parts"]["train"] == {"source": "loader", "kind": "given", "batches": 7}


def test_looking_at_a_loader_leaves_the_random_streams_alone() -> None:
    def order(loader: Any) -> list[Any]:
        return [b[1].tolist() for b in loader]

    for own in (None, torch.Generator()):
        orders = []
        for look in (False, True):
            torch.manual_seed(0)
            if own is not None:
                own.manual_seed(1)
            loader = DataLoader(Rows(), 8, shuffle=True, generator=own)
            if look:
                prepare_tensors((loader, DataLoader(Rows(), 8)))
            orders.append(order(loader))
        assert orders[0] == orders[1]


def test_one_loader_is_cut_in_two() -> None:
    data = prepare_tensors(DataLoader(TensorDataset(*xy()), 16, shuffle=True))
    train, val = data.parts["train"], data.parts["val"]
    assert (len(train.dataset), len(val.dataset)) == (85, 15)
    assert torch.cat([y for _, y in val]).bincount().tolist() == [5, 5, 5]
    assert not set(train.dataset.indices) & set(val.dataset.indices)
    assert any(n.code == "split" for n in data.notes)


def test_data_sets_are_wrapped_in_loaders() -> None:
    data = prepare_tensors((Rows(), Rows(20)), batch_size=10)
    assert [len(p) for p in data.parts.values()] == [5, 2]
    assert data.task.kind == "multiclass"
    assert any(n.code == "classes" for n in data.notes)


class Yields:
    """A loader of fixed batches."""

    def __init__(self, *batches: Any) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


GOOD = Yields(xy(8))


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        ((iter(GOOD), GOOD), UsageError, "gone through only once"),
        (GOOD, UsageError, "pass a pair of loaders (train, val)"),
        (DataLoader(Stream(), 4), UsageError, "has no length"),
        ((GOOD, xy()), UsageError, "give both in one form"),
        ((Yields(), GOOD), DataError, "yields no batch"),
        ((Yields({"x": 1}), GOOD), DataError, "must yield (x, y) or (x1, x2, y), got dict"),
        ((Yields((torch.zeros(2, 1),)), GOOD), DataError, "must yield (x, y)"),
        ((Yields((torch.zeros(2, 1), [0, 1])), GOOD), DataError, "y of a batch is list, expected a tensor"),
        ((Yields((torch.zeros(2, 1), torch.zeros(3))), GOOD), DataError, "x of its first batch has 2 rows, y has 3"),
        ((Yields(spoiled(7, 2, float("nan"))), GOOD), DataError, "x of its first batch is nan at row 7, column 2"),
        ((GOOD, Yields(spoiled(7, 2, float("nan")))), DataError, "the val loader: x of its first batch is nan"),
        ((Yields((torch.zeros(2, 1), torch.tensor([-1, 1]))), GOOD), DataError, "class indices begin at 0"),
    ],
)  # fmt: skip
def test_bad_loaders_are_refused(data: Any, error: type[TrainwellError], said: str) -> None:
    assert said in refused(error, data)
