"""The final metrics of a run, by scikit-learn's definitions."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from trainwell.values.errors import UsageError
from trainwell.values.task import BINARY, Task

Array = npt.NDArray[Any]
Call = Callable[[], Any]
Z95 = 1.959964


def scores(
    task: Task, target: Array, outputs: Array, wanted: Collection[str] | None = None
) -> dict[str, float]:
    """Return the metrics of a part.

    Args:
        target: class indices (N,), or numbers in the unit of the target (N,).
        outputs: probabilities (N, C), or predictions in the unit of the target (N,).
        wanted: their names; None for all.
    """
    if len(target) == 0:
        raise UsageError("there is no row to score.")
    made = _classification(task, target, outputs) if task.is_classification else _regression(target, outputs)
    return {name: float(call()) for name, call in made.items() if wanted is None or name in wanted}


def interval(task: Task, target: Array, outputs: Array) -> tuple[float, float] | None:
    """Return the 95 % interval of the primary metric from the spread over the rows; None where it has no closed form.

    Source: Wilson for accuracy; the central limit theorem for means over rows.
    """
    if task.metric == "accuracy":
        return wilson(int((outputs.argmax(1) == target).sum()), len(target))
    each = _each(task, target, outputs)
    if each is None or len(each) < 30:
        return None
    half = Z95 * float(each.std()) / math.sqrt(len(each))
    low, high = float(each.mean()) - half, float(each.mean()) + half
    return (math.sqrt(max(0.0, low)), math.sqrt(high)) if task.metric == "rmse" else (low, high)


def _each(task: Task, target: Array, outputs: Array) -> Array | None:
    """Return what the primary metric is the mean of, row by row (of the squares for the RMSE)."""
    if task.metric == "log_loss":
        return np.asarray(-np.log(np.maximum(outputs[np.arange(len(target)), target], 1e-12)))
    rest = {"rmse": 2, "mae": 1}.get(task.metric)
    return None if rest is None else np.abs(target - outputs) ** rest


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share.

    Source: Wilson 1927; Brown, Cai, DasGupta 2001, section 3.1.
    """
    if n == 0:
        return math.nan, math.nan
    share, z = hits / n, Z95
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def _classification(task: Task, target: Array, probabilities: Array) -> dict[str, Call]:
    from sklearn import metrics

    predicted = probabilities.argmax(1)
    labels = np.arange(len(task.classes))
    present = np.unique(target)
    found: dict[str, Call] = {
        "accuracy": lambda: metrics.accuracy_score(target, predicted),
        "balanced_accuracy": lambda: np.mean(
            metrics.recall_score(target, predicted, labels=present, average=None, zero_division=0)
        ),
        "f1_macro": lambda: metrics.f1_score(
            target, predicted, labels=labels, average="macro", zero_division=0
        ),
        "log_loss": lambda: metrics.log_loss(target, probabilities.astype(np.float64), labels=labels),
    }
    if task.kind == BINARY and len(present) == 2:
        found["roc_auc"] = lambda: metrics.roc_auc_score(target, probabilities[:, 1])
    elif task.kind != BINARY and len(present) == len(labels):
        found["roc_auc"] = lambda: metrics.roc_auc_score(
            target, probabilities, multi_class="ovr", labels=labels
        )
    return found


def _regression(target: Array, predicted: Array) -> dict[str, Call]:
    from sklearn import metrics

    found: dict[str, Call] = {
        "rmse": lambda: metrics.root_mean_squared_error(target, predicted),
        "mae": lambda: metrics.mean_absolute_error(target, predicted),
    }
    if len(target) > 1:
        found["r2"] = lambda: metrics.r2_score(target, predicted)
    return found
