"""How many rows must a validation part have before it chooses the epoch better than the end of the budget does?

Subsets of scikit-learn's data sets; a part of 15 % that chooses the best epoch, against training on all rows to the
last epoch; both arms share subset and seed. Loss on all rows that are left: log loss, or mean squared error of the
standardised target. Prints, per number of validation rows, the mean difference of the log of the loss (negative: the part
helps) with a 95 % interval over data sets and seeds.

python benchmarks/small_validation.py [--seeds 6]

2026-11-26, 2 cores of an EPYC under other load (the time does not enter), torch 2.13 CPU, scikit-learn 1.9, 6 seeds:

rows  validation rows  log(loss with part / loss without), mean [95 %]  pairs
  30                4  +0.078 [+0.014, +0.142]  24
  48                7  +0.014 [-0.063, +0.091]  24
  66               10  +0.087 [+0.005, +0.169]  24
 100               15  +0.021 [-0.103, +0.145]  18
 140               21  +0.034 [-0.085, +0.153]  18
 270               40  -0.065 [-0.146, +0.015]  18
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn import datasets
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.model_selection import train_test_split

from trainwell import Classifier, ModelSpec, Recipe, Regressor
from trainwell.app import features

SETS: dict[str, Callable[..., Any]] = {
    "wine": datasets.load_wine, "breast_cancer": datasets.load_breast_cancer, "digits": datasets.load_digits,
    "diabetes": datasets.load_diabetes,
}  # fmt: skip
ROWS = (30, 48, 66, 100, 140, 270)
RECIPE = Recipe(ModelSpec.of("mlp"), schedule="cosine", lr=1e-3, batch_size=32, epochs=40).with_(
    "dropout:rate=0.1"
)


def loss(name: str, rows: int, seed: int, fraction: float) -> float | None:
    """Return the loss on the rows that are left, or None where too few are."""
    X, y = SETS[name](return_X_y=True)
    if len(y) < rows + 80:
        return None
    numbers = name == "diabetes"
    left, X_test, known, y_test = train_test_split(
        X, y, train_size=rows, random_state=seed, stratify=None if numbers else y
    )
    kind = Regressor if numbers else Classifier
    fitted = kind(recipe=RECIPE, validation_fraction=fraction, random_state=seed, device="cpu").fit(
        left, known
    )
    if numbers:
        return float(mean_squared_error(y_test / y.std(), fitted.predict(X_test) / y.std()))
    return float(log_loss(y_test, fitted.predict_proba(X_test), labels=fitted.classes_))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=6)
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    features.MIN_VALIDATION_ROWS = 1
    print("rows  validation rows  log(loss with part / loss without), mean [95 %]  pairs")
    for rows in ROWS:
        found = []
        for name in SETS:
            for seed in range(seeds):
                with_part, without = (loss(name, rows, seed, f) for f in (0.15, 0.0))
                if with_part is not None and without is not None:
                    found.append(np.log(with_part / without))
        half = 1.96 * np.std(found, ddof=1) / len(found) ** 0.5
        mean = float(np.mean(found))
        print(
            f"{rows:4d}  {round(0.15 * rows):15d}  {mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]  {len(found)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
