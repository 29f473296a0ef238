"""What stands, what is frozen and what only seems to have come to its end; a trial that outweighs a curve."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.rules.synthetic import BASE, EPOCHS, LOOKS, ROWS, SICK, STEPS, Story
from tests.rules.test_causes import names
from trainwell.rules.view import View

MATRICES = ("0.weight", "2.weight", "4.weight")


@pytest.mark.parametrize(
    ("momentum", "filled", "gap", "told"),
    [(0.0055, False, 0.1, True), (0.0055, True, 0.1, False), (0.0055, False, -0.1, False), (0.05, False, 0.1, False)],
)  # fmt: skip
def test_start_values_that_a_low_momentum_leaves_in_running_statistics(
    momentum: float, filled: bool, gap: float, told: bool
) -> None:
    """After n batches (1 - momentum)^n of mean 0 and variance 1 is still there; loaded statistics were no start."""
    story = Story()
    story.stuck(0.7)
    story.facts["steps"] = 300
    story.facts["layers"].append(
        {"name": "n", "kind": "BatchNorm2d", "norm": "batch", "momentum": momentum, "tracked": 0,
         "running": True, "filled": filled}
    )  # fmt: skip
    level = float(story.series["probe_loss", None][1][-1])
    story.series["train_mode_loss", None] = ([STEPS], [level - gap * BASE])
    assert ("batchnorm_misuse" in names(story.traces())) is told


@pytest.mark.parametrize(
    ("zeros", "moved", "told"), [(2, False, True), (1, False, False), (2, True, False), (0, False, False)]
)
def test_zeros_that_multiply_each_other_never_leave_their_start(zeros: int, moved: bool, told: bool) -> None:
    """One factor of a low-rank change starts at zero by design; with both the gradient of each is zero."""
    story = Story()
    story.stuck(0.5)
    first: dict[str, Any] = story.facts["params"][0]
    for i in range(2):
        factor = {"name": f"0.{'ab'[i]}", "leaf": "ab"[i], "rms": 0.0 if i < zeros else 0.1, "moved": moved}
        story.facts["params"].append({**first, "fresh": False, "rms_end": 0.0, **factor})
    assert ("bad_init" in names(story.traces())) is told


@pytest.mark.parametrize(
    ("way", "learnable", "went", "told"),
    [(0.0, 0.4, 2.0, True), (0.5, 0.4, 2.0, False), (0.0, 0.05, 2.0, False), (0.0, 0.4, 0.1, False)],
)
def test_a_frozen_part_from_which_nothing_can_be_learned_should_learn(
    way: float, learnable: float, went: float, told: bool
) -> None:
    """What was trained before tells something of the targets, however random few numbers look."""
    story = Story()
    story.stuck(0.25 + 0.75 * way)
    for name, param in zip(MATRICES, story.facts["params"], strict=True):
        param |= {"fresh": False, "learns": name != MATRICES[0], "optimized": name != MATRICES[0]}
    story.facts |= {"learnable": learnable, "distance": dict.fromkeys(MATRICES[1:], went)}
    assert ("params_not_trained" in names(story.traces())) is told


@pytest.mark.parametrize(("gain", "z", "told"), [(0.2, 9.0, False), (0.2, 1.0, True), (0.01, 9.0, True)])
def test_a_network_that_learns_more_when_it_goes_on_is_not_too_small(
    gain: float, z: float, told: bool
) -> None:
    """The curve had come to rest, but what was tried outweighs it."""
    story = Story()
    SICK["underfitting"](story)
    story.facts["few_way"] = 0.7
    story.facts["what_if"] = {"longer": {"steps": STEPS, "train": gain, "train_z": z, "val_hot": 0.0}}
    assert ("underfitting" in names(story.traces())) is told


def overshooting(train_z: float, val_z: float, gain: float) -> Story:
    """Steps past the minimum and a loss that rises now and then, of which a tenth was tried."""
    story = Story()
    SICK["lr_too_high"](story)
    as_is = {"steps": 24, "train": 0.1, "train_hot": 0.02, "val": 0.1}
    story.facts["what_if"] = {
        "as_is": as_is,
        "tenth": {"steps": 24, "train": gain, "train_z": train_z, "val_z": val_z},
    }
    return story


@pytest.mark.parametrize(
    ("train_z", "val_z", "gain", "told"),
    [(-3.0, -3.0, 0.04, False), (-3.0, 0.0, 0.04, True), (-3.0, -3.0, 0.09, True), (0.0, 0.0, 0.04, True)],
)  # fmt: skip
def test_a_tenth_of_the_rate_that_surely_falls_behind_clears_the_rate(
    train_z: float, val_z: float, gain: float, told: bool
) -> None:
    """At the edge of stability steps overshoot along their line; what it gains against the rate is heard."""
    found = names(overshooting(train_z, val_z, gain).traces())
    assert ("lr_too_high" in found) is told


@pytest.mark.parametrize(("z", "told"), [(-3.0, False), (0.0, True)])
def test_a_trial_clears_the_rate_of_a_restless_run_that_is_solved_too(z: float, told: bool) -> None:
    story = overshooting(z, z, 0.04)
    for signal in ("probe_score", "val_score"):
        story.put(signal, 0.95)
    story.put("val_loss", 0.3 * BASE)
    assert ("lr_too_high" in names(story.traces())) is told


@pytest.mark.parametrize(
    ("last", "update", "told"), [(1.02, 0.6, True), (0.85, 0.6, False), (1.02, 0.03, False)]
)
def test_steps_that_renew_the_weights_and_undo_all_that_was_learned_are_too_long(
    last: float, update: float, told: bool
) -> None:
    """Each step may suit its own batch, and the validation loss need not come down again."""
    story = Story()
    story.stuck(0.4)
    low = EPOCHS // 2
    level = np.concatenate([np.linspace(1.0, 0.7, low), np.linspace(0.7, last, EPOCHS - low)])
    story.put("train_loss", BASE * np.repeat(level, STEPS // EPOCHS))
    story.put("val_loss", BASE * level)
    story.put("val_losses", np.repeat(BASE * level[:, None], ROWS, 1))
    story.put("probe_loss", BASE * level)
    story.put("q", 0.8 + 0.0 * LOOKS)
    for layer in MATRICES:
        story.put("update_norm", update, layer)
    assert ("lr_too_high" in names(story.traces())) is told


@pytest.mark.parametrize(("own", "told"), [(0.06, True), (0.22, False)])
def test_a_small_but_sure_rise_counts_where_training_rows_are_known_far_better(
    own: float, told: bool
) -> None:
    """Where most of a task is learned no gap is wide in units of a constant answer."""
    story = Story()
    curve = BASE * (0.26 + 0.065 * np.linspace(0.0, 1.0, EPOCHS))
    story.put("val_loss", curve)
    story.put("val_losses", np.repeat(curve[:, None], ROWS, 1))
    story.put("probe_loss", own * BASE)
    assert ("overfitting" in names(story.traces())) is told


@pytest.mark.parametrize(("new", "told"), [(0.03, False), (0.6, True)])
def test_losses_that_jump_cost_nothing_where_new_rows_are_answered_right(new: float, told: bool) -> None:
    """Odd rows of the training, which a clipped gradient leaves aside, jump by themselves."""
    story = Story()
    story.regression()
    story.put("probe_score", 0.4)
    story.put("val_score", 1 - new)
    story.put("val_loss", new * BASE)
    level = np.full(STEPS, 0.1 * BASE) * np.random.default_rng(4).uniform(0.95, 1.05, STEPS)
    level[::12] = 3 * BASE
    story.put("train_loss", level)
    story.put("q", 0.6)
    found = names(story.traces())
    assert bool({"lr_too_high", "exploding_gradient"} & set(found)) is told


@pytest.mark.parametrize(("stride", "q", "told"), [(1.4, 0.6, True), (0.3, 0.6, False), (1.4, 0.9, False)])
def test_a_step_as_long_as_the_weights_among_steps_past_the_minimum_is_too_long(
    stride: float, q: float, told: bool
) -> None:
    """No sound run that is left unsolved made its weights anew in one step, however calm it looks afterwards."""
    story = Story()
    story.stuck(0.6)
    story.put("q", q)
    for layer in MATRICES:
        steps = np.full(len(LOOKS), 0.03)
        steps[0] = 6.0 * stride
        story.put("update_norm", steps, layer)
    assert ("lr_too_high" in names(story.traces())) is told


def test_a_step_from_zeros_is_not_long() -> None:
    """As the first of a low-rank change, half of which begins as nothing."""
    story = Story()
    weights = np.full(len(LOOKS), 6.0)
    weights[0] = 0.0
    for layer in MATRICES:
        story.put("weight_norm", weights, layer)
    assert View(story.traces()).longest_stride == pytest.approx(0.03 / 6.0)


@pytest.mark.parametrize(("gain", "told"), [(0.02, True), (0.2, False)])
def test_long_steps_have_not_come_to_their_end_where_going_on_still_gains(gain: float, told: bool) -> None:
    story = Story()
    story.stuck(0.5)
    story.put("q", 0.6)
    for layer in MATRICES:
        story.put("update_norm", 0.6, layer)
    story.facts |= {"learnable": 0.4, "what_if": {"longer": {"steps": STEPS, "train": gain, "train_z": 9.0}}}
    assert ("lr_too_high" in names(story.traces())) is told


@pytest.mark.parametrize(
    ("z", "own", "last", "told"),
    [(2.3, 0.2, 0.70, True), (1.5, 0.2, 0.70, False), (2.3, 0.01, 0.70, False), (2.3, 0.2, 0.7275, False)],
)
def test_few_new_rows_tell_a_short_budget_together_with_the_run_itself(
    z: float, own: float, last: float, told: bool
) -> None:
    """The curve is as steep as ever, the last epoch bettered the very rows, and its own rows gain on."""
    story = Story()
    SICK["undertrained"](story)
    curve = BASE * np.append(np.linspace(0.98, 0.7275, EPOCHS - 1), last)
    rows = np.repeat(curve[:, None], ROWS, 1) * np.random.default_rng(6).uniform(0.99, 1.01, (1, ROWS))
    story.put("val_loss", rows.mean(1))
    story.put("val_losses", rows)
    going_on = {
        "steps": STEPS,
        "val_hot": 0.1,
        "val_hot_z": z,
        "train_hot_z": 9.0,
        "train": own,
        "train_z": 9.0,
    }
    story.facts["what_if"] = {"longer": going_on}
    assert ("undertrained" in names(story.traces())) is told


@pytest.mark.parametrize(
    ("rms", "stride", "told"), [(0.002, 2.0, True), (0.2, 2.0, False), (0.002, 0.2, False)]
)
def test_weights_that_a_step_of_usual_length_makes_anew_began_too_small(
    rms: float, stride: float, told: bool
) -> None:
    """Norms keep the signal at its scale, so that nothing fades; the weights are small all the same."""
    story = Story()
    story.stuck(0.4)
    for param in story.facts["params"]:
        param["rms"] = rms
    for layer in MATRICES:
        steps = np.full(len(LOOKS), 0.03)
        steps[0] = 6.0 * stride
        story.put("update_norm", steps, layer)
    assert ("bad_init" in names(story.traces())) is told


@pytest.mark.parametrize(
    ("tenfold", "as_is", "z", "told"),
    [(0.12, 0.02, 9.0, True), (0.12, 0.07, 9.0, False), (0.06, 0.02, 9.0, False), (0.12, 0.02, 3.0, False)],
)  # fmt: skip
def test_ten_times_the_rate_that_gets_below_a_constant_answer_shows_a_low_one(
    tenfold: float, as_is: float, z: float, told: bool
) -> None:
    """The whole run did not; what is learned first is soon learned, so that more cannot be gained in few steps."""
    story = Story()
    story.stuck(0.25)
    story.put("q", 0.9995)
    story.put("train_loss", BASE * np.linspace(1.2, 1.05, STEPS))
    for part in ("val_loss", "probe_loss"):
        story.put(part, BASE * np.linspace(1.2, 1.05, EPOCHS))
    story.put("val_losses", np.repeat(BASE * np.linspace(1.2, 1.05, EPOCHS)[:, None], ROWS, 1))
    for layer in MATRICES:
        story.put("update_norm", 5e-3, layer)
    story.facts["what_if"] = {
        "as_is": {"steps": 24, "train": as_is, "val": as_is},
        "tenfold": {"steps": 24, "train": tenfold, "val": tenfold, "train_z": z, "val_z": z},
    }
    assert ("lr_too_low" in names(story.traces(), folded=False)) is told


@pytest.mark.parametrize(("low", "told"), [(0.7, True), (-2.5, False)])
def test_what_is_gained_is_held_against_the_whole_way_of_the_run(low: float, told: bool) -> None:
    """A likelihood falls far below zero, so that what a constant answer costs is a small part of the way."""
    story = Story()
    SICK["undertrained"](story)
    story.put("train_loss", BASE * np.linspace(1.0, low, STEPS))
    story.facts["what_if"] = {
        "longer": {"steps": STEPS, "val_hot": 0.1, "val_hot_z": 9.0, "train_hot_z": 9.0}
    }
    assert ("undertrained" in names(story.traces())) is told


@pytest.mark.parametrize(("rows", "told"), [(40, False), (400, True)])
def test_what_more_rows_tell_is_no_fault_of_a_network_that_saw_fewer(rows: int, told: bool) -> None:
    story = Story()
    SICK["underfitting"](story)
    story.facts["seen_rows"] = float(rows)
    assert ("underfitting" in names(story.traces())) is told


@pytest.mark.parametrize(
    ("constant", "score", "told"), [(70.0, 0.5, True), (300.0, 0.5, False), (70.0, 0.97, False)]
)
def test_a_decay_stronger_than_any_of_a_sound_run_is_misuse_where_much_is_left(
    constant: float, score: float, told: bool
) -> None:
    story = Story()
    story.stuck(score)
    story.put("lr", 0.1)
    story.facts |= {"optimizer": "SGD", "hyper": {"lr": 0.1, "weight_decay": 10 / constant, "momentum": 0.0}}
    for layer in (None, *MATRICES):
        story.put("grad_norm", 100.0, layer)  # against these the decay itself is small
    assert ("weight_decay_misuse" in names(story.traces())) is told


@pytest.mark.parametrize(("few", "val_z", "told"), [(1.0, 1.5, True), (0.3, 1.5, False), (1.0, -1.0, False)])
def test_weights_that_cannot_leave_their_start_may_be_told_by_a_few_rows_learned_at_a_usual_rate(
    few: float, val_z: float, told: bool
) -> None:
    """No simple learner finds anything, and new rows hardly differ yet: it is enough that they do not contradict."""
    story = Story()
    story.stuck(0.25)
    story.put("q", 0.9999)
    story.put("train_loss", BASE * np.linspace(1.001, 1.0, STEPS))
    for part in ("val_loss", "probe_loss"):
        story.put(part, BASE)
    for layer in MATRICES:
        story.put("update_norm", 2e-4, layer)
    as_is, tenfold = ({"steps": 24, "train": g, "train_hot": g} for g in (1e-4, 1e-3))
    tenfold |= {"train_z": 6.0, "val_z": val_z}
    story.facts |= {"learnable": 0.05, "few_way": few, "what_if": {"as_is": as_is, "tenfold": tenfold}}
    assert ("lr_too_low" in names(story.traces(), folded=False)) is told


@pytest.mark.parametrize(("constant", "told"), [(70.0, "lr_too_high"), (20.0, "weight_decay_misuse")])
def test_a_rate_that_is_too_high_makes_a_usual_decay_strong(constant: float, told: str) -> None:
    story = Story()
    SICK["lr_too_high"](story)
    story.put("lr", 10.0)
    story.facts |= {
        "optimizer": "SGD",
        "hyper": {"lr": 10.0, "weight_decay": 0.1 / constant, "momentum": 0.0},
    }
    assert names(story.traces(), folded=False)[0] == told


@pytest.mark.parametrize(
    ("learnable", "gain", "told"), [(0.9, 0.1, True), (0.1, 0.1, False), (0.1, 0.25, True)]
)
def test_a_network_that_knows_more_than_a_simple_learner_is_cut_off_only_where_much_is_gained(
    learnable: float, gain: float, told: bool
) -> None:
    """What others know and it does not can surely be learned; a little more is to be had from every training."""
    story = Story()
    SICK["undertrained"](story)
    going_on = {"steps": STEPS, "val_hot": gain, "val_hot_z": 9.0, "train_hot_z": 9.0}
    story.facts |= {"learnable": learnable, "what_if": {"longer": going_on}}
    assert ("undertrained" in names(story.traces())) is told


@pytest.mark.parametrize(("rows", "told"), [(5120, True), (1280, False)])
def test_the_more_passes_a_run_had_the_more_twice_as_many_must_bring(rows: int, told: bool) -> None:
    """A gain of 0.08 is marked after three passes over the data; after twelve every run still learns a little."""
    story = Story()
    story.put("train_loss", BASE * np.linspace(0.8, 0.4, STEPS))
    story.put("probe_loss", 0.4 * BASE)
    story.put("probe_score", 0.6)
    story.put("val_score", 0.6)
    gains = {"steps": STEPS, "val": 0.08, "val_hot": 0.08, "val_hot_z": 9.0, "train": 0.1, "train_z": 9.0}
    story.facts |= {"rows_per_epoch": rows, "what_if": {"as_is": {"steps": 24}, "longer": gains}}
    assert ("undertrained" in names(story.traces())) is told
