"""What is prescribed can be pasted, and fits the cause."""

from __future__ import annotations

import ast
import dataclasses

import pytest

from tests.rules.synthetic import SICK, sick_traces
from trainwell.app.prescriptions import prescriptions
from trainwell.rules.rule import load_rules
from trainwell.rules.view import View
from trainwell.values.finding import Finding

RULES = load_rules()


def found(name: str) -> Finding:
    finding = RULES[name]().diagnose(View(sick_traces(name)))
    assert finding is not None
    return finding


@pytest.mark.parametrize("name", sorted(SICK))
def test_every_line_of_code_is_python(name: str) -> None:
    finding = found(name)
    assert finding.fix
    for known in (finding, dataclasses.replace(finding, measured={})):
        for prescription in prescriptions(known):
            ast.parse(prescription.code)
            assert " of the steps" not in prescription.code and "nan" not in prescription.code


def test_too_strong_a_decay_is_answered_with_a_tenth_at_most() -> None:
    first = prescriptions(found("weight_decay_misuse"))[0]
    assert first.technique is not None and first.name == "weight_decay"
    assert 0 < first.technique.rate <= 0.1  # type: ignore[attr-defined]


def test_an_explosion_from_the_start_weights_is_not_clipped_first() -> None:
    finding = Finding("exploding_gradient", "critical", 0.9, "S", "So. It is.", measured={"at_start": 1.0})
    names = [p.name for p in prescriptions(finding)]
    assert names[0] in ("he", "lsuv") and names.index("layer_norm") < names.index("clip_grad")


def test_a_warm_up_counts_the_steps_of_the_run() -> None:
    finding = Finding("lr_too_high", "critical", 0.9, "S", "So. It is.", measured={"steps": 500.0, "lr": 0.1})
    code = {p.name: p.code for p in prescriptions(finding)}
    assert code["warmup"].endswith("total_iters=100)") and "total_steps=500" in code["one_cycle"]
