"""`treat` end to end: a rate that is too high is found, its remedy proved and trained; a healthy run is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from trainwell.app.fit import fit
from trainwell.app.treating import arms_for, treat, treatment_lines
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


def test_a_healthy_run_is_left_alone(blobs: Blobs) -> None:
    run = fit(blobs, model=make(), recipe=Recipe(lr=1e-3, epochs=1), out=False, watch=False)
    case = treat(run, blobs, model=make, out=False)
    assert case.evidence is None and case.run is None
    assert "no finding" in next(treatment_lines(case))


def test_arms_take_the_first_of_every_finding() -> None:
    recipe = Recipe(lr=1e-4)
    overfit = Finding("overfitting", "warning", 0.9, "S", "It overfits.")
    arms = arms_for([overfit, too_low(1e-4)], recipe, 3)
    assert [p.ailment for p in arms.values()][:2] == ["overfitting", "lr_too_low"]
    assert len(arms) == 3
