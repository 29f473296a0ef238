"""The final metrics of a run, by scikit-learn's definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from trainwell.values.errors import UsageError
from trainwell.values.task import BINARY, Task

Array = npt.NDArray[Any]


def scores(task: Task, target: Array, outputs: Array) -> dict[str, float]:
    """Return all metrics of a part.

    Args:
        target: class indices (N,), or numbers in the unit of the target (N,).
        outputs: probabilities (N, C), or predictions in the unit of the target (N,).
    """
    if len(target) == 0:
        raise UsageError("there is no row to score.")
    found = _classification(task, target, outputs) if task.is_classification else _regression(target, outputs)
    return {k: float(v) for k, v in found.items()}


def _classification(task: Task, target: Array, probabilities: Array) -> dict[str, Any]:
    from sklearn import metrics

    predicted = probabilities.argmax(1)
    labels = np.arange(len(task.classes))
    present = np.unique(target)
    found: dict[str, Any] = {
        "accuracy": metrics.accuracy_score(target, predicted),
        "balanced_accuracy": np.mean(
            metrics.recall_score(target, predicted, labels=present, average=None, zero_division=0)
        ),
        "f1_macro": metrics.f1_score(target, predicted, labels=labels, average="macro", zero_division=0),
        "log_loss": metrics.log_loss(target, probabilities.astype(np.float64), labels=labels),
    }
    if task.kind == BINARY and len(present) == 2:
        found["roc_auc"] = metrics.roc_auc_score(target, probabilities[:, 1])
    elif task.kind != BINARY and len(present) == len(labels):
        found["roc_auc"] = metrics.roc_auc_score(target, probabilities, multi_class="ovr", labels=labels)
    return found


def _regression(target: Array, predicted: Array) -> dict[str, Any]:
    from sklearn import metrics

    found = {
        "rmse": metrics.root_mean_squared_error(target, predicted),
        "mae": metrics.mean_absolute_error(target, predicted),
    }
    if len(target) > 1:
        found["r2"] = metrics.r2_score(target, predicted)
    return found
