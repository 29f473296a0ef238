"""The result of a run as lines: who is ahead is only said where the rows can tell."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

import trainwell as tw


@pytest.fixture(scope="module")
def run() -> tw.Run:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=120), "b": rng.normal(size=120)})
    frame["y"] = (frame.a > 0).astype(int)
    return tw.fit(frame, target="y", preset="quick", budget="2ep", out=False, baseline=False, watch=False)


@pytest.mark.parametrize(
    ("score", "theirs", "bounds", "said"),
    [
        (0.8527, 0.8533, (0.834, 0.870), "level"),
        (0.90, 0.80, (0.88, 0.92), "trainwell is ahead"),
        (0.80, 0.90, (0.78, 0.82), "it is ahead"),
        (0.80, 0.90, None, "it is ahead"),
    ],
)
def test_boosting_is_ahead_only_outside_the_interval(
    run: tw.Run, score: float, theirs: float, bounds: tuple[float, float] | None, said: str
) -> None:
    from trainwell.app.console import result_lines

    told = dataclasses.replace(
        run, scores={"test": {"accuracy": score}}, baseline={"test": {"accuracy": theirs}}, interval=bounds
    )
    (line,) = [line for line in result_lines(told) if line.startswith("boosting")]
    assert line.partition("split): ")[2].startswith(said)
