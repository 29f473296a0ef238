"""What counts as evidence of a rate, a decay or a schedule, and in which units it is measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.rules.synthetic import BASE, EPOCHS, SICK, STEPS, Story
from tests.rules.test_causes import names
from trainwell.rules.view import SWINGS, View


def swinging(level: float, swing: float) -> Story:
    """A run that overshoots and whose validation loss goes up and down at a level, in units of the base loss."""
    story = Story()
    story.stuck(0.5)
    story.put("q", 0.5)
    story.put("val_loss", BASE * (level + swing * (np.arange(EPOCHS) % 2)))
    return story


@pytest.mark.parametrize(
    ("level", "swing", "told"), [(0.5, 0.2, True), (20.0, 0.2, False), (20.0, 6.0, True)]
)
def test_a_validation_loss_far_above_a_constant_answer_swings_in_units_of_its_level(
    level: float, swing: float, told: bool
) -> None:
    """Rows from elsewhere are answered by chance, and chance is as large as the loss that it makes."""
    traces = swinging(level, swing).traces()
    assert (View(traces).val_swings > SWINGS) is told
    assert ("lr_too_high" in names(traces)) is told


@pytest.mark.parametrize(
    ("train_z", "val_z", "told"), [(8.0, 3.0, True), (3.0, 8.0, True), (8.0, -1.0, False), (3.0, 3.0, False)]
)
def test_a_rate_that_fell_early_is_told_by_either_part_and_contradicted_by_neither(
    train_z: float, val_z: float, told: bool
) -> None:
    story = Story()
    SICK["lr_schedule"](story)
    # 40 % of the steps lie between a fiftieth and a tenth of the peak
    rates = np.where(np.arange(EPOCHS) < 6, 1e-2, 5e-4)
    story.series["lr", None] = (story.series["lr", None][0], rates)
    gained = {
        "train_hot": 0.05,
        "train_hot_z": train_z,
        "val_hot": 0.05 if val_z > 5 else 0.02,
        "val_hot_z": val_z,
    }
    story.facts["what_if"] = {"as_is": {"steps": 24, **gained}}
    assert ("lr_schedule" in names(story.traces())) is told


@pytest.mark.parametrize(
    ("optimizer", "momentum", "decay", "told"),
    [
        ("SGD", 0.9, 0.05, True),
        ("SGD", 0.0, 0.05, False),
        ("SGD", 0.9, 5e-4, False),
        ("Adam", 0.9, 0.05, False),
    ],
)
def test_momentum_repeats_the_decay_of_every_step(
    optimizer: str, momentum: float, decay: float, told: bool
) -> None:
    """At a rate of 0.1 a decay of 0.05 takes a weight to a third in 200 steps, and in 20 with a momentum of 0.9."""
    story = Story()
    story.stuck(0.5)
    story.put("lr", 0.1)
    story.facts |= {"optimizer": optimizer, "hyper": {"lr": 0.1, "weight_decay": decay, "momentum": momentum}}
    for layer in (None, "0.weight", "2.weight", "4.weight"):
        story.put("grad_norm", 100.0, layer)  # against these the decay itself is small
    assert ("weight_decay_misuse" in names(story.traces())) is told


def crawling(**tenfold: float) -> Story:
    story = Story()
    story.stuck(0.3)
    story.put("q", 0.9999)
    story.put("train_loss", BASE * np.linspace(1.0, 0.9, STEPS))
    for layer in ("0.weight", "2.weight", "4.weight"):
        story.put("update_norm", 6e-3, layer)
    gained = {"steps": 24, "train": 0.03, "train_hot": 0.03}
    story.facts["what_if"] = {
        "as_is": gained,
        "tenfold": {"steps": 24, "train_z": 30.0, "val_z": 20.0, **tenfold},
    }
    return story


@pytest.mark.parametrize(
    ("gain", "val_z", "steps", "told"),
    [(0.12, 20.0, 24, True), (0.08, 20.0, 24, False), (0.12, 1.0, 24, False), (0.12, 20.0, 200, False)],
)
def test_a_few_steps_at_ten_times_the_rate_that_gain_more_than_the_whole_run_show_a_low_one(
    gain: float, val_z: float, steps: int, told: bool
) -> None:
    """Also where they gain no more than four times what as many steps at the rate gain: the easy part is soon learned."""
    traces = crawling(train=gain, val_z=val_z, steps=float(steps)).traces()
    assert ("lr_too_low" in names(traces)) is told


@pytest.mark.parametrize(
    ("learnable", "val_z", "told"), [(0.5, 2.5, True), (0.0, 4.0, True), (0.0, 2.5, False)]
)
def test_weights_that_cannot_leave_their_start_are_told_where_new_rows_gain(
    learnable: float, val_z: float, told: bool
) -> None:
    """Another learner may find nothing in texts; that new rows gain at ten times the rate tells as much."""
    story = Story()
    for signal in ("probe_score", "val_score"):
        story.put(signal, 0.25)
    story.put("q", 0.9999)
    noise = np.random.default_rng(1).uniform(0.97, 1.03, STEPS)
    story.put("train_loss", BASE * 1.03 * noise)
    for layer in ("0.weight", "2.weight", "4.weight"):
        story.put("update_norm", 3e-4, layer)
    tenfold = {"steps": 24, "train": 0.004, "train_z": 4.5, "val_z": val_z}
    story.facts |= {
        "learnable": learnable,
        "what_if": {"as_is": {"steps": 24, "train": 2e-4}, "tenfold": tenfold},
    }
    assert ("lr_too_low" in names(story.traces())) is told


@pytest.mark.parametrize(("cosine", "looks", "told"), [(-0.4, 6, True), (-0.4, 4, False), (-0.1, 6, False)])
def test_few_looks_tell_the_sign_of_a_loss_where_all_steps_clearly_go_up(
    cosine: float, looks: int, told: bool
) -> None:
    """Steps of Adam lie at 0.3 to 0.6 of their gradient: what goes against it as clearly is no chance."""
    story = Story()
    story.stuck(0.1)
    story.put("train_loss", BASE * np.linspace(1.0, 40.0, STEPS))
    values: Any = np.full(len(story.series["descent", None][0]), np.nan)
    values[:looks] = cosine
    story.put("descent", values)
    assert ("loss_mismatch" in names(story.traces())) is told
