"""The version, of an installed trainwell and of a source tree."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from trainwell.values import version as home


def test_source_tree_that_was_not_installed_has_a_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed = home.version()

    def none(_name: str) -> str:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "version", none)
    assert home.version() == f"{installed}+source"
    monkeypatch.setattr(home, "__file__", str(tmp_path / "a" / "b" / "c" / "version.py"))
    assert home.version() == home.UNKNOWN
