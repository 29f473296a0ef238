"""Runs of which two faults, or a fault and a harmless oddity, look alike: what is told, and what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.rules.synthetic import healthy_traces, rebuilt, sick_traces
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
