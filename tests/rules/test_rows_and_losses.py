"""What tells faults of rows, labels and losses from what is only rare or looks alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.rules.synthetic import BASE, Story
from tests.rules.test_causes import names
from trainwell.signals import rows
from trainwell.signals.data import target_facts


@pytest.mark.parametrize(
    ("weight", "hit", "told"), [(0.13, 0, True), (0.13, 19, False), (6.7, 0, False), (1.0, 0, False)]
)
def test_weights_that_let_the_rare_class_count_less_are_upside_down(
    weight: float, hit: int, told: bool
) -> None:
    """Six times fewer rows are no imbalance by themselves; as many less that each count a seventh are one."""
    story = Story()
    story.stuck(0.87)
    story.facts |= {
        "class_counts": {"0": 600, "1": 100}, "val_recalls": {"0": [120, 118], "1": [20, hit]},
        "loss_weighted": weight != 1.0, "class_weights": {"0": 1.0, "1": weight},
    }  # fmt: skip
    assert ("class_imbalance" in names(story.traces(), folded=False)) is told


@pytest.mark.parametrize(("same", "told"), [(True, True), (False, False)])
def test_outputs_that_are_all_held_against_one_number_are_told(same: bool, told: bool) -> None:
    y = torch.randn(200, 1).expand(200, 4) if same else torch.randn(200, 4)
    story = Story()
    story.regression()
    story.stuck()
    story.facts |= {"out_shape": [32, 4], "target_shape": [32, 4]} | target_facts(y, "regression")
    assert ("loss_mismatch" in names(story.traces(), folded=False)) is told


@pytest.mark.parametrize("true_copies", [0.0, 0.4])
def test_equal_codes_with_other_targets_are_other_cases(true_copies: float) -> None:
    rng = np.random.default_rng(0)
    train, val = (rng.integers(0, 4, (n, 3)) + rng.integers(0, 60, (n, 1)) / 7 for n in (400, 100))
    y, yv = rng.normal(size=(400, 1)), rng.normal(size=(100, 1))
    copies = int(100 * true_copies)
    val[:copies], yv[:copies] = train[:copies], y[:copies]
    found = rows.copy_facts(train, val, 400, (y, yv))
    story = Story()
    story.facts |= found | {"seen_rows": 400, "distinct_rows": len(rows.first_of_each(train))}
    assert found["equal_of_seen"] > 0.1, "chance alone"
    assert ("leakage" in names(story.traces(), folded=False)) is (true_copies > 0)


@pytest.mark.parametrize(("border", "dark", "told"), [(2, 1.0, False), (0, 0.3, True)])
def test_borders_that_turning_fills_are_no_other_population(border: int, dark: float, told: bool) -> None:
    rng = np.random.default_rng(1)
    train, val = (rng.uniform(0.2, 1.0, (300, 20, 20)) for _ in range(2))
    train[:280, :border, : 8 * border] = 0.0
    found = rows.shift_facts(train.reshape(300, -1), dark * val.reshape(300, -1), pixels=True)
    story = Story()
    story.stuck(0.5)
    story.put("val_loss", BASE)
    story.facts |= {k: v for k, v in found.items() if k in ("shift_sd", "shift_z")}
    assert ("train_val_shift" in names(story.traces(), folded=False)) is told
    assert rows.shift_facts(train.reshape(300, -1), dark * val.reshape(300, -1))["shift_sd"] > 0.5


@pytest.mark.parametrize(("ratio", "told"), [(0.85, True), (1.0, False)])
def test_a_score_on_new_rows_is_held_against_their_own_constant(ratio: float, told: bool) -> None:
    """New targets that vary less are nearer to any constant: that alone is nothing learned."""
    story = Story()
    story.regression()
    story.facts |= {"learnable": 0.0, "label_rows": 400.0, "val_base_ratio": ratio, "base_loss": 1.0}
    story.put("probe_score", 0.4)
    story.put("val_score", 0.13)
    story.put("val_loss", 0.87)
    assert ("shuffled_labels" in names(story.traces(), folded=False)) is told


@pytest.mark.parametrize(
    ("learnable", "val", "gain", "told"),
    [(0.5, 1.04, -0.1, True), (0.02, 1.04, -0.1, False), (0.5, 0.7, -0.1, False), (0.5, 1.04, 0.2, False)],
)
def test_a_network_that_cannot_see_what_another_learner_tells_is_too_simple(
    learnable: float, val: float, gain: float, told: bool
) -> None:
    """A mean of words learns some texts by heart, and of their order nothing that holds for others."""
    story = Story()
    story.stuck(0.4)
    story.flat(0.95)
    story.put("val_score", 0.27)
    story.put("val_loss", val * BASE)
    story.facts |= {"learnable": learnable, "residual_r2": learnable, "few_way": 0.97}
    story.facts["what_if"] = {
        "as_is": {"steps": 24, "train_hot": 0.01, "val_hot": gain / 20},
        "longer": {"steps": 480, "train_hot": 0.1, "val_hot": gain, "val_hot_z": 9 * np.sign(gain)},
    }
    assert ("underfitting" in names(story.traces(), folded=False)) is told
