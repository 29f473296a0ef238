"""Runs of which two faults, or a fault and a harmless oddity, look alike: what is told, and what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.rules.synthetic import BASE, LOOKS, SICK, Story, healthy_traces, rebuilt, sick_traces
from trainwell.rules import diagnose
from trainwell.values.signal import Traces


def put(traces: Traces, values: dict[tuple[str, str | None], float]) -> Traces:
    """Return traces some of whose series have one value throughout."""

    def change(signal: str, name: str | None, old: Any) -> tuple[str | None, Any]:
        return name, old * 0 + values[signal, name] if (signal, name) in values else old

    return rebuilt(traces, change)


def names(traces: Traces, folded: bool = True) -> list[str]:
    return [g.ailment for f in diagnose(traces) for g in (f, *(f.consequences if folded else ()))]


@pytest.mark.parametrize(("pulled", "told"), [(1, False), (2, True), (3, True)])
def test_decay_that_rules_one_table_alone_is_no_misuse(pulled: int, told: bool) -> None:
    """The rows of an embedding that no batch holds are moved by the decay alone, and that harms nothing."""
    traces = sick_traces("underfitting")
    traces.facts |= {"decoupled_decay": True, "hyper": {"lr": 1e-3, "weight_decay": 0.5}}
    weights: dict[tuple[str, str | None], float] = {
        ("weight_norm", f"{2 * i}.weight"): 60.0 for i in range(pulled)
    }
    assert ("weight_decay_misuse" in names(put(traces, weights))) is told


def test_frozen_matrices_are_pulled_by_no_decay() -> None:
    traces = sick_traces("underfitting")
    traces.facts |= {"decoupled_decay": True, "hyper": {"lr": 1e-3, "weight_decay": 0.01}}
    frozen = put(traces, {("update_norm", "0.weight"): 0.0, ("update_norm", "2.weight"): 0.0})
    assert "weight_decay_misuse" not in names(frozen)


def test_decay_is_held_against_steps_at_their_own_rate() -> None:
    """Where the rate has come down, steps are short for that; the pull of the decay is as much less."""
    traces = sick_traces("underfitting")
    traces.facts |= {"decoupled_decay": True, "hyper": {"lr": 1e-3, "weight_decay": 0.5}}
    layers = [f"{i}.weight" for i in (0, 2, 4)]
    pulled = put(traces, {("weight_norm", n): 60.0 for n in layers})
    assert "weight_decay_misuse" in names(pulled)
    fallen = put(pulled, {("lr", None): 1e-5} | {("update_norm", n): 3e-3 for n in layers})
    assert "weight_decay_misuse" not in names(fallen)


@pytest.mark.parametrize(
    ("counts", "told"), [([300, 300, 300, 12], True), ([900, 40, 40, 30], False), ([320] * 4, True)]
)
def test_a_rare_class_does_not_hide_that_labels_are_shuffled(counts: list[int], told: bool) -> None:
    traces = sick_traces("shuffled_labels")
    traces.facts["class_counts"] = {str(k): n for k, n in enumerate(counts)}
    assert ("shuffled_labels" in names(traces)) is told


@pytest.mark.parametrize(("one", "told"), [(0.2, True), (1.0, False)])
def test_a_softmax_under_several_yes_no_questions_is_a_mismatch(one: float, told: bool) -> None:
    traces = sick_traces("underfitting")
    traces.facts |= {
        "loss_kind": "binary",
        "loss_name": "binary_cross_entropy",
        "out_shape": [32, 4],
        "target_shape": [32, 4],
        "y_width": 4,
        "y_max": 1.0,
        "targets_sum_to_one": one,
    }
    ends = {("simplex", None): 1.0, ("out_min", None): 0.01, ("out_max", None): 0.9}
    assert ("loss_mismatch" in names(put(traces, ends))) is told


@pytest.mark.parametrize(("usual", "first"), [(2.0, "bad_features"), (400.0, "unscaled_inputs")])
def test_a_few_odd_rows_do_not_explain_columns_of_different_scale(usual: float, first: str) -> None:
    traces = sick_traces("unscaled_inputs")
    traces.facts |= {"odd_row_share": 0.004, "x_spread_ratio": usual}
    assert names(traces, folded=False)[0] == first
    assert ("bad_features" in names(traces)) is (first == "bad_features")


@pytest.mark.parametrize(("rms", "moved", "told"), [(8.0, 0.01, True), (8.0, 0.9, False), (0.3, 0.01, False)])
def test_start_weights_that_hardly_move_for_their_size_are_told(rms: float, moved: float, told: bool) -> None:
    traces = sick_traces("underfitting")
    traces.facts["params"][0]["rms"] = rms
    traces.facts["distance"] = {"0.weight": moved, "2.weight": 1.0, "4.weight": 1.2}
    assert ("bad_init" in names(traces)) is told


def test_frozen_weights_are_told_beside_a_loss_that_does_not_fit() -> None:
    traces = sick_traces("loss_mismatch")
    traces.facts["params"][0] |= {"learns": False, "optimized": False}
    traces = put(traces, {("probe_score", None): 0.4})
    assert names(traces, folded=False)[:2] == ["loss_mismatch", "params_not_trained"]
    traces.facts["params"][0] |= {"learns": True, "optimized": True, "received": False}
    assert "params_not_trained" not in names(traces)


@pytest.mark.parametrize(
    ("stride", "swing", "told"), [(0.08, 0.2, True), (0.01, 0.2, False), (0.08, 0.0, False)]
)
def test_a_solved_run_that_is_thrown_back_again_and_again_has_too_long_steps(
    stride: float, swing: float, told: bool
) -> None:
    traces = healthy_traces()
    unit = float(traces.facts["base_loss"])

    def change(signal: str, name: str | None, old: Any) -> tuple[str | None, Any]:
        if signal in ("train_loss", "val_loss"):
            epochs = np.arange(len(old)) // max(1, len(old) // 12)
            return name, old + swing * unit * (epochs % 2)
        return name, old * 0 + stride * 6.0 if signal == "update_norm" and name else old

    assert ("lr_too_high" in names(rebuilt(traces, change))) is told


@pytest.mark.parametrize(("z", "told"), [(0.0, True), (6.0, False)])
def test_labels_of_which_new_rows_gain_by_going_on_are_not_shuffled(z: float, told: bool) -> None:
    """The witness counts codes; that two of them act together, as user and item do, it cannot see."""
    traces = sick_traces("shuffled_labels")
    traces.facts["what_if"] = {"longer": {"steps": 480, "val_hot": 0.05, "val_hot_z": z, "train_hot_z": 6.0}}
    assert ("shuffled_labels" in names(traces)) is told


@pytest.mark.parametrize(("left", "told"), [(0.9, True), (0.3, False)])
def test_a_small_network_that_got_far_is_told_where_much_is_left(left: float, told: bool) -> None:
    traces = sick_traces("underfitting")
    traces.facts |= {"residual_r2": left, "few_way": 0.7}
    ends = {("probe_score", None): 0.89, ("val_score", None): 0.89}
    assert ("underfitting" in names(put(traces, ends))) is told


@pytest.mark.parametrize(
    ("more", "size", "told"), [(True, 0.02, True), (True, 0.2, False), (False, 0.02, False)]
)
def test_a_penalty_that_pulls_the_weights_to_zero_is_told(more: bool, size: float, told: bool) -> None:
    traces = sick_traces("batch_too_small")
    traces.facts |= {"batch_size": 32, "residual_r2": 0.6, "minimises_more": more}
    for param in traces.facts["params"]:
        param["rms_end"] = size
    assert ("underfitting" in names(traces)) is told


def test_a_network_that_is_dead_has_no_squeezed_outputs() -> None:
    traces = sick_traces("dead_units")
    traces.facts |= {"loss_kind": "binary", "loss_name": "binary_cross_entropy_with_logits", "y_max": 1.0}
    traces.facts |= {"out_shape": [32, 1], "target_shape": [32, 1]}
    found = names(put(traces, {("out_min", None): 0.0, ("out_max", None): 0.0}))
    assert "dead_units" in found
    assert "loss_mismatch" not in found
    assert "loss_mismatch" in names(put(traces, {("out_min", None): 0.1, ("out_max", None): 0.9}))


@pytest.mark.parametrize(("flat", "first"), [(0.1, "vanishing_gradient"), (1.0, "saturated_units")])
def test_units_stuck_from_the_start_come_before_the_gradients_that_do_not_pass_them(
    flat: float, first: str
) -> None:
    story = Story()
    SICK["vanishing_gradient"](story)
    story.flat()
    for layer in ("1", "3"):
        del story.series["unit_activity", layer]
        story.put("unit_saturation", np.full((len(LOOKS), 16), flat), layer)
    assert names(story.traces(), folded=False)[0] == first


@pytest.mark.parametrize("shape", [[32], [32, 1]])
def test_numbers_of_classes_as_quantities_are_a_mismatch_in_both_shapes(shape: list[int]) -> None:
    traces = sick_traces("underfitting")
    traces.facts |= {
        "loss_kind": "regression",
        "loss_name": "mse_loss",
        "out_shape": shape,
        "base_score": 0.0,
    }
    traces.facts |= {"target_shape": shape, "y_distinct": 10, "y_max": 9.0, "task": "classification"}
    assert "loss_mismatch" in names(traces)


def test_probabilities_given_to_a_divergence_are_a_mismatch() -> None:
    traces = sick_traces("loss_mismatch")
    traces.facts |= {"loss_kind": "distribution", "loss_name": "kl_div"}
    assert "loss_mismatch" in names(traces)


def test_an_optimizer_that_judges_its_batch_several_times_is_made_for_whole_ones() -> None:
    traces = sick_traces("batch_too_large")
    assert "batch_too_large" in names(traces)
    traces.facts["batch_size"] = 6 * 1280
    assert "batch_too_large" not in names(traces)


@pytest.mark.parametrize(
    ("stride", "swing", "told"), [(0.08, 0.5, True), (0.01, 0.5, False), (0.08, 0.0, False)]
)
def test_steps_that_throw_a_run_about_are_too_long_though_each_suits_its_batch(
    stride: float, swing: float, told: bool
) -> None:
    """Statistics that lag behind such steps, and labels that such a network gets wrong, are no faults of theirs."""
    traces = sick_traces("label_noise")
    unit = float(traces.facts["base_loss"])
    traces.facts |= {
        "witness_error": 0.33,
        "witness_sure_error": 0.16,
        "val_error": 0.27,
        "val_sure_error": 0.24,
    }
    traces.facts |= {"val_sure_rows": 75.0, "val_error": 0.27}
    traces.facts["layers"].append({"name": "n", "kind": "BatchNorm2d", "norm": "batch", "momentum": 0.1,
                                   "tracked": 9, "running": True})  # fmt: skip

    def change(signal: str, name: str | None, old: Any) -> tuple[str | None, Any]:
        if signal in ("train_loss", "val_loss"):
            epochs = np.arange(len(old)) // max(1, len(old) // 12)
            return name, old + swing * unit * (epochs % 2)
        if signal in ("probe_loss", "train_mode_loss", "val_score", "probe_score"):
            level = {"probe_loss": 1.5 * unit, "train_mode_loss": 0.5 * unit}.get(signal, 0.73)
            return name, old * 0 + level
        return name, old * 0 + stride * 6.0 if signal == "update_norm" and name else old

    found = names(rebuilt(traces, change))
    assert ("lr_too_high" in found) is told
    assert ("batchnorm_misuse" in found) is not told
    assert ("label_noise" in found) is not told


@pytest.mark.parametrize(
    ("scale", "reduction", "stride", "told"),
    [(1 / 32, "mean", 1e-4, True), (1.0, "mean", 1e-4, False), (1 / 32, "none", 1e-4, False),
     (1 / 32, "mean", 0.01, False)],
)  # fmt: skip
def test_a_mean_that_is_divided_by_its_rows_again_is_a_mismatch(
    scale: float, reduction: str, stride: float, told: bool
) -> None:
    traces = sick_traces("undertrained")
    traces.facts["reduction"] = reduction
    strides = {("update_norm", f"{i}.weight"): 6.0 * stride for i in (0, 2, 4)}
    assert ("loss_mismatch" in names(put(traces, {("loss_scale", None): scale, **strides}))) is told


def test_units_that_are_dropped_in_evaluation_mode_are_told() -> None:
    assert names(put(sick_traces("underfitting"), {("drops_in_eval", None): 1.0}))[0] == "mode_misuse"


@pytest.mark.parametrize(("val", "told"), [(0.05, False), (0.5, True)])
def test_a_network_that_answers_new_rows_surely_is_not_too_small(val: float, told: bool) -> None:
    """Rows of training that are mixed on purpose are judged by the first of their labels alone."""
    ends = {("val_loss", None): val * BASE, ("val_score", None): 0.99}
    assert ("underfitting" in names(put(sick_traces("underfitting"), ends))) is told


@pytest.mark.parametrize(("slope", "told"), [(0.0, True), (1e-5, True), (2e-3, False)])
def test_what_moves_the_loss_of_tiny_batches_is_chance_where_it_is_no_trend(slope: float, told: bool) -> None:
    traces = sick_traces("batch_too_small")
    traces.facts |= {"batch_size": 1, "steps": 480}
    moved = {"steps": 24, "train_hot": 0.08, "train_hot_z": 4.0, "val_hot": 0.08, "val_hot_z": 8.0}
    traces.facts["what_if"] = {"as_is": moved}
    noise = np.random.default_rng(3).uniform(-1e-3, 1e-3, 480)
    steps = np.arange(480)

    def change(signal: str, name: str | None, old: Any) -> tuple[str | None, Any]:
        if signal == "train_loss":
            return name, BASE * (0.9 - slope * steps + 0.1 * noise)
        return name, old * 0 + 0.9 if signal == "q" else old

    assert ("batch_too_small" in names(rebuilt(traces, change))) is told


@pytest.mark.parametrize(("old_hits", "told"), [(1, True), (7, False)])
def test_a_rare_class_of_few_new_rows_is_judged_on_its_own_rows_as_well(old_hits: int, told: bool) -> None:
    traces = sick_traces("class_imbalance")
    traces.facts["val_recalls"] = {"0": [60, 55], "1": [60, 55], "2": [60, 55], "3": [3, 2]}
    traces.facts["train_recalls"] = {"0": [60, 55], "1": [60, 55], "2": [60, 55], "3": [8, old_hits]}
    assert ("class_imbalance" in names(traces)) is told


@pytest.mark.parametrize(("stride", "told"), [(4.0, True), (0.4, False)])
def test_a_step_longer_than_the_weights_throws_them_away_whatever_is_learned_after(
    stride: float, told: bool
) -> None:
    traces = put(
        healthy_traces(), {("probe_score", None): 0.88, ("val_score", None): 0.87, ("q", None): 0.85}
    )

    def change(signal: str, name: str | None, old: Any) -> tuple[str | None, Any]:
        if signal == "train_loss":
            return name, old + 5 * BASE * ((np.arange(len(old)) > 0) & (np.arange(len(old)) < 12))
        if signal == "update_norm" and name:
            return name, np.where(np.arange(len(old)) == 1, stride * 6.0, old)
        return name, old

    assert ("lr_too_high" in names(rebuilt(traces, change))) is told


@pytest.mark.parametrize(
    ("rates", "moved", "told"),
    [([2e-6, 3e-3], 0.003, True), ([1e-3, 3e-3], 0.003, False), ([2e-6, 3e-3], 0.3, False)],
)
def test_random_weights_whose_group_stands_still_do_not_learn(
    rates: list[float], moved: float, told: bool
) -> None:
    traces = sick_traces("undertrained")
    traces.facts |= {"lrs": rates, "distance": {"0.weight": moved, "2.weight": moved, "4.weight": 3.0}}
    assert ("params_not_trained" in names(traces)) is told


def test_layers_that_are_made_in_the_forward_do_not_learn() -> None:
    assert (
        names(put(sick_traces("undertrained"), {("made_in_forward", None): 1.0}))[0] == "params_not_trained"
    )


def test_places_and_classes_that_a_reshape_mixes_up_are_a_mismatch() -> None:
    assert names(put(sick_traces("underfitting"), {("scrambled", None): 1.0}))[0] == "loss_mismatch"


@pytest.mark.parametrize(
    ("share", "gap", "told"), [(0.25, 1.0, True), (0.25, 0.2, False), (0.02, 1.0, False)]
)
def test_one_column_of_another_spread_is_a_shift_where_new_rows_fare_far_worse(
    share: float, gap: float, told: bool
) -> None:
    traces = put(healthy_traces(), {("val_loss", None): gap * BASE, ("val_score", None): 0.3})
    traces.facts["shift_scaled_columns"] = share
    assert ("train_val_shift" in names(traces)) is told


@pytest.mark.parametrize(
    ("probe", "share", "told"), [(3.0, 0.99, True), (0.9, 0.99, False), (3.0, 0.1, False)]
)
def test_rows_in_the_order_of_an_input_are_told_where_they_are_forgotten(
    probe: float, share: float, told: bool
) -> None:
    traces = put(sick_traces("underfitting"), {("probe_loss", None): probe * BASE})
    traces.facts["between_batches_x"] = share

    def change(signal: str, name: str | None, old: Any) -> tuple[str | None, Any]:
        turns = BASE * (0.7 + 0.2 * (np.arange(len(old)) // 40 % 2))
        return name, turns if signal == "train_loss" else old

    assert ("unshuffled_data" in names(rebuilt(traces, change))) is told


@pytest.mark.parametrize(("moved", "told"), [(1.5, False), (0.01, True)])
def test_a_small_gradient_of_weights_that_go_far_in_a_loss_that_falls_ever_faster_is_no_fault(
    moved: float, told: bool
) -> None:
    traces = sick_traces("vanishing_gradient")
    traces.facts["distance"] = {"0.weight": moved, "2.weight": 1.0, "4.weight": 1.2}

    def change(signal: str, name: str | None, old: Any) -> tuple[str | None, Any]:
        faster = BASE * (1 - 0.5 * (np.arange(len(old)) / len(old)) ** 3)
        return name, faster if signal == "train_loss" else old

    assert ("vanishing_gradient" in names(rebuilt(traces, change))) is told


@pytest.mark.parametrize(("gain", "told"), [(0.0, True), (0.4, False)])
def test_a_network_that_gets_on_as_its_rate_comes_down_is_not_too_small(gain: float, told: bool) -> None:
    traces = sick_traces("underfitting")
    traces.facts["what_if"] = {"as_is": {"steps": 24, "train": gain, "train_hot": 0.0, "val_hot": 0.0}}
    assert ("underfitting" in names(traces)) is told


@pytest.mark.parametrize(("probe", "told"), [(0.2, True), (1.1, False)])
def test_a_rise_without_a_gap_is_not_learned_by_heart(probe: float, told: bool) -> None:
    """At its end the network is then as bad on the rows of its training."""
    assert (
        "overfitting" in names(put(sick_traces("overfitting"), {("probe_loss", None): probe * BASE}))
    ) is told


@pytest.mark.parametrize(("looks", "told"), [(6, True), (3, False)])
def test_steps_along_the_gradient_are_told_from_few_looks_where_the_run_blows_up(
    looks: int, told: bool
) -> None:
    traces = sick_traces("underfitting")

    def change(signal: str, name: str | None, old: Any) -> tuple[str | None, Any]:
        if signal == "descent":
            return name, np.where(np.arange(len(old)) < looks, -0.98, np.nan)
        return name, np.where(np.arange(len(old)) > 40, np.nan, old) if signal == "train_loss" else old

    assert ("loss_mismatch" in names(rebuilt(traces, change))) is told
