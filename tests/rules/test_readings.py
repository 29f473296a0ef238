"""What single rules say, and do not say, of runs that a rule once misread."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from tests.rules.synthetic import healthy_traces, rebuilt, sick_traces
from trainwell.rules import diagnose
from trainwell.values.signal import Traces


def test_rows_drawn_from_a_memory_are_not_called_unshuffled() -> None:
    traces = sick_traces("unshuffled_data")
    assert "unshuffled_data" in [f.ailment for f in diagnose(traces)]
    traces.facts["drawn_again"] = 0.9
    assert "unshuffled_data" not in [f.ailment for f in diagnose(traces)]


def short_run(lr: list[float], learns: bool = False) -> Traces:
    """Return a run of 12 steps at these rates, which does or does not get anywhere."""
    traces = Traces(copy.deepcopy(healthy_traces().facts) | {"steps": len(lr)})
    steps = list(range(1, len(lr) + 1))
    traces.extend("lr", steps, lr)
    traces.extend("train_loss", steps, [1.386 - 0.1 * i * learns for i in steps])
    traces.extend("val_loss", steps[5::6], [1.386] * 2)
    return traces


def test_a_warm_up_of_few_steps_is_no_leap() -> None:
    """One cycle over twelve steps, as a fine-tuning of few photographs has it, climbs fivefold in its first step."""
    rates = [4e-6, 2.1e-5, 6e-5, 9.4e-5, 9.9e-5, 9.3e-5, 8.1e-5, 6.5e-5, 4.6e-5, 2.8e-5, 1.3e-5, 3e-6]
    assert "lr_schedule" not in [f.ailment for f in diagnose(short_run(rates))]
    leap = [1e-5] * 3 + [2e-4] * 5 + [1e-4] * 4
    assert "lr_schedule" in [f.ailment for f in diagnose(short_run(leap))]


@pytest.mark.parametrize("filled", [True, False])
def test_norms_frozen_on_filled_statistics_are_meant_so(filled: bool) -> None:
    """Files of weights often hold statistics without the count of batches they come from."""
    traces = sick_traces("lr_too_low")
    layer = {
        "name": "n",
        "kind": "BatchNorm2d",
        "norm": "batch",
        "momentum": 0.1,
        "tracked": 0,
        "filled": filled,
    }
    traces.facts["layers"] = [*traces.facts["layers"], layer]
    steps = traces.get("norms_in_eval").steps.tolist()
    frozen = rebuilt(
        traces, lambda signal, name, values: (name, values * 0 + 1.0 if signal == "norms_in_eval" else values)
    )
    assert len(steps) >= 3
    assert ("mode_misuse" in [f.ailment for f in diagnose(frozen)]) is not filled


def test_labels_that_validation_rows_confirm_are_not_called_shuffled() -> None:
    """Labels without any bearing on the inputs cannot be told better than by the best constant."""
    traces = sick_traces("shuffled_labels")
    assert "shuffled_labels" in [f.ailment for f in diagnose(traces)]
    base = float(traces.facts["base_loss"])
    told = rebuilt(
        traces,
        lambda signal, name, values: (name, values * 0 + 0.9 * base if signal == "val_loss" else values),
    )
    assert "shuffled_labels" not in [f.ailment for f in diagnose(told)]


def with_losses(traces: Traces, losses: Any) -> Traces:
    """Return the traces with these training losses."""
    return rebuilt(traces, lambda signal, name, v: (name, losses if signal == "train_loss" else v))


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_a_loss_that_falls_ever_faster_below_zero_has_no_lowest_value(scale: float) -> None:
    traces = healthy_traces()
    traces.facts |= {"loss_kind": "", "loss_name": "", "base_loss": None}
    at = np.linspace(0, 1, len(traces.get("train_loss")))
    runs_away = -scale * np.exp(7 * at)
    assert "loss_mismatch" in [f.ailment for f in diagnose(with_losses(traces, runs_away))]
    likelihood_that_settles, similarity = (
        -scale * (0.1 + 5 * (1 - np.exp(-6 * at))),
        -scale * np.tanh(0.01 + at),
    )
    for sound in (likelihood_that_settles, similarity, scale * np.exp(7 * at), scale * np.exp(-7 * at)):
        assert "loss_mismatch" not in [f.ailment for f in diagnose(with_losses(traces, sound))]


@pytest.mark.parametrize(
    ("low", "high", "facts", "told"),
    [
        (-1.0, 1.0, {}, True),
        (0.0, 255.0, {}, True),
        (0.0, 1.0, {}, False),
        (0.05, 0.95, {}, False),
        (-1.0, 1.0, {"loss_weighted": True}, False),
        (-1.0, 1.0, {"reduction": "none"}, False),
    ],
)
def test_cross_entropy_wants_probabilities(
    low: float, high: float, facts: dict[str, Any], told: bool
) -> None:
    """Rows may be masked, by weights or in a loss that is not reduced; there any number may stand."""
    traces = healthy_traces()
    traces.facts |= {"loss_kind": "binary", "loss_name": "binary_cross_entropy_with_logits", "target_integer": False,
                     "out_shape": [32, 1], "target_shape": [32, 1], "y_min": low, "y_max": high} | facts  # fmt: skip
    assert ("loss_mismatch" in [f.ailment for f in diagnose(traces)]) is told


def test_what_a_few_steps_on_show_does_not_outweigh_a_run_that_gets_faster() -> None:
    """A few steps may go up where the whole run never does and falls fastest at its end."""
    traces = healthy_traces()
    traces.facts["what_if"] = {"as_is": {"steps": 8, "train": -0.1, "train_hot": -0.1},
                               "tenth": {"steps": 8, "train": 0.05, "train_z": 4.0}}  # fmt: skip
    size, base = len(traces.get("train_loss")), float(traces.facts["base_loss"])
    at, low = np.linspace(0, 1, size), {"q": 0.3, "probe_score": 0.4, "val_score": 0.4}

    def told(losses: Any) -> list[str]:
        def change(signal: str, name: str | None, values: Any) -> tuple[str | None, Any]:
            return name, losses if signal == "train_loss" else values * 0 + low.get(
                signal, 1
            ) if signal in low else values

        return [f.ailment for f in diagnose(rebuilt(traces, change))]

    assert "lr_too_high" in told(base * (1 - 0.3 * np.sqrt(at)))
    assert "lr_too_high" not in told(base * (1 - 0.3 * at**2))


@pytest.mark.parametrize(("end", "rms", "told"), [(0.8, 3.0, True), (0.02, 3.0, False), (0.8, 0.2, False)])
def test_start_weights_too_large_harm_a_run_that_learned_its_rows(end: float, rms: float, told: bool) -> None:
    """Told where new rows fare badly and the first loss was far above that of a constant; not of what generalises."""
    traces = healthy_traces()
    base, losses = float(traces.facts["base_loss"]), traces.get("train_loss").values
    for param in traces.facts["params"]:
        param["rms"] = rms
    put = {"train_loss": np.append(20 * base, losses[1:]), "probe_score": 0.99, "val_loss": end * base}

    def change(signal: str, name: str | None, values: Any) -> tuple[str | None, Any]:
        return name, values * 0 + put[signal] if signal in put else values

    assert ("bad_init" in [f.ailment for f in diagnose(rebuilt(traces, change))]) is told


@pytest.mark.parametrize(("size", "learnable", "told"), [(1, 0.9, True), (32, 0.9, False), (1, 0.4, False)])
def test_a_run_that_halts_below_a_simple_learner_had_too_small_batches(
    size: int, learnable: float, told: bool
) -> None:
    traces = sick_traces("underfitting")
    traces.facts |= {"batch_size": size, "learnable": learnable, "witness_error": 0.75 * (1 - learnable)}
    base, n = float(traces.facts["base_loss"]), len(traces.get("train_loss"))
    halted = (
        base * (0.55 + 0.45 * np.exp(-np.arange(n) / 20)) * np.random.default_rng(0).uniform(0.97, 1.03, n)
    )
    put = {
        "train_loss": halted,
        "probe_score": 0.55,
        "val_score": 0.55,
        "update_norm": 0.4,
        "weight_norm": 10.0,
    }

    def change(signal: str, name: str | None, values: Any) -> tuple[str | None, Any]:
        return name, values * 0 + put[signal] if signal in put else values

    found = [g.ailment for f in diagnose(rebuilt(traces, change)) for g in (f, *f.consequences)]
    assert ("batch_too_small" in found) is told


def told_with(traces: Traces, **series: float) -> list[str]:
    """Return what is found, consequences included, where these series have these values."""

    def change(signal: str, name: str | None, values: Any) -> tuple[str | None, Any]:
        return name, values * 0 + series[signal] if signal in series else values

    return [g.ailment for f in diagnose(rebuilt(traces, change)) for g in (f, *f.consequences)]


FACTS_THAT_COST: dict[str, dict[str, Any]] = {
    "lr_schedule": {},
    "batch_too_large": {},
    "bad_init": {},
    "params_not_trained": {"params": [{"learns": False}]},
    "underfitting": {"layers": [{"dropout": 0.95}]},
}


@pytest.mark.parametrize("name", sorted(FACTS_THAT_COST))
@pytest.mark.parametrize(("left", "told"), [(0.3, True), (0.03, False)])
def test_a_fault_that_is_a_fact_is_told_where_answers_are_right_but_unsure(
    name: str, left: float, told: bool
) -> None:
    """A score near 1 is no sign that it costs nothing while the loss is still a third of a constant's."""
    traces = sick_traces(name) if name not in ("params_not_trained", "underfitting") else healthy_traces()
    for group, changes in FACTS_THAT_COST[name].items():
        for entry, change in zip(traces.facts[group], changes, strict=False):
            entry |= change
    traces.facts.pop("residual_r2")
    base = float(traces.facts["base_loss"])
    found = told_with(traces, probe_score=0.96, val_score=0.96, probe_loss=left * base, val_loss=0.1 * base)
    assert (name in found) is told


