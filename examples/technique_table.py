"""Print the table of techniques of the README, from the registry.

python examples/technique_table.py
"""

from __future__ import annotations

import trainwell.techniques  # noqa: F401
from trainwell.app.catalogue import entries, ranges


def table() -> str:
    rows = ["| name | site | treats | range |", "|---|---|---|---|"]
    for e in entries():
        span = ranges(e).replace("|", " or ")
        treats = ", ".join(e["treats"]).replace("_", " ") or "-"
        rows.append(f"| {e['name']} | {', '.join(e['sites']) or e['role']} | {treats} | {span} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(table(), end="")
