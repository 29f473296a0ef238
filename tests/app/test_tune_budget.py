"""What `tune` does where its budget is short: shorter trainings, fewer repeats, none."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.app.test_tune import BASE, tuned
from trainwell.app.console import Console
from trainwell.app.tuning.pace import Cost, Pace
from trainwell.app.tuning.plan import Plan
from trainwell.report.build import report_html
from trainwell.report.saved import find_folder
from trainwell.search.study import COMPLETE, STOPPED


def test_one_trial_judges_the_default_alone(capsys: pytest.CaptureFixture[str]) -> None:
    found = tuned(trials=1, repeats=2, console=Console.stderr())
    said = capsys.readouterr().err
    assert "search    1 trial, " in said and "confirm   the default, up to 2 fresh seeds\n" in said
    assert "epochs" not in said  # three trainings fit, so that none is made shorter
    assert "verdict   nothing but the default was judged" in list(found.lines())
    assert found.flags == ["1 complete trial is few for 7 parameters; give more budget"]


@pytest.mark.parametrize(("fit", "judged"), [(0.4, 0), (1.95, 2), (-1.0, 0)])
def test_repeats_that_do_not_fit_are_left_out_and_that_is_told(
    fit: float,
    judged: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def few(plan: Plan, *_: Any) -> float:
        plan.end = time.monotonic() + 10  # of a budget of 20 s
        return fit

    monkeypatch.setattr(Plan, "_affordable", few)
    found = tuned(trials=8, out=tmp_path / "study", console=Console.stderr(), recipe=BASE.replace(epochs=1))
    assert found.winner.repeats == judged
    kept = json.loads((tmp_path / "study" / "tuning.json").read_text())
    assert kept["repeats"] == judged
    said, lines = capsys.readouterr().err, list(found.lines())
    assert ("confirm   nothing: no time is left for it, and the default is kept" in said) == (not judged)
    if judged:
        return
    assert found.config == found.space.default()
    assert kept["confirmed"] is kept["optimism"] is None and not kept["beats_default"]
    assert "confirmed nothing: the time did not reach for trainings on fresh seeds" in lines
    assert "verdict   not judged, so the default is kept; give more budget" in lines
    page = report_html(find_folder(tmp_path / "study"))
    assert "nothing was confirmed" in page and "None was judged" in page


def test_trainings_are_shortened_to_what_fits() -> None:
    cost = Cost(8.0, 2.0)
    assert cost.of(0.5) == 6 and cost.of(1.5) == 16 and cost.of(3) == 30
    assert [cost.length(s) for s in (39.0, 16.0, 12.0, 6.0, 1.0)] == [3, 1.5, 1.0, 0.5, 0.0]
    pace = Pace(cost, Cost(4.0, 1.0), 100)
    assert pace.epochs_for(9, 9 * (32 * 5 + 10)) == 9  # 32 in a stack and one alone
    assert pace.epochs_for(9, 4 * (32 * 5 + 10) + 1) == 4
    assert pace.epochs_for(9, 60) == 0.2  # 20 steps, which three and one allow
    assert pace.epochs_for(9, 7) == 0.1
    assert pace.epochs_for(9, 1) == 0.02  # two steps, whatever they take
    assert pace.affordable(0.2, 60) == pytest.approx((60 - 3.6) / 1.8)


def test_a_short_budget_is_kept_and_holds_several_trials() -> None:
    found = tuned(trials=None, budget=3.0, recipe=BASE.replace(epochs=3000))
    done = [t for t in found.trials if t.state in (COMPLETE, STOPPED)]
    assert len(done) >= 3
    assert found.recipe.epochs < 3000
    assert found.losses.shape[1] >= 2
    assert found.seconds < 10  # 3 on a quiet machine


def test_a_shortened_study_goes_on_as_it_began(tmp_path: Path) -> None:
    given = {"recipe": BASE.replace(epochs=3000), "out": tmp_path / "study", "finalists": 1, "repeats": 2}
    first = tuned(trials=4, budget=2.0, **given)
    again = tuned(trials=6, budget=6.0, resume=True, **given)
    assert again.recipe.epochs == first.recipe.epochs
    begun = [t.config for t in first.trials]  # as many as the machine made in the time
    assert [t.config for t in again.trials[: len(begun)]] == begun