@pytest.mark.parametrize(("gain", "told"), [(0.12, True), (0.08, False)])
def test_near_the_end_only_a_measured_gain_says_that_training_was_too_short(gain: float, told: bool) -> None:
    traces = sick_traces("undertrained")
    traces.facts["what_if"] = {
        "longer": {"steps": 200, "val_hot": gain, "val_hot_z": 9.0, "train_hot_z": 9.0}
    }
    assert ("undertrained" in told_with(traces, probe_score=0.91, val_score=0.91)) is told


@pytest.mark.parametrize(
    ("ratio", "longer", "told"), [(1e-4, 0.02, True), (1e-2, 0.02, False), (1e-4, 0.09, False)]
)
def test_ten_times_the_rate_may_show_its_worth_over_a_longer_way_only(
    ratio: float, longer: float, told: bool
) -> None:
    traces = sick_traces("lr_too_low")
    short = {"steps": 24, "train": 0.006, "train_z": 1.5, "val_z": 1.5}
    way = {"steps": 200, "train": 0.2, "train_z": 12.0, "val_z": 8.0}
    traces.facts["what_if"] = {"as_is": {**short, "train": 0.001}, "tenfold": short,
                               "longer": {"steps": 200, "train": longer}, "tenfold_longer": way}  # fmt: skip
    assert ("lr_too_low" in told_with(traces, update_norm=10 * ratio, weight_norm=10.0)) is told


