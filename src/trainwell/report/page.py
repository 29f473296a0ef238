"""The page: one file that holds its pictures, its style and its scripts, and asks no one for anything.

Everything that comes from data goes through one template with autoescape, or as JSON into a script that is no script.
A content policy names the scripts by their hashes, so that a name with markup in it does nothing.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

from trainwell.report import words
from trainwell.report.blocks import Block, Case, Chart, Ticked
from trainwell.values.errors import UsageError

SCRIPTS = ("d3.min.js", "plot.min.js", "charts.js")
"""D3 and Observable Plot (ISC licence), then ours, which draws the charts with them."""

LONGEST = 600
"""Characters of one text from data; the rest is cut, for a cell may hold a book."""


def asset(name: str) -> str:
    """Return a file of `assets` as text."""
    return resources.files("trainwell.report").joinpath("assets", name).read_text(encoding="utf-8")


def page(
    title: str, sections: Sequence[tuple[str, str, Sequence[Block]]], lead: str = "", *, refresh: str = ""
) -> str:
    """Return a page as HTML.

    Args:
        title: of the page.
        sections: anchor, heading and blocks of each section, in their order.
        lead: a line below the title.
        refresh: where a page that a server shows asks for its successor; empty for a file.
    """
    scripts = scripts_of(live=bool(refresh))
    charts = [_json(c) for _, _, blocks in sections for c in charts_in(blocks)]
    return _template().render(
        title=title, lead=lead, sections=sections, scripts=scripts, style=asset("page.css"), charts=charts,
        policy=policy(scripts, live=bool(refresh)), refresh=refresh, counter=_Counter(),
    )  # fmt: skip


def scripts_of(*, live: bool) -> list[str]:
    """Return the scripts of a page; none may end its own element."""
    found = [asset(name) for name in (*SCRIPTS, *(("live.js",) if live else ()))]
    assert not any("</script" in s.lower() or "<!--" in s for s in found)
    return found


def policy(scripts: Sequence[str], *, live: bool = False) -> str:
    """Return the content policy: our scripts by their hashes, no address but this page's own where it is live."""
    hashes = " ".join(f"'sha256-{_digest(s)}'" for s in scripts)
    asks = "connect-src 'self'; " if live else ""
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; {asks}"
        "base-uri 'none'; form-action 'none'"
    )


def charts_in(blocks: Sequence[Block]) -> Iterator[Chart]:
    """Yield the charts in the order in which the template meets them."""
    for block in blocks:
        if isinstance(block, Chart):
            yield block
        elif isinstance(block, Case):
            yield from charts_in(block.blocks)


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _json(chart: Chart) -> str:
    """Return what a chart needs as JSON that no markup can end."""
    text = json.dumps(_seen({"form": chart.form, **chart.data}), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _seen(value: Any) -> Any:
    """Return plain data with every text made visible and short."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return {_text(str(k)): _seen(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_seen(v) for v in value]
    return value


def _text(value: str) -> str:
    return words.visible(value if len(value) <= LONGEST else value[:LONGEST] + " ...")


class _Counter:
    """Numbers the charts of a page as the template meets them."""

    def __init__(self) -> None:
        self.count = 0

    def next(self) -> int:
        self.count += 1
        return self.count - 1


@functools.cache
def _template() -> Any:
    try:
        import jinja2
        import markupsafe
    except ImportError as error:
        raise UsageError("a report needs Jinja2: pip install 'trainwell[report]'.") from error

    def shown(value: Any) -> Any:
        return (
            value
            if isinstance(value, markupsafe.Markup) or not isinstance(value, str)
            else words.visible(value)
        )

    world = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )

    def ticked(value: Any) -> Any:
        """Return words with what stands between marks as code; only those that we wrote ourselves."""
        if not isinstance(value, Ticked):
            return _cell(value)
        parts = [markupsafe.escape(_text(part)) for part in value.split("`")]
        if len(parts) % 2 == 0:
            return _text(value)
        return markupsafe.Markup("").join(
            markupsafe.Markup("<code>%s</code>") % part if i % 2 else part for i, part in enumerate(parts)
        )

    world.filters |= {"cell": ticked, "cut": _text, "heading": _heading}
    world.tests["numbers"] = _is_number
    return world.from_string(asset("page.html"))


def _heading(value: Any) -> str:
    """Return the head of a column, which may break after an underscore and nowhere else inside a word."""
    from markupsafe import Markup, escape

    return Markup(str(escape(_text(value))).replace("_", "_<wbr>"))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return _text(value)
    return words.number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
