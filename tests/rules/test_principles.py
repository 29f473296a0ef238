"""What tells faults apart that look alike: what lasts, what was reached, what a second witness says."""

from __future__ import annotations

import numpy as np
import pytest

from tests.rules.synthetic import BASE, EPOCHS, LOOKS, PER_EPOCH, SICK, STEPS, Story
from tests.rules.test_causes import names
from trainwell.rules.view import View

MATRICES = ("0.weight", "2.weight", "4.weight")


def faded_over_time(farthest: float) -> Story:
    """A recurrent net that learned nothing, whose gradient fades on the way to its first steps."""
    story = Story()
    story.stuck(0.25)
    story.put("q", 0.98)
    story.put("train_loss", BASE * np.random.default_rng(1).uniform(0.99, 1.01, STEPS))
    story.series["back_time", "rnn"] = (LOOKS, np.tile(np.geomspace(1e-6, 1.0, 24), (len(LOOKS), 1)))
    story.facts["distance"] = dict.fromkeys(MATRICES, farthest)
    return story


@pytest.mark.parametrize(("farthest", "told"), [(0.05, "lr_too_low"), (0.5, "vanishing_gradient")])
def test_weights_that_are_where_they_began_say_nothing_of_the_gradient(farthest: float, told: str) -> None:
    """Recurrent nets fade by design; only what went somewhere and still learned nothing shows that it is to blame."""
    found = names(faded_over_time(farthest).traces())
    assert {"lr_too_low", "vanishing_gradient"} & set(found) == {told}


@pytest.mark.parametrize(
    ("update", "times", "told"), [(6e-3, 5.7, True), (6e-2, 5.7, False), (6e-2, 8.4, True)]
)
def test_steps_of_usual_size_are_short_only_where_ten_times_as_long_gain_nearly_ten_times(
    update: float, times: float, told: bool
) -> None:
    """A loss that falls when a run is cut off gains from any longer step: then the budget is to blame."""
    story = Story()
    SICK["undertrained"](story)
    story.put("q", 0.995)
    for layer in MATRICES:
        story.put("update_norm", update, layer)
    as_is = {
        "steps": 24,
        "train": 0.02,
        "train_hot": 0.02,
        "val_hot": 0.02,
        "val_hot_z": 9.0,
        "train_hot_z": 9.0,
    }
    tenfold = {"steps": 24, "train": 0.02 * times, "train_z": 12.0, "val_z": 9.0}
    story.facts["what_if"] = {"as_is": as_is, "tenfold": tenfold}
    found = names(story.traces(), folded=False)
    assert ("lr_too_low" in found) is told and ("undertrained" in found) is not told


