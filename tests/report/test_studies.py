"""The report of a trial and of a search, from what they leave on the disk."""

# ruff: noqa: E501  (data in one line each)
from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.report.browser import opened
from tests.report.hostile import NAMES
from trainwell.report.build import report_html
from trainwell.report.saved import find_folder
from trainwell.report.sections.tuning import _cut, _dimension
from trainwell.report.words import change
from trainwell.values.journal import Journal


def comparison(name: str, effect: float, verdict: str) -> dict[str, object]:
    claim = {"signal": "val_loss", "sign": "-", "verdict": verdict, "effect": -0.1, "low": -0.2, "high": 0.0}
    return {
        "name": name, "base": [0.8, 0.8], "change": [0.8 + effect, 0.8 + effect], "verdict": verdict, "effect": effect,
        "low": effect - 0.01, "high": effect + 0.01, "adjusted": 0.01, "claims": [claim],
        "confirmation": {"effect": effect, "low": effect - 0.02, "high": effect + 0.02},
        "cost": {"step_ratio": 1.1, "memory_ratio": 1.0},
    }  # fmt: skip


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    found = [comparison("dropout:rate=0.2", 0.05, "proved"), comparison("mixup", -0.05, "refuted")]
    found += [comparison(name, 0.0, "undecided") for name in NAMES[:20]]
    evidence = {
        "metric": "accuracy",
        "seeds": [0, 1],
        "planned": 8,
        "split": "redrawn",
        "stopped": "all is decided",
        "alpha": 0.05,
    }
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "evidence.json").write_text(json.dumps({**evidence, "comparisons": found}))
    return tmp_path / "trial"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    folder.mkdir()
    space = {
        "parameters": [
            {"name": "lr", "low": 1e-4, "high": 1, "log": True},
            {"name": NAMES[0], "options": NAMES[:5]},
        ]
    }
    with Journal(folder / "study.jsonl") as journal:
        from trainwell.values.journal import seal

        lines = [{"event": "study", "space": space}]
        lines.append(
            {
                "event": "asked",
                "first": 0,
                "configs": [{"lr": 10.0**-i, NAMES[0]: NAMES[i % 5]} for i in range(5)],
            }
        )  # type: ignore[dict-item]
        lines += [{"event": "told", "number": i, "value": -0.1 * i, "state": "complete"} for i in range(4)]  # type: ignore[dict-item]
        journal.path.write_bytes(b"".join(seal(line) + b"\n" for line in lines))
    tuning = {
        "metric": "accuracy", "best_seen": 0.3, "confirmed": 0.28, "confirmed_interval": [0.2, 0.35], "optimism": 0.02,
        "test": {"accuracy": 0.27}, "gain_over_default": 0.1, "gain_interval": [0.05, 0.15], "beats_default": True,
        "importance": [{"name": "lr", "share": 0.7}, {"name": NAMES[0], "share": 0.2}], "flags": [NAMES[1]], "config": {"lr": 0.1},
        "trials": {"all": 5},
    }  # fmt: skip
    (folder / "tuning.json").write_text(json.dumps(tuning))
    return folder


def test_trial_is_drawn_with_its_verdicts(trial: Path) -> None:
    html = report_html(find_folder(trial))
    for part in (
        "Proved: dropout:rate=0.2",
        "Refuted: mixup",
        "Effect of each change",
        "22 changes of the recipe",
        "+10.0 %",
    ):
        assert part in html, part


def test_changes_that_diverge_are_told_beside_the_picture(trial: Path) -> None:
    evidence = json.loads((trial / "evidence.json").read_text())
    evidence["comparisons"][1] |= {"change": [float("nan"), 0.5], "effect": float("-inf")}
    (trial / "evidence.json").write_text(json.dumps(evidence))
    html = report_html(find_folder(trial))
    assert "Runs that diverged: 1 of 2 of mixup. They count" in html
    assert "The gain of mixup has no number" in html


def test_what_was_taken_away_is_told_in_words() -> None:
    names = ("-ema", "lr=0.01 + -dropout", "lr=-1", "-ema - x")
    assert [change(n) for n in names] == [
        "without ema",
        "lr=0.01 + without dropout",
        "lr=-1",
        "without ema - x",
    ]


def test_study_is_drawn_with_its_four_numbers(study: Path) -> None:
    html = report_html(find_folder(study))
    for part in (
        "Best of the search",
        "Confirmed",
        "Optimism",
        "opened once",
        "History of the search",
        "What mattered",
    ):
        assert part in html, part
    assert "winner beats the default" in html


def test_a_default_that_is_kept_and_what_is_undecided_are_told(study: Path) -> None:
    tuning = json.loads((study / "tuning.json").read_text()) | {"beats_default": False, "repeats": 3}
    for more, text in (
        (
            {"finalists": [{"config": {"lr": 0.1}}, {"config": {"lr": 1.0}}]},
            "The default is kept: the other one",
        ),
        ({"decided": False}, "Not decided: 3 fresh seeds"),
        ({"decided": True}, "The default is not beaten for certain"),
    ):
        (study / "tuning.json").write_text(json.dumps(tuning | more))
        assert text in report_html(find_folder(study))


def test_a_trial_far_behind_and_doses_that_are_off_do_not_press_the_others_together() -> None:
    assert _cut([0.1, 0.2, 0.3, 9.0]) == pytest.approx(0.55)
    assert _cut([0.1, 0.2, 0.3]) is None and _cut([0.1, 0.1, 0.1, 9.0]) is None
    trials = [{"config": {"d": v}} for v in (0, 1e-4, 1e-2)]
    about = {"name": "d", "low": 1e-6, "high": 1, "log": True, "off": 0}
    assert _dimension("d", [about], trials) == {"name": "d", "low": 1e-4, "high": 1e-2, "log": True, "off": 0}


def test_both_are_drawn_in_a_browser(trial: Path, study: Path, tmp_path: Path) -> None:
    for folder in (trial, study):
        page = tmp_path / f"{folder.name}.html"
        page.write_text(report_html(folder))
        document, said = opened(page, tmp_path)
        assert said == ""
        assert document.count('data-drawn="yes"') == page.read_text().count("data-chart=") >= 2
