"""Rows that are in order in part, runs that lost all they had learned, and losses for 1 and -1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.rules.synthetic import BASE, EPOCHS, LOOKS, STEPS, Story
from tests.rules.test_causes import names
from trainwell.rules.unshuffled_data import _chance
from trainwell.rules.view import View


@pytest.mark.parametrize("batch", [2, 25])
def test_the_chance_that_batches_differ_is_that_of_a_shuffled_epoch(batch: int) -> None:
    """Against 300 shuffles: the share of the variation that lies between batches, beyond what is expected."""
    rng, rows = np.random.default_rng(0), 600
    y, shares = rng.normal(size=rows), []
    for _ in range(300):
        means = rng.permutation(y).reshape(-1, batch).mean(1)
        share = batch * ((means - y.mean()) ** 2).sum() / ((y - y.mean()) ** 2).sum()
        expected = (rows / batch - 1) / (rows - 1)
        shares.append((share - expected) / (1 - expected))
    story = Story()
    story.facts |= {"seen_rows": rows, "batch_size": batch}
    assert _chance(View(story.traces())) == pytest.approx(np.std(shares), rel=0.15)


@pytest.mark.parametrize(
    ("between", "batch", "probe", "tenth", "told"),
    [
        (0.25, 25, 0.6, 0.0, True),
        (0.25, 25, 0.2, 4.0, True),
        (0.25, 25, 0.2, 0.0, False),
        (0.05, 25, 0.6, 4.0, False),
        (0.25, 2, 0.6, 4.0, False),
    ],
)
def test_rows_in_order_in_part_are_told_of_where_that_is_no_chance_and_does_harm(
    between: float, batch: int, probe: float, tenth: float, told: bool
) -> None:
    story = Story()
    story.put("train_loss", BASE * np.linspace(0.5, 0.25, STEPS))
    story.put("probe_loss", probe * BASE)
    story.put("probe_score", 0.6)
    story.put("val_score", 0.6)
    story.facts |= {"between_batches": between, "seen_rows": 600, "rows_per_epoch": 600, "batch_size": batch}
    story.facts["what_if"] = {"as_is": {"steps": 24}, "tenth": {"train_z": tenth, "val_z": tenth}}
    assert ("unshuffled_data" in names(story.traces())) is told


@pytest.mark.parametrize(("end", "told"), [(2.5, True), (0.9, False)])
def test_a_run_that_lost_all_it_had_learned_made_too_long_steps_however_short_they_look(
    end: float, told: bool
) -> None:
    story = Story()
    fall = BASE * np.linspace(1.0, 0.2, STEPS - STEPS // 4)
    rise = BASE * np.linspace(0.2, end, STEPS // 4)
    story.put("train_loss", np.concatenate([fall, rise]))
    story.put("probe_score", 0.6)
    story.put("val_score", 0.6)
    story.put("q", 0.9)
    assert ("lr_too_high" in names(story.traces())) is told


@pytest.mark.parametrize(("level", "told"), [(2.5, True), (0.4, False)])
def test_a_loss_that_rises_again_and_again_by_all_there_was_to_learn_was_thrown_up(
    level: float, told: bool
) -> None:
    """Though the last rows are far better known than at the start."""
    story, half = Story(), STEPS // 2
    low = [np.linspace(1.0, 0.2, half), np.full(half // 2, 0.2)]
    waves = [*low, np.linspace(level, 0.7, STEPS - half - half // 2)]
    story.put("train_loss", BASE * np.concatenate(waves))
    val = np.full(EPOCHS, 0.5)
    val[EPOCHS // 3 :: 4] = level
    story.put("val_loss", BASE * val)
    story.put("probe_score", 0.6)
    story.put("val_score", 0.6)
    story.put("q", 0.9)
    assert View(story.traces()).is_shaken is told


@pytest.mark.parametrize(("q", "ratio", "told"), [(0.3, 0.08, True), (0.3, 0.01, False), (0.9, 0.08, False)])
def test_steps_twice_too_long_that_renew_the_weights_are_too_long_though_the_loss_falls(
    q: float, ratio: float, told: bool
) -> None:
    story = Story()
    story.put("train_loss", BASE * np.linspace(1.0, 0.8, STEPS))
    story.put("probe_score", 0.35)
    story.put("val_score", 0.35)
    story.put("q", q)
    for layer in ("0.weight", "2.weight", "4.weight"):
        story.put("weight_norm", 10.0, layer)
        story.put("update_norm", 10.0 * ratio, layer)
    assert ("lr_too_high" in names(story.traces())) is told


@pytest.mark.parametrize(("val", "told"), [(0.6, True), (0.75, False)])
def test_training_rows_that_were_made_harder_are_no_shift(val: float, told: bool) -> None:
    story = Story()
    story.facts["shift_scaled_columns"] = 0.5
    story.put("probe_score", 0.62)
    story.put("val_score", val)
    assert ("train_val_shift" in names(story.traces())) is told


@pytest.mark.parametrize(
    ("per_sample", "counts", "told"),
    [(12, {"0": 900}, True), (12, {"0": 900, "2": 3}, False), (1, {"0": 900}, False)],
)
def test_a_mask_that_leaves_one_class_is_upside_down(
    per_sample: int, counts: dict[str, int], told: bool
) -> None:
    story = Story()
    story.facts |= {"class_counts": counts, "targets_per_sample": per_sample, "out_shape": [384, 4]}
    story.facts["target_shape"] = [384]
    assert ("loss_mismatch" in names(story.traces())) is told


@pytest.mark.parametrize(("share", "told"), [(0.95, True), (0.1, False)])
def test_units_that_stay_copies_of_others_make_a_narrow_layer(share: float, told: bool) -> None:
    story = Story()
    story.facts["params"] = [
        dict(p, copies=share if p["name"] == "0.weight" else 0.0) for p in story.facts["params"]
    ]
    story.put("probe_score", 0.6)
    assert ("bad_init" in names(story.traces())) is told


@pytest.mark.parametrize(("low", "told"), [(0.0, True), (-1.0, False)])
def test_a_loss_for_one_and_minus_one_wants_them(low: float, told: bool) -> None:
    story = Story()
    facts: dict[str, Any] = {
        "loss_name": "soft_margin_loss",
        "loss_kind": "binary",
        "y_min": low,
        "y_max": 1.0,
    }
    story.facts |= facts | {"out_shape": [32, 1], "target_shape": [32, 1]}
    assert ("loss_mismatch" in names(story.traces())) is told


@pytest.mark.parametrize(
    ("spread", "learnable", "score", "told"),
    [(1e-6, 0.0, 0.26, True), (0.3, 0.0, 0.26, False), (1e-6, 0.6, 0.26, False), (1e-6, 0.0, 0.6, False)],
)
def test_rows_scaled_one_by_one_are_told_of_where_nobody_finds_anything_in_them(
    spread: float, learnable: float, score: float, told: bool
) -> None:
    """A picture may well be brought to scale by itself."""
    story = Story()
    story.put("probe_score", score)
    story.put("val_score", score)
    story.facts |= {"own_scale": spread, "learnable": learnable}
    assert ("bad_features" in names(story.traces())) is told


@pytest.mark.parametrize(("last", "judged"), [(30.0, False), (0.01, True)])
def test_a_network_that_makes_its_own_targets_is_not_held_against_those_of_its_start(
    last: float, judged: bool
) -> None:
    story = Story()
    story.series["target_mean", None] = (LOOKS, np.linspace(0.0, last, len(LOOKS)))
    story.facts["y_sd"] = 1.0
    assert View(story.traces()).is_judged is judged
