"""Cells that were filled and channels that stand still, and what only looks like them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.rules.synthetic import Story
from tests.rules.test_causes import names
from trainwell.signals.destroyed import cost_of, filled, stuck_share


def series(rows: int = 300) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, 20, 6)).cumsum(1).astype(np.float32)


@pytest.mark.parametrize("channels_last", [True, False])
def test_a_channel_that_stands_still_in_some_rows_is_stuck(channels_last: bool) -> None:
    x = series()
    x[:90, :, 2:4] = x[:90, :1, 2:4]
    assert stuck_share(x if channels_last else x.swapaxes(1, 2)) == pytest.approx(0.3)


def test_padding_silence_steps_and_what_never_moves_are_not_stuck() -> None:
    padded, steps, fixed = series(), series(), series()
    padded[:90, :, 2] = 0.0
    steps[:, :, 2] = np.repeat(steps[:, ::10, 2], 10, axis=1)  # moves once in a row
    steps[:90, :, 2] = steps[:90, :1, 2]
    fixed[:, :, 2] = fixed[:, :1, 2]
    assert [stuck_share(x) for x in (series(), padded, steps, fixed)] == [0.0] * 4


def test_only_a_number_in_the_midst_of_measured_ones_is_a_filler() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 4))
    assert filled(x) is None
    rain, codes = x.copy(), x.copy()
    rain[:, 1] = np.maximum(rain[:, 1], 0.0)  # many days are dry
    codes[:, 2] = codes[:, 2].round()
    assert filled(rain) is None and filled(codes) is None
    x[:120, 3] = 0.0
    known = filled(x)
    assert known is not None and known(x).tolist() == [True] * 120 + [False] * 280


@pytest.mark.parametrize(("times", "told"), [(4.0, True), (1.0, False)])
def test_filled_cells_are_told_where_their_rows_cost_more(times: float, told: bool) -> None:
    rng, marked = np.random.default_rng(2), np.arange(300) < 100
    cost, z = cost_of(marked, rng.exponential(np.where(marked, times, 1.0)))
    story = Story()
    story.stuck(0.5)
    story.facts |= {"filled_share": 0.33, "filled_cost": cost, "filled_cost_z": z}
    assert ("bad_features" in names(story.traces(), folded=False)) is told


@pytest.mark.parametrize(("solved", "told"), [(False, True), (True, False)])
def test_a_stuck_channel_is_told_where_something_is_left_to_gain(solved: bool, told: bool) -> None:
    story = Story()
    if not solved:
        story.stuck(0.5)
    story.facts["stuck_share"] = 0.3
    assert ("bad_features" in names(story.traces(), folded=False)) is told
