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
