"""Data of every kind, made ready for training: read, checked, split, transformed, fingerprinted.

The names are looked up when they are first used, so that tensors do without pandas and tables without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainwell.data.loaders import LoaderData as LoaderData
    from trainwell.data.notes import Note as Note
    from trainwell.data.prepare import prepare_table as prepare_table
    from trainwell.data.read import Table as Table
    from trainwell.data.read import read_table as read_table
    from trainwell.data.table import Part as Part
    from trainwell.data.table import TableData as TableData
    from trainwell.data.table import column_rows as column_rows
    from trainwell.data.table import describe as describe
    from trainwell.data.table import load_part as load_part
    from trainwell.data.tensors import TensorData as TensorData
    from trainwell.data.tensors import prepare_tensors as prepare_tensors
    from trainwell.data.transform import TableTransform as TableTransform

_WHERE = {
    "Note": "notes", "prepare_table": "prepare", "Table": "read", "read_table": "read", "Part": "table",
    "TableData": "table", "column_rows": "table", "load_part": "table", "TableTransform": "transform",
    "describe": "table", "TensorData": "tensors", "prepare_tensors": "tensors", "LoaderData": "loaders",
}  # fmt: skip
__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
