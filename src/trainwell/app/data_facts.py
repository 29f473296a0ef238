"""What is known of data and recipe before a training, as the doctor reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trainwell.signals.nearest import ROWS, described, way_of_nearest
from trainwell.values.recipe import Recipe

if TYPE_CHECKING:
    from trainwell.app.sources import Prepared
    from trainwell.data.samples import SampleData

FREEZING = ("freeze", "unfreeze")
"""Families of techniques that ask for layers to stand still."""
WEAK = 0.15
"""Features that take less of the way to perfection are held against the inputs themselves."""


def facts_of(prepared: Prepared, recipe: Recipe) -> dict[str, Any]:
    """Return the facts of the data, and whether the recipe asks for something to be frozen."""
    asked = any(t.family in FREEZING or t.name.startswith("freeze") for t in recipe.techniques)
    made = prepared.samples
    if made is None:
        return {"freezes": asked}
    rows = {name: len(y) for name, y in made.targets.items()}
    alike = {name: [int(n), rows[name]] for name, n in (made.facts.get("alike") or {}).items() if n}
    return {"freezes": asked, **{k: v for k, v in made.facts.items() if k != "alike"}, "alike": alike}


def separability(made: SampleData, features: Mapping[str, Any]) -> dict[str, float]:
    """Return how well the nearest features tell the answers; where they do not, also how well the nearest inputs do.

    Args:
        made: the data before the network. features: (N, F) of each part.
    """
    y, classes = made.targets["train"], made.task.is_classification
    way, rows = way_of_nearest(np.asarray(features["train"]), y, classes=classes)
    facts = {"knn_features": way, "knn_rows": float(rows)}
    if way < WEAK:
        some = np.sort(np.random.default_rng(0).permutation(len(y))[:ROWS])
        inputs = described(np.asarray(made.parts["train"][0][0])[some])
        facts["knn_inputs"] = way_of_nearest(inputs, y[some], classes=classes)[0]
    return facts
