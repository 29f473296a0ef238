"""`prove` and `ablate` end to end: a planted effect, a change that does nothing, going on, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainwell.app.ablating import ablate, ablation_lines
from trainwell.app.evidence_lines import evidence_lines
from trainwell.app.fit import fit
from trainwell.app.proving import arms_of, prove
from trainwell.app.trial_runs import Arm, TrialRuns
from trainwell.values.errors import RecipeError, RunError, UsageError
from trainwell.values.evidence import Evidence
from trainwell.values.recipe import Recipe

RECIPE = Recipe(model="mlp", lr=3e-3, batch_size=64, epochs=4)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def blobs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(480) % 3
    centres = 2 * torch.eye(3, 6)
    return torch.randn(480, 6, generator=generator) + centres[y], y


@pytest.fixture(scope="module")
def trial(blobs: tuple[torch.Tensor, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return prove(
        blobs, base=RECIPE, change=["lr=0.00002", "dropout:rate=0"], seeds=6, metric="log_loss",
        out=tmp_path_factory.mktemp("trial") / "t", test_fraction=0.2,
    )  # fmt: skip


def test_a_planted_harm_is_refuted_and_nothing_is_nothing(trial: Evidence) -> None:
    harm, nothing = trial.comparisons
    assert harm.verdict == "refuted" and harm.high < 0 and harm.wins == 0
    assert nothing.verdict == "undecided" and set(nothing.gains) == {0.0}, (
        "an off dose is bit-equal to its absence"
    )
    assert trial.split == "redrawn" and trial.sign == -1
    assert harm.confirmation is not None and harm.confirmation.effect < 0
    assert nothing.cost is not None and nothing.cost.memory_ratio == 1
    assert any("harms" in line for line in evidence_lines(trial))


def test_evidence_is_short_in_a_notebook(trial: Evidence) -> None:
    assert repr(trial) == (
        "<Evidence log_loss on 6 paired seeds: lr=0.00002 refuted; dropout:rate=0 undecided>"
    )
    head, harm, _ = str(trial).splitlines()
    assert head.split() == [
        "change",
        "gain",
        "in",
        "log_loss",
        "95",
        "%",
        "interval",
        "better",
        "on",
        "verdict",
    ]
    assert harm.startswith("lr=0.00002") and harm.endswith("0 of 6     refuted")
    assert repr(trial.comparisons[0]).startswith("<Comparison lr=0.00002: refuted, gain -")


def test_evidence_survives_the_disk(trial: Evidence) -> None:
    assert trial.path is not None
    assert Evidence.load(trial.path) == trial
    assert Evidence.from_dict(trial.to_dict()) == trial


def test_a_trial_goes_on_from_its_journal(
    trial: Evidence, blobs: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []
    inner = TrialRuns._spec

    def counted(self: TrialRuns, arm: object, seed: int) -> object:
        trained.append(seed)
        return inner(self, arm, seed)  # type: ignore[arg-type]

    monkeypatch.setattr(TrialRuns, "_spec", counted)
    again = prove(
        blobs, base=RECIPE, change=["lr=0.00002", "dropout:rate=0"], seeds=7, metric="log_loss", out=trial.path,
        test_fraction=0.2,
    )  # fmt: skip
    assert set(trained) == {6}, "only the new seed is trained"
    assert again.comparisons[0].gains[:6] == trial.comparisons[0].gains
    with pytest.raises(RunError, match="other data"):
        prove(blobs, base=RECIPE, change="lr=0.1", out=trial.path, test_fraction=0.2)


def test_pairs_share_their_validation_rows_and_seeds_do_not(
    blobs: tuple[torch.Tensor, torch.Tensor],
) -> None:
    from trainwell.app.sources import prepare

    runs = TrialRuns(prepare(blobs, None, own_model=False, loss=None, options={"test_fraction": 0.2}))
    first, second = runs.rows(0), runs.rows(1)
    assert torch.equal(first[1], runs.rows(0)[1])  # type: ignore[arg-type]
    assert not torch.equal(first[1], second[1])  # type: ignore[arg-type]
    assert not set(first[0].tolist()) & set(first[1].tolist())  # type: ignore[union-attr]


def test_a_given_validation_part_is_kept(blobs: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = blobs
    evidence = prove(
        ((x[:300], y[:300]), (x[300:], y[300:])), base=RECIPE.replace(epochs=1), change="lr=0.01", seeds=2, out=False
    )  # fmt: skip
    assert evidence.split == "given" and evidence.path is None


def test_an_arm_that_diverges_is_the_worst(blobs: tuple[torch.Tensor, torch.Tensor]) -> None:
    base = RECIPE.replace(optimizer="sgd", lr=0.05, epochs=2)
    evidence = prove(blobs, base=base, change="lr=1e20", seeds=6, out=False)
    (broken,) = evidence.comparisons
    assert broken.method == "ranks" and broken.verdict == "refuted" and broken.wins == 0
    assert any(
        "diverges more often: 6 of 6 runs with it, 0 without it" in s for s in evidence_lines(evidence)
    )
    evidence = prove(blobs, base=base.replace(lr=1e19), change="lr=1e20", seeds=2, out=False)
    assert any("all runs diverged, with it and without it" in line for line in evidence_lines(evidence))


def test_a_metric_that_sees_no_change_is_told(blobs: tuple[torch.Tensor, torch.Tensor]) -> None:
    evidence = prove(blobs, base=RECIPE.replace(epochs=1), change="dropout:rate=0", seeds=2, out=False)
    said = list(evidence_lines(evidence))
    assert "undecided dropout:rate=0: accuracy is the same with it and without it on every seed." in said
    assert any(
        "the same in 2 of 2 pairs; a finer metric sees more: --metric log_loss" in line for line in said
    )


def test_ablation_says_what_a_technique_is_worth(
    blobs: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    recipe = RECIPE.with_("label_smoothing:amount=0.3")
    run = fit(blobs, recipe=recipe, out=tmp_path / "run", watch=False)
    evidence = ablate(run, blobs, seeds=3, out=False)
    assert [c.name for c in evidence.comparisons] == ["-label_smoothing"]
    assert any("label_smoothing" in line for line in ablation_lines(evidence))
    with pytest.raises(RunError, match="from Python"):
        ablate(run)


def test_changes_are_read_from_text() -> None:
    base = RECIPE.with_("dropout:rate=0.1", "ema")
    arms = arms_of(base, ["dropout:rate=0.3", "lr=0.01 + -ema", "sgd"])
    assert [a.recipe.lr for a in arms] == [0.003, 0.01, 0.003]
    assert arms[1].recipe.get("ema") is None
    assert arms_of(base, Arm("slower", arms[0].recipe))[0].name == "slower"
    other = base.replace(optimizer="sgd", lr=0.5, epochs=8.0, model=base.model.replace(width=64))
    assert base.diff(other)[0].startswith("optimizer: adam:")
    assert base.diff(other)[1:] == ["lr: 0.003 -> 0.5", "epochs: 4 -> 8", "model.width: none -> 64"]
    with pytest.raises(RecipeError, match="nothing to prove"):
        arms_of(base, "dropout:rate=0.1")
    with pytest.raises(RecipeError, match="given twice"):
        arms_of(base, ["lr=0.01", "lr=0.01"])
    with pytest.raises(UsageError, match="empty"):
        arms_of(base, [])


def test_an_interval_that_is_not_known_is_left_out(blobs: tuple[torch.Tensor, torch.Tensor]) -> None:
    evidence = prove(
        blobs, base=RECIPE.replace(epochs=1), change="early_stopping", seeds=2, out=False, test_fraction=0.2
    )
    said = "\n".join(evidence_lines(evidence))
    assert "inf" not in said and "-0," not in said
    assert "on the test part, opened now: +0.0000\n" in said
