"""Laws that every rule keeps, on traces that never ran."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rules.synthetic import SICK, healthy_traces, sick_traces
from trainwell.rules import diagnose
from trainwell.rules.diagnosis import OPPOSITES, without_opposites
from trainwell.rules.rule import load_rules, needed_signals
from trainwell.rules.view import View
from trainwell.values.finding import AILMENTS, Finding, fold
from trainwell.values.signal import Traces

RULES = load_rules()
LOSSES = (
    "train_loss",
    "val_loss",
    "val_losses",
    "probe_loss",
    "train_mode_loss",
    "look_loss",
    "grad_norm",
    "back_rms",
)
"""Signals that carry the unit of the loss."""


def summary(traces: Traces) -> list[tuple[str, str, float, list[str]]]:
    return [
        (f.ailment, f.severity, round(f.confidence, 6), [c.ailment for c in f.consequences])
        for f in diagnose(traces)
    ]


def rebuilt(traces: Traces, change: Any, facts: Any = None) -> Traces:
    """Return traces whose series went through `change(signal, layer, values) -> (layer, values)`."""
    other = Traces(facts(copy.deepcopy(traces.facts)) if facts else copy.deepcopy(traces.facts))
    for signal in traces.signals():
        for layer in (None, *traces.layers(signal)):
            trace = traces.get(signal, layer)
            if len(trace):
                name, values = change(signal, layer, trace.values)
                other.extend(signal, trace.steps.tolist(), list(values), name)
    return other


def test_every_ailment_but_symptoms_has_a_rule() -> None:
    silent = {name for name, stage in AILMENTS.items() if stage in ("symptom", "information")}
    assert set(RULES) >= set(AILMENTS) - silent


@pytest.mark.parametrize("name", sorted(RULES))
def test_rule_says_where_it_comes_from(name: str) -> None:
    rule = RULES[name]
    assert rule.source and rule.__doc__ and rule.needs
    assert set(rule.explains) <= set(AILMENTS) - {name}


def test_needed_signals_are_measured_by_some_family() -> None:
    from trainwell.signals.family import REGISTRY, families

    families(())
    assert needed_signals() <= set(REGISTRY)


def test_healthy_run_has_no_finding() -> None:
    assert [f for f in diagnose(healthy_traces()) if f.is_alarm] == []


@pytest.mark.parametrize("name", sorted(SICK))
def test_rule_finds_its_ailment(name: str) -> None:
    finding = RULES[name]().diagnose(View(sick_traces(name)))
    assert finding is not None and finding.ailment == name
    assert finding.evidence and finding.meaning.count(".") >= 2 and finding.fix and finding.source
    assert all(reading.holds for reading in finding.evidence), finding.evidence
    assert Finding.from_dict(finding.to_dict()).to_dict() == finding.to_dict()


@pytest.mark.parametrize("name", sorted(SICK))
def test_ailment_is_the_root_or_folded_under_it(name: str) -> None:
    found = diagnose(sick_traces(name))
    assert name in [g for f in found for g in (f.ailment, *(c.ailment for c in f.consequences))]


@pytest.mark.parametrize("name", ["healthy", *sorted(SICK)])
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_unit_of_the_loss_changes_nothing(name: str, scale: float) -> None:
    traces = healthy_traces() if name == "healthy" else sick_traces(name)

    def scaled(signal: str, layer: str | None, values: Any) -> Any:
        return layer, values * scale if signal in LOSSES else values

    other = rebuilt(traces, scaled, lambda facts: facts | {"base_loss": facts["base_loss"] * scale})
    if name == "weight_decay_misuse":  # its pull is held against the gradient, so it does depend on the loss
        return
    assert summary(other) == summary(traces)


@pytest.mark.parametrize("name", ["healthy", *sorted(SICK)])
def test_order_of_units_and_names_of_layers_change_nothing(name: str) -> None:
    traces = healthy_traces() if name == "healthy" else sick_traces(name)
    order = np.random.default_rng(3).permutation(16)

    def renamed(layer: str) -> str:
        return f"body.block_{layer}"

    def change(signal: str, layer: str | None, values: Any) -> Any:
        units = signal in ("unit_activity", "unit_saturation")
        return None if layer is None else renamed(layer), values[:, order] if units else values

    def facts(old: dict[str, Any]) -> dict[str, Any]:
        for entry in (*old["modules"], *old["layers"], *old["params"]):
            entry["name"] = renamed(entry["name"])
        return old

    assert summary(rebuilt(traces, change, facts)) == summary(traces)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["healthy", *sorted(set(SICK) - {"weight_decay_misuse"})]),
    power=st.floats(-3, 3),
    order=st.permutations(range(16)),
    suffix=st.text("abcxyz.0123", min_size=1, max_size=8),
)
def test_unit_order_and_names_change_nothing_together(
    name: str, power: float, order: list[int], suffix: str
) -> None:
    traces = healthy_traces() if name == "healthy" else sick_traces(name)
    scale = 10**power

    def change(signal: str, layer: str | None, values: Any) -> Any:
        values = values * scale if signal in LOSSES else values
        units = signal in ("unit_activity", "unit_saturation")
        return None if layer is None else layer + suffix, values[:, order] if units else values

    def facts(old: dict[str, Any]) -> dict[str, Any]:
        for entry in (*old["modules"], *old["layers"], *old["params"]):
            entry["name"] += suffix
        return old | {"base_loss": old["base_loss"] * scale}

    assert summary(rebuilt(traces, change, facts)) == summary(traces)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_unit_of_the_loss_changes_no_decoupled_decay(scale: float) -> None:
    traces = sick_traces("weight_decay_misuse")
    traces.facts |= {"decoupled_decay": True, "hyper": {"lr": 1e-3, "weight_decay": 80.0}}

    def scaled(signal: str, layer: str | None, values: Any) -> Any:
        return layer, values * scale if signal in LOSSES else values

    other = rebuilt(traces, scaled, lambda facts: facts | {"base_loss": facts["base_loss"] * scale})
    assert "weight_decay_misuse" in [a for a, *_ in summary(traces)]
    assert summary(other) == summary(traces)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.0])
def test_no_rule_raises_on_odd_numbers(value: float) -> None:
    for name in ("healthy", *SICK):
        traces = healthy_traces() if name == "healthy" else sick_traces(name)
        diagnose(rebuilt(traces, lambda signal, layer, values: (layer, np.full_like(values, value))))
        first = lambda signal, layer, values: (layer, np.where(np.arange(len(values)).reshape(-1, *[1] * (values.ndim - 1)) < 1, value, values))  # noqa: E731, E501  # fmt: skip
        diagnose(rebuilt(traces, first))
        facts = {k: value if isinstance(v, float) else v for k, v in traces.facts.items()}
        diagnose(rebuilt(traces, lambda signal, layer, values: (layer, values), lambda old, f=facts: f))


def test_no_rule_raises_on_nothing() -> None:
    assert diagnose(Traces()) == []
    diagnose(Traces({"loss_kind": "classification", "steps": 0}))


@pytest.mark.parametrize("name", ["healthy", *sorted(SICK)])
@pytest.mark.parametrize("length", [1, 2, 5])
def test_no_rule_raises_on_short_runs(name: str, length: int) -> None:
    traces = healthy_traces() if name == "healthy" else sick_traces(name)
    short = Traces(traces.facts | {"steps": length})
    for signal in traces.signals():
        for layer in (None, *traces.layers(signal)):
            trace = traces.get(signal, layer)
            short.extend(signal, trace.steps[:length].tolist(), list(trace.values[:length]), layer)
    diagnose(short)


@settings(max_examples=60, deadline=None)
@given(dropped=st.sets(st.integers(0, 80)), seed=st.integers(0, 2**31 - 1))
def test_no_rule_raises_where_measurements_are_missing(dropped: set[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    traces = sick_traces(sorted(SICK)[seed % len(SICK)])
    keys = list(traces.facts)
    facts = {k: v for i, (k, v) in enumerate(traces.facts.items()) if i not in dropped}
    assert len(keys) < 80
    part = Traces(facts)
    for signal in traces.signals():
        for layer in (None, *traces.layers(signal)):
            trace = traces.get(signal, layer)
            if rng.random() < 0.7 and len(trace):
                n = int(rng.integers(1, len(trace) + 1))
                odd = rng.choice(
                    [1.0, np.nan, np.inf, 1e30, -1.0], trace.values[:n].shape, p=[0.8, *[0.05] * 4]
                )
                values = np.where(odd == 1.0, trace.values[:n], odd)
                part.extend(signal, trace.steps[:n].tolist(), list(values), layer)
    diagnose(part)


@settings(max_examples=100, deadline=None)
@given(names=st.lists(st.sampled_from(sorted(AILMENTS)), unique=True), seed=st.integers(0, 10**6))
def test_folding_loses_no_finding(names: list[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = [
        Finding(n, "critical", float(rng.choice([0.7, 0.8, 0.9])), "S", "It is so. It is bad.") for n in names
    ]
    folded = fold(found, {name: rule.explains for name, rule in RULES.items()})
    kept = [g.ailment for f in folded for g in (f, *f.consequences)]
    assert sorted(kept) == sorted(names)
    assert folded or not found


def test_traces_survive_the_disk(tmp_path: Path) -> None:
    for name in ("lr_too_low", "overfitting", "dead_units"):
        traces = sick_traces(name)
        traces.facts["odd"] = [math.nan, math.inf, {"a": -math.inf}]
        traces.save(tmp_path / name)
        back = Traces.load(tmp_path / name)
        assert summary(back) == summary(traces)
        assert math.isnan(back.facts["odd"][0]) and back.facts["odd"][2]["a"] == -math.inf
        for signal in traces.signals():
            np.testing.assert_array_equal(back.get(signal).values, traces.get(signal).values)


def test_diagnosis_needs_no_torch() -> None:
    code = ("import sys; sys.modules['torch'] = None; from trainwell.rules import diagnose; "
            "from trainwell.values.signal import Traces; assert diagnose(Traces()) == []")  # fmt: skip
    subprocess.run([sys.executable, "-c", code], check=True)


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


@pytest.mark.parametrize(("first", "second"), OPPOSITES)
def test_no_run_is_told_two_opposites(first: str, second: str) -> None:
    def finding(name: str, confidence: float, grade: str) -> Finding:
        return Finding(name, "critical", confidence, grade, "It is so. It is bad.")

    for a, b, kept in ((0.9, 0.8, first), (0.8, 0.9, second)):
        found = [finding(first, a, "S"), finding("leakage", 0.5, "D"), finding(second, b, "S")]
        assert [f.ailment for f in without_opposites(found)] in (["leakage", kept], [kept, "leakage"])
    tried = [finding(first, 0.8, "S"), finding(second, 0.8, "W")]
    assert [f.ailment for f in without_opposites(tried)] == [second]


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
    traces.facts |= {"batch_size": size, "learnable": learnable}
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
