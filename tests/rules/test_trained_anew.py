"""What a training anew showed speaks where the traces alone do not, and takes back what they seem to say."""

from __future__ import annotations

import numpy as np
import pytest

from tests.rules.synthetic import BASE, STEPS, Story
from tests.rules.test_causes import names


def half_way() -> Story:
    """A run that came half of the way and shows nothing else."""
    story = Story()
    story.put("train_loss", BASE * np.linspace(0.8, 0.5, STEPS))
    story.put("probe_loss", 0.5 * BASE)
    story.put("probe_score", 0.5)
    story.put("val_score", 0.5)
    story.put("q", 0.9)
    return story


def tried(change: str, gain: float) -> dict[str, dict[str, float]]:
    return {change: {"steps": STEPS, "train": gain, "val": gain, "train_z": 9.0, "val_z": 9.0}}


@pytest.mark.parametrize(("gain", "told"), [(0.4, True), (0.05, False)])
@pytest.mark.parametrize(
    ("change", "ailment"),
    [
        ("tenth", "lr_too_high"),
        ("usual_start", "bad_init"),
        ("at_peak", "lr_schedule"),
        ("at_median", "lr_schedule"),
    ],
)
def test_what_made_the_run_better_is_the_cause(change: str, ailment: str, gain: float, told: bool) -> None:
    story = half_way()
    story.series["lr", None] = (np.arange(1, STEPS + 1), np.linspace(1e-2, 4e-3, STEPS))
    assert ailment not in names(story.traces())
    story.facts["anew"] = tried(change, gain)
    assert (ailment in names(story.traces())) is told


@pytest.mark.parametrize(("gain", "told"), [(0.4, True), (0.0, False)])
def test_a_strong_decay_is_misused_where_the_run_is_better_without(gain: float, told: bool) -> None:
    """Its pull alone does not tell: weights that are at rest are pulled as hard as they are pushed."""
    story = half_way()
    story.put("probe_score", 0.7)
    story.facts |= {"hyper": {"weight_decay": 1.0}, "decoupled_decay": True, "optimizer": "AdamW"}
    story.put("lr", 1e-2)
    for layer in ("0.weight", "2.weight", "4.weight"):
        story.put("weight_norm", 1.0, layer)
        story.put("update_norm", 0.012, layer)
    assert "weight_decay_misuse" in names(story.traces())
    story.facts["anew"] = tried("undecayed", gain)
    assert ("weight_decay_misuse" in names(story.traces())) is told


def test_what_a_tenth_of_the_rate_makes_worse_was_not_too_fast() -> None:
    story = half_way()
    story.put("q", 0.3)
    story.put("train_loss", BASE * (0.6 + 0.2 * np.sin(np.arange(STEPS) / 40)))
    assert "lr_too_high" in names(story.traces())
    story.facts["anew"] = tried("tenth", -0.2)
    story.facts["anew"]["tenth"] |= {"train_z": -9.0, "val_z": -9.0}
    assert "lr_too_high" not in names(story.traces())


@pytest.mark.parametrize(("q", "gain", "told"), [(0.97, 0.5, True), (0.97, 0.2, False), (0.8, 0.5, False)])
def test_ten_times_the_rate_tells_where_steps_go_straight(q: float, gain: float, told: bool) -> None:
    story = half_way()
    story.put("q", q)
    story.facts["anew"] = tried("tenfold", gain)
    assert ("lr_too_low" in names(story.traces())) is told


@pytest.mark.parametrize(
    ("error", "gain", "told"), [(0.02, 0.0, True), (0.45, 0.0, False), (0.02, 0.3, False)]
)
def test_a_network_behind_a_simple_learner_whatever_its_rate_is_too_simple(
    error: float, gain: float, told: bool
) -> None:
    """Few rows can be learned by heart with three units; most cannot be told apart with them."""
    story = half_way()
    story.put("train_loss", BASE * (0.5 + 0.5 * np.exp(-np.arange(STEPS) / 20)))
    story.facts |= {"witness_error": error, "witness_base_error": 0.75, "residual_r2": 0.5, "few_way": 1.0}
    story.facts["learnable"] = 1 - error / 0.75
    story.facts["anew"] = tried("tenth", gain)
    story.facts["what_if"] = {
        "as_is": {"steps": 24},
        "longer": {"steps": STEPS, "train": 0.01, "val_hot": 0.01},
    }
    assert ("underfitting" in names(story.traces())) is told


@pytest.mark.parametrize(("rows", "score", "told"), [(480, 0.5, True), (960, 0.5, False), (480, 0.99, False)])
def test_a_few_steps_of_whole_epochs_are_too_few_whatever_the_loss_did(
    rows: int, score: float, told: bool
) -> None:
    story, steps = half_way(), 15
    story.series["train_loss", None] = (np.arange(steps), BASE * (0.5 + 0.01 * np.arange(steps)))
    for signal in ("val_loss", "val_score", "probe_loss", "probe_score", "val_losses"):
        ends, values = story.series[signal, None]
        story.series[signal, None] = (np.arange(1, len(ends) + 1), values)
    story.put("probe_score", score)
    story.put("probe_loss", BASE * (1 - score))
    story.facts |= {"steps": steps, "steps_per_epoch": 1, "rows_per_epoch": rows, "batch_size": 480}
    assert ("batch_too_large" in names(story.traces())) is told
