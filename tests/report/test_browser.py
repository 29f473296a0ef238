"""The page in a browser: no error, no request, plots drawn, reachable by keyboard, legible."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.report.browser import opened
from trainwell.report.build import report_html
from trainwell.report.page import asset


@pytest.mark.parametrize("width", [1400, 400])
def test_page_draws_everything_and_says_nothing(trained: Path, tmp_path: Path, width: int) -> None:
    page = tmp_path / "report.html"
    page.write_text(report_html(trained))
    document, said = opened(page, tmp_path, width)
    assert said == ""
    count = page.read_text().count("data-chart=")
    assert document.count('data-drawn="yes"') == count >= 8
    assert document.count("<svg") >= count
    assert not re.search(r"NaN", "".join(re.findall(r' (?:d|x|y|cx|cy|width|height)="([^"]*)"', document)))


def test_everything_is_reached_by_keyboard(trained: Path) -> None:
    html = re.sub(r"<(script|style).*?</\1>", "", report_html(trained), flags=re.DOTALL)
    for mark in ('class="chart"', 'class="scroll"', "<pre"):
        for tag in re.findall(rf"<[^>]*{mark}[^>]*>", html):
            assert 'tabindex="0"' in tag, tag
    anchors = set(re.findall(r'href="#([^"]+)"', html))
    assert anchors <= set(re.findall(r'id="([^"]+)"', html))
    assert all("aria-label" in tag for tag in re.findall(r'<div class="chart"[^>]*>', html))


def luminance(color: str) -> float:
    """Return the relative luminance of WCAG 2.2."""
    parts = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a: str, b: str) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def palettes() -> list[dict[str, str]]:
    """Return the colours of the light and of the dark page."""
    found = re.findall(r":root \{(.*?)\}", asset("page.css"), re.DOTALL)[:2]
    return [dict(re.findall(r"--([\w]+): (#[0-9a-f]{6})", block)) for block in found]


@pytest.mark.parametrize("colors", palettes(), ids=["light", "dark"])
def test_text_and_lines_stand_out(colors: dict[str, str]) -> None:
    for back in ("back", "card", "fill"):
        for ink in ("ink", "soft", "accent", "good", "warning", "critical"):
            assert contrast(colors[ink], colors[back]) >= 4.5, (ink, back)
        for i in range(6):  # graphics: 3 to 1
            assert contrast(colors[f"c{i}"], colors[back]) >= 3.0, (i, back)