@pytest.mark.parametrize(("size", "gain", "told"), [(1, 0.2, True), (1, 0.01, False), (64, 0.2, False)])
def test_noise_of_tiny_batches_shows_where_a_tenth_of_the_rate_calms_it(
    size: int, gain: float, told: bool
) -> None:
    traces = healthy_traces()
    traces.facts |= {"batch_size": size, "what_if": {
        "as_is": {"steps": 192, "train_hot": 0.0},
        "tenth": {"steps": 192, "train": gain, "train_hot_z": 6.0, "val_hot_z": 5.0}}}  # fmt: skip
    base = float(traces.facts["base_loss"])
    found = told_with(traces, probe_score=0.8, val_score=0.8, probe_loss=0.4 * base, q=0.95)
    assert ("batch_too_small" in found) is told


@pytest.mark.parametrize(("nearest", "columns", "told"), [(0.5, 2, True), (40.0, 2, False), (0.5, 60, False)])
def test_labels_that_not_even_the_nearest_rows_share_follow_from_nothing(
    nearest: float, columns: int, told: bool
) -> None:
    traces = sick_traces("shuffled_labels")
    traces.facts |= {"nearest_z": nearest, "x_columns": columns, "label_rows": 400.0}
    assert ("shuffled_labels" in told_with(traces, probe_score=0.25)) is told


@pytest.mark.parametrize(("way", "few", "told"), [(0.02, 0.1, True), (0.02, 0.7, False), (0.5, 0.1, False)])
def test_a_network_that_cannot_hold_a_few_sequences_is_too_small(way: float, few: float, told: bool) -> None:
    traces = sick_traces("underfitting")
    traces.facts |= {"targets_per_sample": 20, "few_way": few}
    score = 0.25 + 0.75 * way
    assert ("underfitting" in told_with(traces, probe_score=score, val_score=score)) is told


@pytest.mark.parametrize(("pull", "told"), [(0.17, True), (0.02, False)])
def test_a_decay_that_the_mean_gradient_balances_holds_the_loss_up(pull: float, told: bool) -> None:
    traces = sick_traces("underfitting")
    traces.facts["hyper"]["weight_decay"] = 0.1
    assert ("weight_decay_misuse" in told_with(traces, weight_norm=1.0, grad_norm=0.1 / pull)) is told


