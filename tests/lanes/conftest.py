"""Fixtures of the lanes' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trainwell.values import native


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[Callable[[str], None]]:
    """Return what sets another compiler, with a cache of the tests' own."""

    def use(command: str) -> None:
        monkeypatch.setenv("CC", command)
        monkeypatch.setenv("TRAINWELL_CACHE", str(cache))
        native.load.cache_clear()

    yield use
    native.load.cache_clear()
