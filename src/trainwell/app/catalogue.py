"""The list of techniques as people and programs read it; needs no torch."""

from __future__ import annotations

import re
from typing import Any

from trainwell.values.technique import REGISTRY, Technique, technique


def entries(name: str | None = None) -> list[dict[str, Any]]:
    """Return one plain entry per technique, by name; only one if `name` is given."""
    found = [technique(name, "techniques")] if name else [REGISTRY[n] for n in sorted(REGISTRY)]
    return [_entry(t) for t in found]


def _entry(kind: type[Technique]) -> dict[str, Any]:
    doc = re.sub(r"\n    ", "\n", (kind.__doc__ or "").strip())
    source = re.search(r"Source:\s*(.+?)(?:\n\n|$)", doc, re.DOTALL)
    return {
        "name": kind.name,
        "role": kind.role,
        "sites": list(kind.sites()),
        "treats": list(kind.treats),
        "summary": doc.split("\n")[0],
        "doses": {k: _dose(v) for k, v in kind.doses().items()},
        "source": re.sub(r"\s+", " ", source[1]).strip() if source else "",
        "doc": doc,
    }


def _dose(dose: Any) -> dict[str, Any]:
    if dose.options:
        return {"default": dose.default, "options": list(dose.options)}
    off = None if dose.off is None else float(dose.off)
    plain = str(off) if off == float("inf") else off
    return {"default": dose.default, "low": dose.low, "high": dose.high, "off": plain, "unit": dose.unit}


def text(found: list[dict[str, Any]], *, whole: bool) -> str:
    """Return the entries as lines of text, or one entry whole."""
    if whole:
        return "\n\n".join(f"{e['name']} ({', '.join(e['sites'])})\n{e['doc']}" for e in found)
    rows = [("name", "site", "treats", "range", "source")]
    for e in found:
        rows.append(
            (
                e["name"],
                ",".join(e["sites"]) or e["role"],
                ",".join(e["treats"]) or "-",
                ranges(e),
                e["source"],
            )
        )
    widths = [max(len(r[i]) for r in rows) for i in range(4)]
    lines = ["  ".join([*(c.ljust(w) for c, w in zip(r, widths, strict=False)), r[4]]) for r in rows]
    return "\n".join(line.rstrip() for line in lines)


def ranges(entry: dict[str, Any]) -> str:
    """Return the doses of an entry as `rate 0.01..0.9`."""
    parts = []
    for key, d in entry["doses"].items():
        parts.append(
            f"{key} {'|'.join(d['options'])}" if "options" in d else f"{key} {d['low']:g}..{d['high']:g}"
        )
    return "; ".join(parts) or "-"
