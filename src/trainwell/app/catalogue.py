"""The list of techniques as people and programs read it; needs no torch."""

from __future__ import annotations

import inspect
import itertools
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainwell.values.dose import Dose
from trainwell.values.technique import KIND_WORDS, REGISTRY, Technique, technique

Entry = Mapping[str, Any]
ROLES = ("technique", "optimizer", "schedule")
HEAD = ("name", "site", "treats", "doses [range]", "source")
WIDTH = 110
"""Columns of a line in a pipe."""
LEAST = 21
"""Columns of the longest name of an ailment or dose."""


def entries(name: str | None = None) -> list[dict[str, Any]]:
    """Return one plain entry per technique, by role and name; that of `name` alone if it is given."""
    if name is not None:
        return [_entry(technique(name, "techniques"))]
    return [_entry(k) for _, _, k in sorted((ROLES.index(k.role), n, k) for n, k in REGISTRY.items())]


def _entry(kind: type[Technique]) -> dict[str, Any]:
    doc = inspect.cleandoc(kind.__doc__ or "")
    source = re.search(r"^Source:\s*(.+?)(?:\n\n|\Z)", doc, re.DOTALL | re.MULTILINE)
    return {
        "name": kind.name,
        "role": kind.role,
        "sites": list(kind.sites()),
        "kinds": list(kind.kinds),
        "treats": list(kind.treats),
        "summary": doc.partition("\n")[0],
        "doses": {field: _dose(spec) for field, spec in kind.doses().items()},
        "source": " ".join(source[1].split()) if source else "",
        "doc": doc,
    }


def _dose(spec: Dose) -> dict[str, Any]:
    if spec.options:
        return {"default": spec.default, "options": list(spec.options), "off": spec.off, "unit": spec.unit}
    return {k: getattr(spec, k) for k in ("default", "low", "high", "log", "off", "unit", "integer")}


def ranges(entry: Entry) -> str:
    """Return the doses of an entry as `rate=0.1 [0.01, 0.9]`, the default before its range."""
    return "; ".join(_range(field, spec) for field, spec in entry["doses"].items())


def _range(field: str, spec: Mapping[str, Any]) -> str:
    if "options" in spec:
        return f"{field}={spec['default']} ({'|'.join(spec['options'])})"
    return f"{field}={spec['default']:g} [{spec['low']:g}, {spec['high']:g}]"


def table(found: Sequence[Entry], width: int = WIDTH) -> Iterator[str]:
    """Yield the entries as columns: name, site, what it treats, doses with range; long cells take more lines.

    Args:
        width: columns of the whole line.
    """
    rows = [row[:4] for row in (HEAD, *map(_cells, found))]
    fixed = [max(len(row[i]) for row in rows) for i in range(2)]
    rest = width - sum(fixed) - 2 * 3
    treats = max(LEAST, rest * 2 // 5)
    widths = [*fixed, treats, max(LEAST, rest - treats)]
    for row in rows:
        cells = [_wrapped(cell, wide) for cell, wide in zip(row, widths, strict=True)]
        for line in itertools.zip_longest(*cells, fillvalue=""):
            yield "  ".join(f"{c:{w}}" for c, w in zip(line, widths, strict=True)).rstrip()


def _wrapped(cell: str, width: int) -> list[str]:
    """Return a cell in lines; doses are not broken apart where they fit."""
    lines: list[str] = []
    for part in cell.replace("|", "| ").split("; "):
        fits = lines and len(lines[-1]) + 2 + len(part) <= width
        if fits:
            lines[-1] += f"; {part}"
        else:
            lines += textwrap.wrap(part, width, break_on_hyphens=False) or [""]
    return [line.replace("| ", "|") for line in lines]


def markdown(found: Sequence[Entry]) -> str:
    """Return the entries as a table for the README."""
    rows = [HEAD, ("---",) * 5, *map(_cells, found)]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in rows)


def _cells(entry: Entry) -> tuple[str, ...]:
    site = ", ".join(entry["sites"]) or entry["role"]
    return entry["name"], site, ", ".join(entry["treats"]) or "-", ranges(entry) or "-", entry["source"]


def whole(entry: Entry) -> Iterator[str]:
    """Yield all that is known of one technique as lines."""
    kinds = " and ".join(KIND_WORDS.get(k, k) for k in entry["kinds"])
    on = f"; on {kinds}" if kinds else ""
    yield f"{entry['name']} ({entry['role']}; acts at: {', '.join(entry['sites']) or 'none'}{on})"
    yield from textwrap.indent(entry["doc"], "  ").splitlines()
    for field, spec in entry["doses"].items():
        off = "" if spec["off"] is None else f", off at {spec['off']}"
        yield f"  --with {entry['name']}:{_range(field, spec)}{off}{spec['unit'] and '  ' + spec['unit']}"
