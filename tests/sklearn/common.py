"""Small estimators that train in milliseconds."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from trainwell.app.estimators import Classifier, Regressor
from trainwell.values.recipe import ModelSpec, Recipe

TINY = Recipe(ModelSpec.of("mlp", width=32, depth=2), lr=3e-3, epochs=20, batch_size=16)


def classifier(**params: Any) -> Classifier:
    return Classifier(**{"recipe": TINY, "device": "cpu", "random_state": 0, **params})


def regressor(**params: Any) -> Regressor:
    return Regressor(**{"recipe": TINY, "device": "cpu", "random_state": 0, **params})


class Net(nn.Sequential):
    """A network of the user's, made from the numbers of features and outputs."""

    def __init__(self, num_features: int, num_outputs: int) -> None:
        super().__init__(nn.Linear(num_features, 32), nn.ReLU(), nn.Linear(32, num_outputs))


def blobs(rows: int = 120, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return rows around one centre per class, and the classes."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % classes
    return rng.normal(size=(rows, 4)) + 3.0 * np.eye(4)[y % 4], y
