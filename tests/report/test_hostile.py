"""Names with markup, script, template braces, formula cells or control codes do nothing but be shown."""

# ruff: noqa: E501  (names are kept whole)
from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.report.browser import opened
from tests.report.hostile import NAMES
from trainwell.report.build import report_html
from trainwell.report.words import visible
from trainwell.values.signal import Traces

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069]")


def poison(folder: Path) -> None:
    """Put the hostile names everywhere a report reads a name from."""
    data = json.loads((folder / "data.json").read_text())
    data["task"] |= {"classes": NAMES, "class_counts": [3] * len(NAMES)}
    data["source"] |= {"target": NAMES[1], "data": NAMES[0]}
    one = data["transform"]["columns"][0]
    data["transform"]["columns"] = [{**one, "type": {**one["type"], "name": n, "kind": n}} for n in NAMES]
    data["notes"] = [{"severity": s, "column": n, "message": n} for n in NAMES for s in ("info", "warning")]
    data["provenance"]["parts"] = {n: {"rows": 3, "kind": n} for n in NAMES}
    (folder / "data.json").write_text(json.dumps(data))
    evidence = [{"trace": n, "value": 1.0, "threshold": 0.5, "comparison": n, "layer": n} for n in NAMES]
    finding = {
        "ailment": "overfitting", "severity": "critical", "confidence": 0.9, "grade": "S", "meaning": " ".join(NAMES),
        "evidence": evidence, "span": [0, 3], "layers": NAMES, "fix": NAMES[2], "source": NAMES[3], "measured": {},
        "consequences": [], "prescriptions": [{"options": n, "code": n, "why": n, "expects": {n: n}, "source": n} for n in NAMES],
    }  # fmt: skip
    told = {
        "trainings": [
            {"model": n, "steps": 3, "folder": "watch", "error": n, "findings": [finding]} for n in NAMES[:3]
        ]
    }
    (folder / "findings.json").write_text(json.dumps(told))
    counts = [[i + k for k in range(20)] for i in range(20)]
    parts = [{"slice": n, "rows": 3, "value": 0.5, "rest": 0.6, "low": 0.4, "high": 0.6} for n in NAMES]
    rows = [
        {"row": 1, "truth": n, "prediction": n, "error": 0.1, "measure": n, "features": {n: n}} for n in NAMES
    ]
    errors = {
        "part": "test", "rows": 60, "interval": [0.1, 0.9], "confusion": {"classes": NAMES[:20], "counts": counts, "left_out": 0},
        "slices": parts, "slice_measure": "accuracy", "slice_whole": 0.6, "worst": rows,
    }  # fmt: skip
    (folder / "errors.json").write_text(json.dumps(errors))
    traces = Traces.load(folder / "watch")
    for name in NAMES[:50]:
        for step in range(3):
            traces.add("grad_norm", step, 1.0 + step, name)
    shutil.rmtree(folder / "watch")
    traces.save(folder / "watch")


@pytest.fixture
def poisoned(run_folder: Path) -> Path:
    poison(run_folder)
    return run_folder


def test_names_are_text_and_nothing_else(poisoned: Path) -> None:
    page = report_html(poisoned)
    marks = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    tags = {t.lower() for t in re.findall(r"<([a-zA-Z!][\w-]*)", marks)}
    ours = {
        "html", "head", "meta", "link", "title", "body", "a", "header", "h1", "h2", "h3", "p", "nav", "ul", "li", "main",
        "section", "figure", "figcaption", "div", "details", "summary", "table", "thead", "tbody", "tr", "th", "td", "dl",
        "dt", "dd", "pre", "code", "article", "span", "noscript", "!doctype",
    }  # fmt: skip
    assert tags <= ours, tags - ours
    assert not re.search(r"<[^>]*\son\w+\s*=", marks)
    assert CONTROL.search(marks) is None
    shown = html.unescape(marks)
    for name in NAMES:
        assert visible(name).strip() in shown, name


def test_json_of_charts_cannot_end_its_element(poisoned: Path) -> None:
    page = report_html(poisoned)
    found = re.findall(r'<script type="application/json" class="chart-data">(.*?)</script>', page, re.DOTALL)
    assert len(found) > 10
    for text in found:
        assert not re.search("[<>&]", text)
        json.loads(text)


def test_nothing_runs_in_a_browser(poisoned: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    probe = "<script>document.documentElement.dataset.harmed=String('harmed' in window)</script>"
    text = report_html(poisoned)
    page.write_text(text)
    document, said = opened(page, tmp_path)
    assert "harmed=1" in document  # the names are there, as text
    assert said == ""
    assert document.count('data-drawn="yes"') == text.count("data-chart=") > 10
    # the policy holds even against a script that found its way into the page
    page.write_text(text.replace("</body>", probe + "</body>"))
    document, said = opened(page, tmp_path)
    assert "data-harmed" not in document
    assert "Content Security Policy" in said


def test_a_folder_may_be_called_anything(trained: Path, tmp_path: Path) -> None:
    for i, name in enumerate(n for n in NAMES if "/" not in n and "\0" not in n and len(n.encode()) < 200):
        folder = tmp_path / str(i) / name.strip(".")
        folder.mkdir(parents=True)
        for file in ("recipe.json", "results.json"):
            shutil.copy(trained / file, folder / file)
        page = re.sub(r"<(script|style).*?</\1>", "", report_html(folder), flags=re.DOTALL)
        assert visible(folder.name) in html.unescape(page)
        assert CONTROL.search(page) is None


def test_console_spells_control_codes_out(capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    from trainwell.app.cli.output import complain, emit
    from trainwell.app.console import Console

    for name in NAMES:
        Console(sys.stderr).say(name)
        emit({}, [name], False)
        complain(name)
    told = capsys.readouterr()
    for text in (told.out, told.err):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)
