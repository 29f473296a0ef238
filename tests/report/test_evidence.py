"""Every reading of the rules has words, and its evidence is drawn with threshold and span in the unit of the picture."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import trainwell.rules
from trainwell.report.evidence import DRAWN, drawn_of, pictures
from trainwell.values.finding import Finding, Reading
from trainwell.values.readings import SHARE, WORDS, reading_words
from trainwell.values.signal import Traces


def traces(steps: int = 40) -> Traces:
    found = Traces({"base_loss": 2.0, "modules": [{"name": n} for n in ("a", "b", "c")]})
    draws = np.random.default_rng(0)
    for step in range(steps):
        for signal, value in (("train_loss", 2.0), ("lr", 0.1), ("q", 0.5), ("wait_s", 0.3), ("step_s", 0.1)):
            found.add(signal, step, value * (1 + 0.1 * draws.random()))
        found.add("val_loss", step, 1.0 + 0.01 * step)
        for i, layer in enumerate(("a", "b", "c")):
            found.add("back_rms", step, 10.0**i, layer)
            found.add("act_rms", step, 10.0**i, layer)
            found.add("weight_norm", step, 1.0 / (1 + step), f"{layer}.weight")
            found.add("unit_activity", step, np.array([0.0, 0.0, 0.5, 0.5]), layer)
    return found


@pytest.mark.parametrize(
    ("name", "threshold", "layer", "level", "last"),
    [
        ("largest loss / base loss", 100, None, 200.0, None),
        ("rise of the validation loss / base loss", 0.08, None, 1.16, 1.39),
        ("wait_s / (wait_s + step_s)", 0.5, None, 0.5, None),
        ("unit_activity", 0.4, "b", 0.4, 0.5),
        ("back_gain", -2, None, -2, -2.0),
        ("act_gain", 1.7, None, 1.7, 2.0),
        ("weight rms, end / start", 0.1, None, 0.1, 1 / 40),
    ],
)
def test_threshold_lies_in_the_unit_of_the_picture(
    name: str, threshold: float, layer: str | None, level: float, last: float | None
) -> None:
    found = drawn_of({"trace": name, "threshold": threshold, "layer": layer}, traces())
    assert found is not None and found.level == pytest.approx(level)
    if last is not None:
        assert found.series[0][2][-1] == pytest.approx(last)


@pytest.mark.parametrize("name", list(DRAWN))
def test_readings_never_raise_on_missing_short_or_strange_traces(name: str) -> None:
    whole, short, odd = traces(), traces(2), Traces({"base_loss": "x"})
    for step in range(5):
        odd.add("train_loss", step, np.nan)
        odd.add("lr", step, np.inf)
    for found in (Traces(), short, odd, whole):
        for layer in (None, "b", "absent"):
            finding = {
                "evidence": [{"trace": name, "value": 1.0, "threshold": 0.5, "layer": layer}],
                "span": [3, 900],
            }
            assert all(chart.form in ("lines", "bars") for chart in pictures(finding, found))


def test_every_reading_of_the_rules_is_told_in_words() -> None:
    source = "\n".join(p.read_text() for p in Path(trainwell.rules.__file__).parent.glob("*.py"))
    named = set(re.findall(r'Reading\(\s*"([^"]+)"', source))
    assert len(named) > 40
    assert not [name for name in named if name not in WORDS], "say what it measures in values/readings.py"
    for name in (*WORDS, *DRAWN, "a_name_of_others / base loss"):
        assert "_" not in reading_words(name) and "base loss" not in reading_words(name)


def test_a_finding_says_what_was_measured_with_units() -> None:
    readings = (
        Reading("stale_grad", 1.0, 0.5),
        Reading("back_gain", -3.25, -3.0, "<", layer="body.0"),
        Reading("steps", 1234, 2000, "<"),
        Reading("norm_drift", 0.4, 0.1),
        Reading("my_signal", 0.25, 0.1, words="share of rows that I drew", unit="share"),
    )
    assert list(map(str, readings)) == [
        "share of steps with gradients of the step before: 100 % (above 50 %)",
        "decades that the gradient gains from the last layer to the first in body.0: -3.25 (below -3)",
        "optimizer steps: 1,234 (below 2,000)",
        "drift of the statistics of frozen norms: 0.4 standard deviations (above 0.1)",
        "share of rows that I drew: 25 % (above 10 %)",
    ]
    found = Finding("missing_zero_grad", "critical", 0.9, "D", "It adds up.", readings[:1])
    assert f"  shows   {readings[0]}" in str(found)
    assert Finding.from_dict(found.to_dict()) == found


def test_numbers_that_are_none_are_said_so() -> None:
    held = Reading.from_dict(
        {"trace": "val_loss", "value": None, "threshold": 2.0, "comparison": ">", "layer": None}
    )
    assert str(held) == "validation loss: no number (above 2)"


def test_a_rise_of_the_validation_loss_shows_beside_a_training_loss_of_nearly_nothing() -> None:
    found = traces()
    for step in range(0, 40, 4):
        found.add("probe_loss", step, 10.0 ** -(step / 4))
    reading = {"trace": "rise of the validation loss / base loss", "value": 0.2, "threshold": 0.08}
    chart = next(pictures({"ailment": "overfitting", "evidence": [reading]}, found))
    assert not chart.data["log"] and len(chart.data["series"]) == 2


def test_shares_are_what_they_are_called() -> None:
    for name, (said, unit) in WORDS.items():
        assert (unit == SHARE) == (
            said.startswith("share")
            or name
            in (
                "label_shift",
                "dropout",
                "witness_sure_error",
            )
        ), name
