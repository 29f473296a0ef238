"""The report of a run: what stands in it, what it survives, what it may never do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trainwell.app.reporting import write_report
from trainwell.report.blocks import Chart, Tiles
from trainwell.report.build import html_of, report_html
from trainwell.report.page import charts_in
from trainwell.report.saved import Saved, find_folder, read_saved
from trainwell.report.section import REGISTRY, load_sections
from trainwell.report.sections.curves import Curves, overfitting_began
from trainwell.report.sections.spent import where_time_went
from trainwell.report.sections.summary import Summary
from trainwell.report.thin import means, plain, thin
from trainwell.values.errors import RunError, UsageError
from trainwell.values.signal import Traces

FORMS = {"lines", "heat", "bars", "intervals", "matrix", "points", "parallel"}


def test_report_of_a_run_has_every_part(trained: Path) -> None:
    html = write_report(trained).read_text()
    for anchor in (
        "summary",
        "findings",
        "curves",
        "data",
        "errors",
        "baseline",
        "techniques",
        "layers",
        "time",
        "reproduce",
    ):
        assert f'<section id="{anchor}"' in html, anchor
    assert "95 % interval" in html
    assert "Confusion matrix" in html
    assert "Calibration" in html


def test_report_asks_no_address(trained: Path) -> None:
    html = report_html(trained)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None
    assert "default-src &#39;none&#39;" in policy[1]
    assert "unsafe-eval" not in policy[1]
    body = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', body)


def test_report_needs_no_torch(trained: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from trainwell.report.build import report_html\n"
        f"report_html(Path({str(trained)!r})); assert not {{'torch', 'pandas', 'sklearn'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["recipe", "data", "environment", "results", "findings", "journal", "watch"])
def test_report_survives_what_is_missing_or_damaged(run_folder: Path, name: str) -> None:
    if name == "watch":
        (run_folder / "watch" / "traces.json").write_text("{")
    elif name == "journal":
        (run_folder / "journal.jsonl").write_bytes(b"\x00\xff torn")
    else:
        (run_folder / f"{name}.json").write_text("{ not JSON")
    assert "</html>" in report_html(run_folder)
    if name not in ("watch", "journal"):
        (run_folder / f"{name}.json").unlink()
        assert "</html>" in report_html(run_folder)


def test_empty_folder_and_missing_run_are_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run"):
        find_folder(tmp_path)
    with pytest.raises(RunError, match="there is no run"):
        find_folder(tmp_path / "absent")


def test_out_may_be_a_file_and_no_folder(trained: Path, tmp_path: Path) -> None:
    assert write_report(trained, tmp_path / "r.html", errors=False) == tmp_path / "r.html"
    with pytest.raises(UsageError, match="is a folder"):
        write_report(trained, tmp_path)


def test_run_writes_its_report(run_folder: Path) -> None:
    import trainwell as tw

    assert tw.load(run_folder).report().name == "report.html"


def test_every_section_holds_its_contract(trained: Path) -> None:
    saved = read_saved(trained)
    for kind in load_sections():
        assert re.fullmatch(r"[a-z]+", kind.name), kind
        for chart in charts_in(kind().blocks(saved)):
            assert isinstance(chart, Chart) and chart.form in FORMS, kind
            json.dumps(chart.data, allow_nan=False)
    assert {kind.name for kind in load_sections()} == set(REGISTRY)


def test_overfitting_is_told_from_noise() -> None:
    draws = np.random.default_rng(0)
    hard, traces, rows = draws.normal(size=500), Traces(), []
    for epoch in range(1, 11):
        losses = 1 + 0.3 * hard + 0.05 * draws.normal(size=500) + 0.1 * max(0, epoch - 5)
        traces.add("val_losses", 10 * epoch, losses)
        rows.append({"event": "epoch", "epoch": epoch, "step": 10 * epoch, "val_loss": float(losses.mean())})
    assert overfitting_began(Saved(Path("x"), {}, rows, {"watch": traces})) == 6
    flat = [{**row, "val_loss": 1.0 + 1e-4 * i} for i, row in enumerate(rows)]
    assert overfitting_began(Saved(Path("x"), {}, flat, {"watch": traces})) == 0


@pytest.mark.parametrize(("val", "log"), [((1.4, 1.1, 1.6), False), ((140.0, 11.0, 1.1), True)])
def test_the_validation_loss_decides_the_axis(val: tuple[float, ...], log: bool) -> None:
    rows = [
        {"event": "epoch", "epoch": i, "step": 10 * i, "train_loss": 10.0**-i, "val_loss": v}
        for i, v in enumerate(val, 1)
    ]
    chart = next(b for b in Curves().blocks(Saved(Path("x"), {}, rows)) if isinstance(b, Chart))
    assert chart.title == "Loss by epoch" and chart.data["log"] is log


def test_thinned_series_keep_their_extremes() -> None:
    y = np.random.default_rng(0).normal(size=100_000)
    y[[5000, 70_000]] = 99.0, -99.0
    x, kept = thin(np.arange(100_000), y, 1000)
    assert len(kept) <= 1002
    assert kept.max() == 99.0 and kept.min() == -99.0
    assert (np.diff(x) > 0).all()
    _, smooth = means(np.arange(100_000), y, 100)
    assert len(smooth) == 100 and np.isclose(smooth.mean(), y.mean())
    assert plain([np.nan, np.inf, 1.0, 0.123456789]) == [None, None, 1, 0.12346]


def test_command_line_writes_and_says_the_path(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from trainwell.app.cli.entry import run_command

    assert run_command(["report", str(trained), "--out", str(tmp_path / "a.html"), "--no-errors"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "a.html")
    assert run_command(["report", str(tmp_path / "none")]) == 2


def test_page_of_nothing_is_still_a_page(tmp_path: Path) -> None:
    assert "</html>" in html_of(read_saved(tmp_path))


def test_what_was_treated_while_it_ran_is_told(run_folder: Path) -> None:
    results = json.loads((run_folder / "results.json").read_text())
    treatment = {"step": 90, "back_to": 60, "kind": "spike", "shows": "the loss <rose>", "change": "lr=0.001"}
    (run_folder / "results.json").write_text(json.dumps({**results, "treatments": [treatment]}))
    html = report_html(run_folder)
    assert "In trouble it went back and on with another dose once: lr=0.001." in html
    assert "the loss &lt;rose&gt;" in html and "back to step" in html


def test_time_and_losses_of_a_watched_loop_are_those_of_all_its_steps() -> None:
    traces = Traces({"steps": 200, "seconds": 1.0, "watch_s": 0.1})
    traces.extend("step_s", range(20), [0.002] * 20)  # only some steps are timed
    traces.extend("wait_s", range(20), [0.001] * 20)
    traces.extend("val_loss", [100, 200], [0.5, 0.25])
    saved = Saved(Path("x"), {}, (), {"watch": traces})
    spent = where_time_went(saved)
    assert spent == pytest.approx(
        {"training steps": 0.4, "waiting for data": 0.2, "watching": 0.1, "validation and the rest": 0.3}
    )
    (tiles,) = [block for block in Summary().blocks(saved) if isinstance(block, Tiles)]
    assert [(t.label, t.value) for t in tiles.tiles] == [
        ("Validation loss", "0.2500"),
        ("Training time", "1.0 s"),
    ]
