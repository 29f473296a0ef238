"""What is known of data and recipe before a training, as the doctor reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from trainwell.app.predictor import Predictor
from trainwell.engine.training import Training
from trainwell.models.backbones.base import NONE, BackboneNet
from trainwell.signals.nearest import ROWS, described, way_of_nearest
from trainwell.values.recipe import Recipe

if TYPE_CHECKING:
    from trainwell.app.sources import Prepared
    from trainwell.data.samples import SampleData

FREEZING = ("freeze", "unfreeze")
"""Families of techniques that ask for layers to stand still."""
START_ROWS = 256
"""Validation rows on which pre-trained weights are judged before the first step."""
WEAK = 0.15
"""Features that take less of the way to perfection are held against the inputs themselves."""


def facts_of(prepared: Prepared, recipe: Recipe) -> dict[str, Any]:
    """Return the facts of the data, what their parts were split by, which columns give the target away, and whether
    something is asked to be frozen."""
    asked = any(t.family in FREEZING or t.name.startswith("freeze") for t in recipe.techniques)
    options, made = prepared.source.get("options", {}), prepared.samples
    held_out = next((name for name in ("group", "time") if options.get(name)), "")
    if made is None:
        leaks = [note.column for note in prepared.notes if note.code == "leak"]
        return {"freezes": asked, "held_out": held_out, "leaks": leaks}
    rows = {name: len(y) for name, y in made.targets.items()}
    alike = {name: [int(n), rows[name]] for name, n in (made.facts.get("alike") or {}).items() if n}
    return {**made.facts, "freezes": asked, "held_out": held_out, "alike": alike}


def start_facts(prepared: Prepared, training: Training) -> dict[str, float]:
    """Return the validation loss of pre-trained weights before the first step, in units of the best constant's.

    Of a network that is not pre-trained, or where it is known, nothing is returned.
    """
    model, made, val = training.model, prepared.samples, prepared.parts.get("val")
    pretrained = isinstance(model, BackboneNet) and model.family.weights != NONE and not training.state.step
    if not pretrained or made is None or val is None or "start_of_base" in made.facts:
        return {}
    x, y = val
    rows = np.sort(np.random.default_rng(0).permutation(len(y))[:START_ROWS])
    outputs = torch.from_numpy(Predictor(model, None).outputs(tuple(t[rows] for t in x)))
    loss = (F.cross_entropy if made.task.is_classification else F.mse_loss)(outputs, y[rows])
    return {"start_of_base": float(loss) / base_loss(made)}


def base_loss(made: SampleData) -> float:
    """Return the loss of the best constant answer on the training rows, as the training measures losses."""
    y = made.targets["train"]
    if not made.task.is_classification:
        return max(float(np.var(y)), 1e-12)
    shares = np.bincount(y) / len(y)
    return max(float(-(shares * np.log(np.clip(shares, 1e-12, 1))).sum()), 1e-12)


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
