"""What the README shows stays true."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_table_of_techniques_equals_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    sys.modules.pop("technique_table", None)
    from technique_table import table

    shown = (ROOT / "README.md").read_text().partition("<!-- techniques -->\n")[2]
    assert shown == table(), "run: python examples/technique_table.py and paste it into README.md"
