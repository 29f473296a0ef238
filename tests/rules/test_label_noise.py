"""How far errors of the surest rows tell wrong labels from classes that overlap."""

from __future__ import annotations

import numpy as np
import pytest

from tests.rules.synthetic import Story
from tests.rules.test_causes import names
from trainwell.rules.label_noise import FLAT, flat_of_overlap
from trainwell.signals.witness import label_facts


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


@pytest.mark.parametrize(
    ("witness", "network", "told"), [(0.2, 0.2, True), (0.2, 0.05, False), (0.05, 0.2, False)]
)
def test_labels_of_some_classes_alone_are_wrong_on_their_surest_rows(
    witness: float, network: float, told: bool
) -> None:
    """The surest rows of all are of the classes that nobody took for others."""
    story = Story()
    story.stuck(0.72)
    story.facts |= {
        "witness_error": 0.22, "witness_base_error": 0.88, "witness_sure_error": 0.02, "witness_sure_rows": 100.0,
        "witness_surest_error": witness, "val_error": 0.25, "val_sure_error": 0.0, "val_sure_rows": 87.0,
        "val_surest_error": network, "learnable": 0.5,
    }  # fmt: skip
    assert ("label_noise" in names(story.traces(), folded=False)) is told


@pytest.mark.parametrize("is_flipped", [True, False])
def test_a_pair_of_classes_taken_for_each_other_errs_evenly_and_one_that_overlaps_does_not(
    is_flipped: bool,
) -> None:
    """Five classes far apart; of two either a quarter of the labels is exchanged, or the places overlap as much."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 5, 400)
    middle = np.array([[0.0, 0], [0, 9], [9, 0], [9, 9], [18, 0]])
    if not is_flipped:
        middle[4] = [
            9 + 1.35,
            0,
        ]  # two standard deviations of 1 err on a quarter of the rows at this distance
    x = middle[label] + rng.normal(size=(400, 2))
    if is_flipped:
        pair = (label == 2) | (label == 4)
        label = np.where(pair & (rng.random(400) < 0.25), 6 - label, label)
    found = label_facts(x, label.astype(float), tokens=False, classes=True)
    even = found["witness_surest_error"] / found["witness_error"]
    assert 0.05 < found["witness_error"] < 0.2 and found["witness_sure_error"] < 0.04
    assert even > FLAT if is_flipped else even < FLAT
