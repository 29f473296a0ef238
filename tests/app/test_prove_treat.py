"""`treat` end to end: a rate that is too high is found, its remedy proved and trained; a healthy run is left alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from trainwell.app.fit import fit
from trainwell.app.prescriptions import prescriptions
from trainwell.app.returning import begin_of, rest_of
from trainwell.app.treating import arms_for, metric_for, treat, treatment_lines
from trainwell.values.finding import Finding
from trainwell.values.recipe import Recipe

Blobs = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def blobs() -> Blobs:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(480) % 3
    return torch.randn(480, 6, generator=generator) + 2 * torch.eye(3, 6)[y], y


def too_low(rate: float) -> Finding:
    return Finding(
        "lr_too_low", "warning", 0.9, "S", "The rate is too low.", measured={"lr": rate, "lr.suggested": 0.01}
    )


def make() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def test_what_is_proved_is_kept_and_trained(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the trial goes into trials/
    recipe = Recipe(lr=2e-5, batch_size=64, epochs=3)
    torch.manual_seed(0)
    run = fit(blobs, model=make(), recipe=recipe, out=tmp_path / "run", watch=False, test_fraction=0.2)
    run.findings = [too_low(2e-5)]
    case = treat(
        run, blobs, model=make, seeds=6, metric="log_loss", max_changes=2, out=tmp_path / "treated",
        test_fraction=0.2,
    )  # fmt: skip
    assert [c.name for c in case.kept][:1] == ["lr=0.01"]
    assert case.recipe.lr == pytest.approx(0.01)
    assert case.after["test"]["accuracy"] > case.before["test"]["accuracy"]
    assert (tmp_path / "treated" / "treatment.json").is_file()
    lines = "\n".join(treatment_lines(case))
    assert "kept      lr=0.01" in lines and "tried     lr=0.01 for learning rate too low" in lines


def test_findings_and_treatments_are_short_in_a_notebook(blobs: Blobs) -> None:
    assert repr(too_low(1e-5)) == "<Finding learning rate too low (warning, sure to 90%)>"
    assert str(too_low(1e-5)).startswith("finding 1 learning rate too low (warning, sure to 90%)")
    run = fit(blobs, model=make(), recipe=Recipe(epochs=1), out=False, watch=False)
    case = treat(run, blobs, model=make, out=False)
    assert repr(case) == "<Treatment of no finding: nothing proved of 0 tried>"
    assert "treated   nothing: there is nothing to mend" in str(case)


def late(since: int) -> Finding:
    facts = {"lr": 0.5, "lr.suggested": 0.01}
    return Finding(
        "lr_too_high", "warning", 0.9, "S", "The rate is too high.", span=(since, 90), measured=facts
    )


def test_a_run_begins_again_where_it_was_last_good(blobs: Blobs) -> None:
    """A rate that is too high from epoch 4 on: the weights of epoch 3 are good, and older than the fault."""
    run = fit(blobs, model=make(), recipe=Recipe(lr=0.01, batch_size=64, epochs=3), out=False, watch=False)
    steps = run.history[run.best_epoch - 1]["step"]
    recipe = Recipe(lr=0.5, batch_size=64, epochs=6)
    kept = prescriptions(late(steps + 1), recipe)[:1]
    begin = begin_of(run, [late(steps + 1)], kept)
    assert begin.epoch == run.best_epoch and begin.weights is not None and f"step {steps + 1}" in begin.why
    assert rest_of(recipe, begin).epochs == 6 - run.best_epoch
    went = fit(
        blobs, model=make(), recipe=rest_of(recipe.replace(lr=1e-9), begin), start_from=begin.weights, out=False,
        watch=False,
    )  # fmt: skip
    assert went.history[0]["val_loss"] == pytest.approx(run.history[run.best_epoch - 1]["val_loss"], abs=1e-4)


def test_a_run_begins_at_the_start_where_nothing_good_is_older(blobs: Blobs) -> None:
    run = fit(blobs, model=make(), recipe=Recipe(lr=0.01, epochs=2), out=False, watch=False)
    first = dataclasses.replace(late(0), span=None)
    for fault, words in ((first, "from the first step"), (late(1), "no good weights are older")):
        begin = begin_of(run, [fault], prescriptions(fault, run.recipe)[:1])
        assert begin.weights is None and words in begin.why
    fault = Finding("vanishing_gradient", "critical", 0.9, "S", "It vanishes.", span=(50, 90))
    begin = begin_of(run, [fault], [p for p in prescriptions(fault, run.recipe) if p.name == "batch_norm"])
    assert begin.weights is None and "batch_norm changes how" in begin.why


def test_what_a_network_or_loss_does_not_allow_is_not_tried(blobs: Blobs) -> None:
    """A loss without rows allows no smoothing."""

    def loss(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs, y)

    run = fit(blobs, model=make(), loss=loss, recipe=Recipe(lr=1e-3, epochs=1), out=False, watch=False)
    run.findings = [Finding("label_noise", "warning", 0.9, "S", "Labels are wrong.")]
    case = treat(run, blobs, model=make, loss=loss, seeds=2, out=False)
    assert any("label_smoothing" in name and "each row" in why for name, why in case.refused.items())
    assert any(line.startswith("not tried label_smoothing") for line in treatment_lines(case))


def test_classes_out_of_balance_are_judged_by_their_balanced_accuracy() -> None:
    imbalance = Finding("class_imbalance", "warning", 0.9, "S", "A class is rare.")
    assert metric_for([too_low(1e-3)]) is None
    assert metric_for([too_low(1e-3), imbalance]) == "balanced_accuracy"


def test_a_healthy_run_is_left_alone(blobs: Blobs) -> None:
    run = fit(blobs, model=make(), recipe=Recipe(lr=1e-3, epochs=1), out=False, watch=False)
    case = treat(run, blobs, model=make, out=False)
    assert case.evidence is None and case.run is None
    told = list(treatment_lines(case))
    assert "no finding" in told[0]
    assert told[1] == "treated   nothing: there is nothing to mend"


def test_arms_take_the_first_of_every_finding() -> None:
    recipe = Recipe(lr=1e-4)
    overfit = Finding("overfitting", "warning", 0.9, "S", "It overfits.")
    arms = arms_for([overfit, too_low(1e-4)], recipe, 3)
    assert [p.ailment for p in arms.values()][:2] == ["overfitting", "lr_too_low"]
    assert len(arms) == 3
