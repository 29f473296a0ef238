"""Laws that every rule keeps, on traces that never ran."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rules.synthetic import SICK, healthy_traces, rebuilt, sick_traces
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


@pytest.mark.parametrize(("first", "second"), OPPOSITES)
def test_no_run_is_told_two_opposites(first: str, second: str) -> None:
    def finding(name: str, confidence: float, grade: str) -> Finding:
        return Finding(name, "critical", confidence, grade, "It is so. It is bad.")

    for a, b, kept in ((0.9, 0.8, first), (0.8, 0.9, second)):
        found = [finding(first, a, "S"), finding("leakage", 0.5, "D"), finding(second, b, "S")]
        assert [f.ailment for f in without_opposites(found)] in (["leakage", kept], [kept, "leakage"])
    tried = [finding(first, 0.8, "S"), finding(second, 0.8, "W")]
    assert [f.ailment for f in without_opposites(tried)] == [second]
