"""Bring the table of techniques at the end of the README up to date, from the registry.

python examples/technique_table.py
"""

from __future__ import annotations

from pathlib import Path

import trainwell.techniques  # noqa: F401  (fills the registry)
from trainwell.app.catalogue import entries, markdown

README = Path(__file__).parents[1] / "README.md"
MARK = "<!-- techniques -->\n"


def table() -> str:
    """Return the table in Markdown."""
    return markdown(entries()) + "\n"


def with_table(readme: str) -> str:
    """Return the text of the README with the present table after its mark."""
    before, mark, _ = readme.partition(MARK)
    assert mark, f"README.md lacks the line {MARK}"
    return before + mark + table()


if __name__ == "__main__":
    README.write_text(with_table(README.read_text()))
