"""What counts as evidence of a rate, a decay or a schedule, and in which units it is measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.rules.synthetic import BASE, EPOCHS, PER_EPOCH, SICK, STEPS, Story
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


@pytest.mark.parametrize(("ahead", "told"), [(1.5, True), (-1.5, False)])
def test_swings_are_no_harm_where_a_tenth_of_the_rate_falls_behind(ahead: float, told: bool) -> None:
    """Steps at the edge of stability pass the minimum of their own batch, and get further than shorter ones."""
    story = swinging(0.5, 0.2)
    story.facts["what_if"] = {"as_is": {"steps": 24}, "tenth": {"steps": 24, "train": 0.02, "train_z": ahead}}
    assert ("lr_too_high" in names(story.traces())) is told


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


@pytest.mark.parametrize(("update", "z", "told"), [(6e-3, 4.0, True), (6e-3, 3.0, False), (6e-2, 4.0, False)])
def test_what_rows_of_training_and_validation_both_say_adds_up(update: float, z: float, told: bool) -> None:
    """Only where steps are short by themselves: any longer step leaves a plateau."""
    story = crawling(train=0.3, train_z=z, val_z=z)
    for layer in ("0.weight", "2.weight", "4.weight"):
        story.put("update_norm", update, layer)
    story.facts["what_if"]["as_is"] |= {"train": 0.03}
    assert ("lr_too_low" in names(story.traces())) is told


@pytest.mark.parametrize(
    ("scale", "rises", "told"), [(-1.0, True, True), (1.0, True, False), (-1.0, False, False)]
)
def test_a_loss_times_a_number_below_zero_that_rises_has_the_wrong_sign(
    scale: float, rises: bool, told: bool
) -> None:
    story = Story()
    story.stuck(0.1)
    story.put("loss_scale", scale)
    if rises:
        story.put("train_loss", BASE * np.linspace(1.0, 40.0, STEPS))
    assert ("loss_mismatch" in names(story.traces())) is told


@pytest.mark.parametrize(("gain", "told"), [(0.3, True), (0.01, False)])
def test_a_run_that_has_hardly_begun_is_undertrained_where_going_on_gains(gain: float, told: bool) -> None:
    story = Story()
    SICK["undertrained"](story)
    story.put("train_loss", BASE * np.linspace(1.0, 0.97, STEPS))
    going_on = {"steps": STEPS, "val_hot": gain, "val_hot_z": 20.0, "train_hot_z": 20.0}
    story.facts["what_if"] = {"longer": going_on}
    assert ("undertrained" in names(story.traces())) is told


@pytest.mark.parametrize(("stride", "told"), [(0.6, True), (0.05, False)])
def test_a_solved_run_that_one_leap_made_restless_has_too_high_a_rate(stride: float, told: bool) -> None:
    story = Story()
    for signal in ("probe_score", "val_score"):
        story.put(signal, 0.96)
    story.put("q", 0.95)
    restless = BASE * (0.1 + 0.1 * (np.arange(STEPS) // PER_EPOCH % 2))
    story.put("train_loss", restless)
    story.put("val_loss", BASE * (0.1 + 0.1 * (np.arange(EPOCHS) % 2)))
    for layer in ("0.weight", "2.weight", "4.weight"):
        moves = np.full(len(story.series["update_norm", layer][0]), 0.03)
        moves[1] = 6.0 * stride
        story.put("update_norm", moves, layer)
    assert ("lr_too_high" in names(story.traces())) is told


@pytest.mark.parametrize(("q", "told"), [(0.1, True), (0.6, False)])
def test_steps_far_past_the_minimum_that_have_come_to_their_end_are_too_long(q: float, told: bool) -> None:
    """A run that came far is harmed by them as well, where it is not solved and gets no further."""
    story = Story()
    story.stuck(0.87)
    story.put("q", q)
    for layer in ("0.weight", "2.weight", "4.weight"):
        story.put("update_norm", 0.6, layer)
    assert ("lr_too_high" in names(story.traces())) is told


@pytest.mark.parametrize(("dead", "told"), [(0, True), (12, False)])
def test_what_is_left_of_a_layer_that_was_dead_from_the_start_may_overshoot(dead: int, told: bool) -> None:
    story = Story()
    SICK["lr_too_high"](story)
    alive = story.series["unit_activity", "1"][1].copy()
    alive[:, :dead] = 0.0
    story.put("unit_activity", alive, "1")
    found = names(story.traces())
    assert ("lr_too_high" in found) is told and ("dead_units" in found) is not told


@pytest.mark.parametrize(("new", "told"), [(0.92, True), (0.78, False)])
def test_labels_that_are_wrong_in_training_alone_make_new_rows_easier(new: float, told: bool) -> None:
    story = Story()
    story.put("probe_score", 0.77)
    story.put("val_score", new)
    story.facts |= {
        "witness_error": 0.28,
        "witness_sure_error": 0.14,
        "val_sure_rows": 80.0,
        "val_error": 1 - new,
    }
    assert ("label_noise" in names(story.traces())) is told


@pytest.mark.parametrize(("running", "told"), [(False, "batchnorm_misuse"), (True, "loss_mismatch")])
def test_rows_that_answer_for_each_other_are_told_by_what_mixes_them(running: bool, told: str) -> None:
    """Batch norm without running statistics mixes rows in use as well; where it keeps them something else does."""
    story = Story()
    story.stuck()
    story.put("mate_effect", 0.3)
    story.facts["layers"].append({"name": "n", "kind": "BatchNorm1d", "norm": "batch", "momentum": 0.1,
                                  "tracked": 9 if running else None, "running": running})  # fmt: skip
    assert {"batchnorm_misuse", "loss_mismatch"} & set(names(story.traces())) == {told}


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"ignore_index": -100}, False),
        ({"ignore_index": 0}, True),
        ({"ignore_index": 7}, False),
        ({"ignore_index": 0, "targets_per_sample": 12}, False),
        ({"ignore_index": 0, "target_shape": [32, 12], "out_shape": [32, 4, 12]}, False),
    ],
)
def test_a_class_that_the_loss_ignores_is_told_from_padding(facts: dict[str, Any], told: bool) -> None:
    story = Story()
    story.facts |= facts
    assert ("loss_mismatch" in names(story.traces())) is told


@pytest.mark.parametrize(
    ("log_input", "low", "told"), [(True, -3.0, False), (False, -3.0, True), (False, 0.01, False)]
)
def test_outputs_below_zero_are_no_rates(log_input: bool, low: float, told: bool) -> None:
    story = Story()
    story.regression()
    story.facts |= {"loss_name": "poisson_nll_loss", "log_input": log_input, "y_integral": True, "y_min": 0.0}
    story.put("out_min", low)
    assert ("loss_mismatch" in names(story.traces())) is told


@pytest.mark.parametrize(
    ("r", "p", "loss", "told"),
    [
        (0.9, 0.01, "mse_loss", False),
        (0.3, 0.01, "mse_loss", True),
        (0.9, 0.2, "mse_loss", True),
        (0.0, 0.5, "poisson_nll_loss", False),
    ],
)
def test_ratings_and_counts_are_no_names_of_classes(r: float, p: float, loss: str, told: bool) -> None:
    story = Story()
    story.regression()
    story.stuck(0.5)
    story.facts |= {"y_integral": True, "y_distinct": 9, "y_min": 0.0, "y_max": 8.0, "loss_name": loss}
    story.facts |= {"ordinal_r": r, "ordinal_p": p}
    assert ("loss_mismatch" in names(story.traces())) is told


@pytest.mark.parametrize(("share", "told"), [(0.1, False), (0.6, True)])
def test_tokens_from_another_vocabulary_are_a_shift_where_they_cost(share: float, told: bool) -> None:
    story = Story()
    story.put("val_loss", BASE * np.linspace(1.0, 0.9, EPOCHS))
    story.facts["shift_tokens"] = share
    assert ("train_val_shift" in names(story.traces())) is told


def test_plain_tensors_do_not_learn() -> None:
    story = Story()
    story.facts["plain_tensors"] = ["w"]
    assert names(story.traces())[0] == "params_not_trained"


@pytest.mark.parametrize(("rms", "first", "told"), [(0.1, 8.0, False), (50.0, 8.0, True), (50.0, 1.0, False)])
def test_biases_that_make_the_first_answers_sure_are_a_bad_start(
    rms: float, first: float, told: bool
) -> None:
    story = Story()
    story.stuck(0.6)
    loss = story.series["train_loss", None][1].copy()
    loss[:PER_EPOCH] *= first
    story.put("train_loss", loss)
    bias = {**story.facts["params"][-1], "name": "4.bias", "leaf": "bias", "shape": [4], "rms": rms}
    story.facts["params"].append(bias)
    assert ("bad_init" in names(story.traces())) is told


@pytest.mark.parametrize(
    ("sided", "score", "told"), [(False, 0.6, False), (True, 0.6, True), (True, 0.99, False)]
)
def test_weights_of_one_sign_are_a_bad_start_of_a_run_that_is_not_solved(
    sided: bool, score: float, told: bool
) -> None:
    story = Story()
    story.stuck(score)
    story.facts["params"][0]["one_sided"] = sided
    assert ("bad_init" in names(story.traces())) is told


@pytest.mark.parametrize(("steps", "told"), [(5e-4, True), (1.2e-6, False)])
def test_a_decay_that_takes_hardly_anything_holds_nothing_back(steps: float, told: bool) -> None:
    """Units that are dead move by their decay alone, however weak it is."""
    story = Story()
    story.stuck()
    story.facts |= {
        "decoupled_decay": True,
        "optimizer": "AdamW",
        "hyper": {"lr": 1e-3, "weight_decay": steps / 1e-3},
    }
    for layer in ("0.weight", "2.weight", "4.weight"):
        story.put("update_norm", 6.0 * steps, layer)
    assert ("weight_decay_misuse" in names(story.traces())) is told


@pytest.mark.parametrize(
    ("q", "first", "told"), [(0.97, 2, True), (0.5, 2, False), (0.97, 0, False), (0.5, 9, True)]
)
def test_a_loss_that_is_no_number_after_short_steps_was_not_thrown(q: float, first: int, told: bool) -> None:
    """Two losses show no growth, but steps along which the loss falls as its slope says are not too long."""
    story = Story()
    story.stuck(0.25)
    loss = BASE * np.ones(STEPS)
    loss[first:] = np.nan
    story.put("train_loss", loss)
    looks = np.arange(len(story.series["q", None][0]))
    story.series["q", None] = (looks, np.where(looks < first, q, np.nan))
    assert ("bad_features" in names(story.traces())) is told
