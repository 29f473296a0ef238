"""What is prescribed can be pasted, and fits the cause."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pandas as pd
import pytest

import trainwell as tw
from tests.rules.synthetic import SICK, sick_traces
from trainwell.app.findings import Diagnosis, diagnose_run, diagnosis_lines
from trainwell.app.prescriptions import prescriptions
from trainwell.rules.rule import load_rules
from trainwell.rules.view import View
from trainwell.values.finding import Finding
from trainwell.values.recipe import Recipe

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


def test_what_cannot_act_on_the_data_is_not_prescribed() -> None:
    finding = found("overfitting")
    assert "mixup" in {p.name for p in prescriptions(finding, None, "image")}
    assert "mixup" not in {p.name for p in prescriptions(finding, None, "text")}
    for kind, offered in (("image", True), ("text", False)):
        diagnosis = Diagnosis([finding], recipe=Recipe(), kind=kind)
        told = "\n".join(diagnosis_lines([diagnosis]))
        names = {p["name"] for p in diagnosis.to_dict()["findings"][0]["prescriptions"]}
        assert ("mixup" in names) is offered and "dropout" in names and "--with dropout" in told


def test_a_saved_run_says_the_kind_of_its_data(tmp_path: Path) -> None:
    texts = [f"{('good fine', 'bad dull')[i % 2]} words of film {i}" for i in range(80)]
    rows = pd.DataFrame({"t": texts, "y": [0, 1] * 40})
    run = tw.fit(rows, "y", text="t", preset="quick", budget="1ep", out=tmp_path / "run")
    assert run.kind == "text" and diagnose_run(tmp_path / "run").kind == "text"
