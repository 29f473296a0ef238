"""How far errors of the surest rows tell wrong labels from classes that overlap."""

from __future__ import annotations

import numpy as np
import pytest

from tests.rules.synthetic import Story
from tests.rules.test_causes import names
from trainwell.rules.label_noise import flat_of_overlap


@pytest.mark.parametrize("distance", [0.6, 1.2, 2.5])
def test_overlapping_classes_err_where_they_are_sure_as_often_as_is_said(distance: float) -> None:
    rng = np.random.default_rng(0)
    side = np.where(rng.random(400_000) < 0.5, 1, -1)
    score = side * distance / 2 + rng.normal(size=len(side))
    wrong = np.sign(score) != side
    sure = np.argsort(-np.abs(score))[: len(side) // 4]
    assert flat_of_overlap(2 * wrong.mean()) == pytest.approx(wrong[sure].mean() / wrong.mean(), rel=0.05)


@pytest.mark.parametrize(
    ("witness", "network", "told"),
    [(0.11, 0.24, True), (0.02, 0.24, False), (0.11, 0.05, False), (0.045, 0.05, False)],
)
def test_both_must_err_where_overlap_would_leave_them_right(
    witness: float, network: float, told: bool
) -> None:
    """Of ten classes of which both know three quarters, sure errors are rare; one alone may be a poor judge."""
    story = Story()
    story.stuck(0.72)
    story.facts |= {
        "witness_error": 0.28, "witness_base_error": 0.88, "witness_sure_error": witness, "witness_sure_rows": 100.0,
        "val_error": 0.28, "val_sure_error": network, "val_sure_rows": 75.0, "learnable": 0.5,
    }  # fmt: skip
    assert ("label_noise" in names(story.traces(), folded=False)) is told
