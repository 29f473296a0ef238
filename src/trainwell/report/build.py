"""From a folder to its report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainwell.report.page import page
from trainwell.report.saved import Saved, read_saved
from trainwell.report.section import load_sections


def report_html(path: Path, catalogue: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """Return the report of a folder as one HTML page.

    Args:
        path: of a run, or of what the watcher wrote.
        catalogue: what is known of each technique by name.
    """
    return html_of(read_saved(path, catalogue))


def html_of(saved: Saved, *, refresh: str = "") -> str:
    """Return the report of what was read."""
    found = [(kind.name, kind.title, list(kind().blocks(saved))) for kind in load_sections()]
    return page(saved.path.name, [s for s in found if s[2]], lead(saved), refresh=refresh)


def lead(saved: Saved) -> str:
    """Return what was trained on what, in one line."""
    data, recipe, script = saved.part("data"), saved.part("recipe"), saved.part("script")
    source = (data.get("source") or {}).get("data")
    parts = []
    if recipe:
        parts.append(
            f"{(recipe.get('model') or {}).get('family', 'model')} on {source or data.get('kind', 'data')}"
        )
    elif script:
        parts.append(f"watched script {script.get('script')}")
    told = saved.part("evidence")
    if told and not recipe:
        parts.append(f"trial on {told.get('data') or 'data'}")
    if saved.part("tuning") or saved.study:
        parts.append(f"search of {len(_parameters(saved))} parameters")
    started = str(saved.part("environment").get("time", ""))[:16].replace("T", " ")
    return ", ".join([*parts, *([started] if started else [])])


def _parameters(saved: Saved) -> list[Any]:
    space = next((e.get("space") or {} for e in saved.study if e.get("event") == "study"), {})
    return list(space.get("parameters") or ())
