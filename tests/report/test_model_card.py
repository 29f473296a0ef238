"""The card of an exported network."""

# ruff: noqa: E501
from __future__ import annotations

import re

from tests.report.hostile import NAMES
from trainwell.report.model_card import model_card


def test_card_tells_scores_findings_and_origin() -> None:
    about = {
        "task": {"kind": "binary", "classes": ["no", "yes"]}, "recipe": {"model": {"family": "mlp"}}, "seed": 3,
        "scores": {"test": {"accuracy": 0.9}}, "baseline": {"test": {"accuracy": 0.8}}, "fingerprint": "abc", "trainwell": "0.1",
    }  # fmt: skip
    card = model_card(about, ["lr_too_high"], ["a column leaks"])
    for part in (
        "| test | accuracy | 0.9 | 0.8 |",
        "finding: learning rate too high",
        "data: a column leaks",
        "seed 3, data abc",
    ):
        assert part in card, part


def test_names_stay_text_in_the_card() -> None:
    card = model_card(
        {"task": {"kind": "multiclass", "classes": NAMES[:12]}, "fingerprint": NAMES[0]}, (), NAMES
    )
    assert not re.search(r"[<>`\[\]\x00-\x09\x0b-\x1f]", card)
