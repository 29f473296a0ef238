"""What is begun when a library comes, and what the library notices of it: nothing."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

from trainwell.app.awaited import Awaited

NAME = "trainwell_awaited_example"


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder where a library of NAME can be written."""
    monkeypatch.syspath_prepend(str(tmp_path))
    meta_path = list(sys.meta_path)
    yield tmp_path / f"{NAME}.py"
    sys.modules.pop(NAME, None)
    sys.meta_path[:] = meta_path
    gc.unfreeze()


def test_begins_once_when_the_library_is_there(library: Path) -> None:
    library.write_text("import gc\nwhile_imported = gc.isenabled()\n")
    seen: list[bool] = []
    awaited = Awaited(NAME, lambda: seen.append(hasattr(sys.modules[NAME], "while_imported")))
    awaited.start()
    importlib.import_module("json")
    assert not seen
    module = importlib.import_module(NAME)
    assert not module.while_imported
    importlib.reload(module)
    assert seen == [True]
    assert gc.isenabled()
    assert awaited not in sys.meta_path
    assert module.__spec__ is not None
    assert isinstance(module.__spec__.loader, SourceFileLoader)
    assert module.__loader__ is module.__spec__.loader


def test_begins_at_once_with_a_library_that_is_there() -> None:
    seen: list[int] = []
    Awaited("json", lambda: seen.append(1)).start()
    assert seen == [1]


def test_a_failed_import_may_be_tried_again(library: Path) -> None:
    seen: list[int] = []
    awaited = Awaited(NAME, lambda: seen.append(1))
    awaited.start()
    with pytest.raises(ModuleNotFoundError, match=NAME):
        importlib.import_module(NAME)
    library.write_text("raise RuntimeError('not yet')\n")
    importlib.invalidate_caches()
    with pytest.raises(RuntimeError, match="not yet"):
        importlib.import_module(NAME)
    assert not seen
    assert gc.isenabled()
    library.write_text("value = 3  # of another length\n")
    importlib.invalidate_caches()
    assert importlib.import_module(NAME).value == 3
    assert seen == [1]


def test_collections_that_were_off_stay_off(library: Path) -> None:
    library.write_text("")
    Awaited(NAME, lambda: None).start()
    gc.disable()
    try:
        importlib.import_module(NAME)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_nothing_is_begun_after_the_end(library: Path) -> None:
    library.write_text("")
    seen: list[int] = []
    awaited = Awaited(NAME, lambda: seen.append(1))
    awaited.start()
    awaited.stop()
    importlib.import_module(NAME)
    assert not seen