@pytest.mark.parametrize(("helps", "told"), [(0.1, True), (0.0, False)])
def test_a_run_that_learned_its_rows_had_too_high_a_rate_where_a_lower_one_betters_new_rows(
    helps: float, told: bool
) -> None:
    traces = healthy_traces()
    tenth = {"steps": 24, "train": 0.1, "train_z": 6.0, "val": helps, "val_z": 6.0}
    traces.facts["what_if"] = {"as_is": {"steps": 24, "train_hot": -0.02, "val_hot": 0.0}, "tenth": tenth}
    base = float(traces.facts["base_loss"])
    assert ("lr_too_high" in told_with(traces, val_loss=0.5 * base, q=0.4)) is told


@pytest.mark.parametrize(("cools", "told"), [(0.2, True), (0.01, False)])
def test_noise_of_tiny_batches_shows_where_a_cool_down_takes_it_away(cools: float, told: bool) -> None:
    traces = healthy_traces()
    as_is = {"steps": 192, "train_hot": -0.1, "train": cools - 0.1, "train_cool_z": 6.0, "val_cool_z": 5.0}
    traces.facts |= {"batch_size": 1, "what_if": {"as_is": as_is}}
    base = float(traces.facts["base_loss"])
    found = told_with(traces, probe_score=0.8, val_score=0.8, probe_loss=0.4 * base, q=0.95)
    assert ("batch_too_small" in found) is told


@pytest.mark.parametrize(
    ("start", "end", "told"), [(0.8, 0.8, True), (0.05, 0.8, False), (0.25, 0.25, False)]
)
def test_answers_that_are_signs_from_the_start_are_saturated(start: float, end: float, told: bool) -> None:
    """No unit gives one extreme for nearly every row, and yet most answers lie where the slope is nothing."""
    traces = sick_traces("saturated_units")
    looks = len(traces.get("unit_saturation", "1"))
    course = np.repeat(np.linspace(start, end, looks)[:, None], 16, 1)

    def change(signal: str, name: str | None, values: Any) -> tuple[str | None, Any]:
        return name, course if signal == "unit_saturation" and name == "1" else values

    found = [g.ailment for f in diagnose(rebuilt(traces, change)) for g in (f, *f.consequences)]
    assert ("saturated_units" in found) is told


@pytest.mark.parametrize(("moved", "steps", "told"), [(0.3, 8, True), (0.3, 200, False), (0.01, 8, False)])
def test_noise_of_tiny_batches_shows_where_a_few_steps_move_the_loss(
    moved: float, steps: int, told: bool
) -> None:
    traces = sick_traces("underfitting")
    part = {"hot": moved, "hot_z": 6.0, "cool_z": 0.0}
    as_is = {f"{rows}_{k}": v for rows in ("train", "val") for k, v in part.items()} | {
        "steps": steps,
        "train": moved,
    }
    traces.facts |= {"batch_size": 2, "what_if": {"as_is": as_is}}
    found = told_with(traces, probe_score=0.8, val_score=0.8, q=0.95)
    assert ("batch_too_small" in found) is told


@pytest.mark.parametrize(
    ("size", "gain", "ahead", "told"),
    [(2, 0.15, 1.0, True), (2, 0.06, 1.0, False), (2, 0.15, -3.0, False), (64, 0.15, 1.0, False)],
)
def test_noise_of_tiny_batches_is_most_of_what_is_left_where_a_tenth_of_the_rate_takes_that_away(
    size: int, gain: float, ahead: float, told: bool
) -> None:
    """Not where the steps as they are take away still more."""
    traces = sick_traces("underfitting")
    as_is = {"steps": 8, "train_hot": gain - 0.04, "val_hot": 0.0}
    tenth = {"steps": 8, "train": gain, "train_hot_z": 2.5, "val": gain, "val_hot_z": 4.0, "train_z": ahead,
             "val_z": ahead}  # fmt: skip
    traces.facts |= {"batch_size": size, "what_if": {"as_is": as_is, "tenth": tenth}}
    found = told_with(traces, probe_score=0.8, val_score=0.8, q=0.95)
    assert ("batch_too_small" in found) is told


@pytest.mark.parametrize(("left", "told"), [(0.01, True), (0.6, False)])
def test_of_targets_with_many_numbers_it_is_asked_what_the_network_leaves(left: float, told: bool) -> None:
    traces = sick_traces("shuffled_labels")
    traces.facts = {k: v for k, v in traces.facts.items() if k not in ("learnable", "label_rows")}
    traces.facts["residual_r2"] = left
    assert ("shuffled_labels" in [f.ailment for f in diagnose(traces)]) is told