@pytest.mark.parametrize(
    ("dead", "from_start", "told"), [(12, True, True), (12, False, False), (6, True, False)]
)
def test_most_of_a_layer_that_never_worked_is_a_fault_of_a_good_run_too(
    dead: int, from_start: bool, told: bool
) -> None:
    story = Story()
    story.put("probe_score", 0.97)
    story.put("val_score", 0.96)
    activity = story.series["unit_activity", "1"][1].copy()
    activity[0 if from_start else len(LOOKS) // 4 :, :dead] = 0.0
    story.put("unit_activity", activity, "1")
    assert ("dead_units" in names(story.traces())) is told


@pytest.mark.parametrize(("scale", "val", "told"), [(1.6, 1.0, True), (1.6, 0.3, False), (1.2, 1.0, False)])
def test_a_variance_twice_as_large_is_a_shift_where_new_rows_fare_far_worse(
    scale: float, val: float, told: bool
) -> None:
    story = Story()
    story.put("val_loss", val * BASE)
    story.facts["shift_scale"] = scale
    assert ("train_val_shift" in names(story.traces())) is told


@pytest.mark.parametrize(
    ("explained", "val", "told"), [(0.8, 0.9, True), (0.1, 0.9, False), (0.8, 4.0, False), (0.8, 0.1, False)]
)
def test_a_witness_that_finds_much_in_validation_and_nothing_in_training_tells_wrong_labels(
    explained: float, val: float, told: bool
) -> None:
    """Answers that are far off leave residuals that a constant explains, and good ones were learned somewhere."""
    story = Story()
    story.stuck(0.4)
    story.put("val_loss", val * BASE)
    story.facts |= {"learnable": 0.02, "residual_r2": explained}
    assert ("shuffled_labels" in names(story.traces())) is told


@pytest.mark.parametrize(("steps", "told"), [(STEPS, True), (30, False)])
def test_a_run_of_few_steps_says_nothing_of_its_labels(steps: int, told: bool) -> None:
    story = Story()
    SICK["shuffled_labels"](story)
    story.facts["steps"] = steps
    assert ("shuffled_labels" in names(story.traces())) is told


@pytest.mark.parametrize(("rms", "mean", "told"), [(15.0, 14.2, True), (3.0, 2.8, False), (15.0, 2.0, False)])
def test_targets_far_off_are_unscaled_where_level_and_size_both_say_so(
    rms: float, mean: float, told: bool
) -> None:
    story = Story()
    story.regression()
    story.stuck(0.8)
    story.facts |= {"y_rms": rms, "y_mean": mean, "y_sd": float(np.sqrt(rms**2 - mean**2))}
    assert ("unscaled_targets" in names(story.traces())) is told


@pytest.mark.parametrize(("first", "told"), [(15.0, True), (1.0, False)])
def test_targets_that_a_network_takes_far_away_were_not_there_from_the_start(
    first: float, told: bool
) -> None:
    """As in Q-learning whose rate throws the values it learns from."""
    story = Story()
    story.regression()
    story.stuck(0.8)
    story.facts |= {"y_rms": 15.3, "y_mean": 15.0, "y_sd": 3.0}
    steps = story.series["q", None][0]
    story.series["target_mean", None] = (steps, np.append(first, np.full(len(steps) - 1, 15.0)))
    assert ("unscaled_targets" in names(story.traces())) is told


@pytest.mark.parametrize(
    ("witness", "network", "wrong", "rows", "told"),
    [
        (0.26, 0.3, 0.29, 80.0, True),
        (0.1, 0.3, 0.29, 80.0, False),
        (0.26, 0.1, 0.29, 80.0, False),
        (0.26, 0.3, 0.29, 30.0, False),
        (0.26, 0.0, 0.0, 80.0, False),
    ],
)
def test_two_that_err_as_much_where_they_are_sure_tell_wrong_labels_of_two_classes(
    witness: float, network: float, wrong: float, rows: float, told: bool
) -> None:
    """With every fifth of two labels mistaken nobody comes near half of the errors of a constant answer."""
    story = Story()
    story.stuck(0.72)
    story.facts |= {
        "witness_error": 0.265, "witness_base_error": 0.39, "witness_sure_error": witness, "witness_sure_rows": rows,
        "val_error": wrong, "val_sure_error": network, "val_sure_rows": 30.0,
    }  # fmt: skip
    assert ("label_noise" in names(story.traces())) is told


@pytest.mark.parametrize(("gain", "z", "told"), [(0.08, 19.0, True), (0.08, 2.0, False), (0.01, 19.0, False)])
def test_two_epochs_are_too_few_where_going_on_surely_gains(gain: float, z: float, told: bool) -> None:
    """The curve of two epochs has no shape, but the continuation needs none."""
    story = Story()
    SICK["undertrained"](story)
    story.facts["steps"] = 2 * PER_EPOCH
    for signal in ("val_loss", "val_losses", "val_score", "probe_loss", "probe_score"):
        steps, values = story.series[signal, None]
        story.series[signal, None] = (steps[:2], values[:2])
    steps, values = story.series["train_loss", None]
    story.series["train_loss", None] = (steps[: 2 * PER_EPOCH], values[: 2 * PER_EPOCH])
    going_on = {"steps": 2 * PER_EPOCH, "val_hot": gain, "val_hot_z": z, "train_hot_z": z}
    story.facts["what_if"] = {"longer": going_on}
    assert ("undertrained" in names(story.traces())) is told


@pytest.mark.parametrize(
    ("z", "steps", "told"), [(8.0, STEPS // 2, True), (4.0, STEPS // 2, False), (8.0, 24, False)]
)
def test_the_gain_of_half_as_many_steps_counts_twice_where_it_is_sure(
    z: float, steps: int, told: bool
) -> None:
    story = Story()
    SICK["undertrained"](story)
    story.put(
        "train_loss", BASE * (0.7 + 0.3 * np.exp(-np.arange(STEPS) / 60))
    )  # the curve itself has come to rest
    story.facts["what_if"] = {"as_is": {"steps": steps, "val_hot": 0.04, "val_hot_z": z, "train_hot_z": z}}
    assert ("undertrained" in names(story.traces())) is told


def test_units_that_a_leap_of_the_rate_killed_are_told_beside_it() -> None:
    """They do not come back when the rate is right again."""
    story = Story()
    story.stuck(0.4)
    rates = np.full(EPOCHS, 1e-3)
    rates[3] = 0.1
    story.series["lr", None] = (np.arange(EPOCHS) * PER_EPOCH + 1, rates)
    activity = story.series["unit_activity", "1"][1].copy()
    activity[len(LOOKS) // 2 :, :14] = 0.0
    story.put("unit_activity", activity, "1")
    story.put("train_loss", BASE * np.where(np.arange(STEPS) < 120, 0.5, 0.9))
    assert names(story.traces(), folded=False)[:2] == ["lr_schedule", "dead_units"]


def test_wrong_labels_that_are_learned_by_heart_are_two_findings() -> None:
    story = Story()
    SICK["overfitting"](story)
    story.put("val_score", 0.75)
    story.facts |= {"witness_error": 0.16, "witness_sure_error": 0.14}
    assert {"label_noise", "overfitting"} <= set(names(story.traces(), folded=False))


@pytest.mark.parametrize("restless", [True, False])
def test_a_rate_that_bounces_is_told_in_a_solved_run_that_it_throws_back(restless: bool) -> None:
    story = Story()
    for signal in ("probe_score", "val_score"):
        story.put(signal, 0.95)
    story.series["lr", None] = (
        np.arange(EPOCHS) * PER_EPOCH + 1,
        0.1 * np.asarray([1.0, 0.2, 0.02] * 3 + [0.1, 1, 1]),
    )
    if restless:
        story.put("train_loss", BASE * (0.05 + 0.2 * (np.arange(STEPS) // PER_EPOCH % 3 == 0)))
    assert ("lr_schedule" in names(story.traces(), folded=False)) is restless


@pytest.mark.parametrize(("late", "told"), [(2.0, True), (1.0, False)])
def test_rows_in_order_are_forgotten_also_where_the_last_epoch_ends_well(late: float, told: bool) -> None:
    story = Story()
    story.regression()
    story.stuck(0.5)
    level = 0.4 + 0.3 * (np.arange(EPOCHS) % 2)
    story.put("train_loss", BASE * np.repeat(level, PER_EPOCH))
    story.put("val_loss", BASE * late * level)
    story.put("probe_loss", BASE * level)
    story.facts["between_batches_x"] = 0.9
    assert ("unshuffled_data" in names(story.traces())) is told


@pytest.mark.parametrize(("few", "left", "told"), [(0.3, 0.6, True), (0.7, 0.6, False), (0.3, 0.2, False)])
def test_a_network_that_cannot_learn_half_of_a_few_rows_is_too_small_though_it_creeps_on(
    few: float, left: float, told: bool
) -> None:
    story = Story()
    SICK["undertrained"](story)
    story.facts |= {"residual_r2": left, "few_way": few}
    assert ("underfitting" in names(story.traces())) is told


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_validation_loss_of_rows_from_elsewhere_swings_by_itself(elsewhere: bool) -> None:
    story = Story()
    story.stuck(0.6)
    story.put("q", 0.6)
    story.put("val_loss", BASE * (1.5 + 1.0 * (np.arange(EPOCHS) % 2)))
    if elsewhere:
        story.facts |= {"shift_sd": 1.4, "shift_z": 20.0}
    found = names(story.traces())
    assert ("lr_too_high" in found) is not elsewhere and ("train_val_shift" in found) is elsewhere


@pytest.mark.parametrize(
    ("farthest", "val", "told"), [(0.03, 0.6, True), (0.6, 0.6, False), (0.03, 0.05, False)]
)
def test_large_weights_that_stay_where_they_are_fit_rows_by_chance(
    farthest: float, val: float, told: bool
) -> None:
    """Lazy training: what a network of large weights computes hardly changes, and new rows pay for it."""
    story = Story()
    for signal in ("probe_score", "val_score"):
        story.put(signal, 0.95)
    story.put("val_loss", val * BASE)
    for param in story.facts["params"]:
        param["rms"] = param["rms_end"] = 1.0
    story.facts["distance"] = dict.fromkeys(MATRICES, farthest)
    assert ("bad_init" in names(story.traces())) is told


def test_rows_count_as_the_loss_weighs_them() -> None:
    """To know a rare class costs some of the others: by their plain number such a network is worse than a constant."""
    story = Story()
    counts = {"0": 950, "1": 50}
    recalls = {"0": [950, 860], "1": [50, 46]}
    story.facts |= {
        "class_counts": counts,
        "base_score": 0.95,
        "train_recalls": recalls,
        "val_recalls": recalls,
    }
    story.stuck(0.906)
    assert View(story.traces()).way < 0
    story.facts |= {"class_weights": {"0": 1.0, "1": 19.0}, "loss_weighted": True}
    assert View(story.traces()).way == pytest.approx((0.5 * (860 / 950 + 46 / 50) - 0.5) / 0.5)


@pytest.mark.parametrize(
    ("rise", "new", "own", "told"),
    [(0.2, -3.5, 9.0, True), (0.03, -3.5, 9.0, False), (0.2, -1.0, 9.0, False), (0.2, -3.5, 1.0, False)],
)
def test_a_rise_that_few_rows_leave_unsure_is_none_by_chance_where_going_on_adds_to_it(
    rise: float, new: float, own: float, told: bool
) -> None:
    """An early stop leaves a gap as wide, and going on would cost it as much: there nothing has risen yet."""
    story = Story()
    curve = BASE * (0.7 + rise * np.linspace(0.0, 1.0, EPOCHS))
    story.put("val_loss", curve)
    noise = np.random.default_rng(3).normal(0.0, 3.0 * BASE, (EPOCHS, 80))
    story.put("val_losses", curve[:, None] + noise - noise.mean(1, keepdims=True))
    going_on = {"steps": STEPS, "val_hot_z": new, "train_hot_z": own}
    story.facts["what_if"] = {"longer": going_on}
    assert ("overfitting" in names(story.traces())) is told


@pytest.mark.parametrize("weighted", [True, False])
def test_few_rows_of_weighted_classes_do_not_tell_whether_a_network_is_too_small(weighted: bool) -> None:
    """Of 32 rows one is of the rare class: to miss it is half of the way or more."""
    story = Story()
    SICK["underfitting"](story)
    if weighted:
        story.facts["class_weights"] = {"0": 1.0, "1": 30.0, "2": 1.0, "3": 1.0}
    assert ("underfitting" in names(story.traces())) is not weighted


@pytest.mark.parametrize(
    ("update", "learnable", "told"), [(0.6, 0.8, True), (0.6, 0.4, False), (0.03, 0.8, False)]
)
def test_steps_past_the_minimum_that_renew_weights_cost_what_a_simple_learner_knows_better(
    update: float, learnable: float, told: bool
) -> None:
    """The loss may fall all the while: from weights that are made anew every few steps it does not get far."""
    story = Story()
    story.stuck(0.5)
    story.put("q", 0.6)
    story.put("train_loss", BASE * np.linspace(1.0, 0.6, STEPS))
    story.facts["learnable"] = learnable
    for layer in MATRICES:
        story.put("update_norm", update, layer)
    assert ("lr_too_high" in names(story.traces())) is told
