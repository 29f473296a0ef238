"""What scikit-learn's boosting reaches on the same split of a table."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trainwell.app.scoring import scores
from trainwell.values.task import Task

if TYPE_CHECKING:
    import pandas as pd

    Raw = Mapping[str, tuple[pd.DataFrame, np.ndarray[Any, Any]]]

MAX_CATEGORIES = 255


def boosting_baseline(raw: Raw, task: Task, seed: int = 0) -> dict[str, Any]:
    """Fit a HistGradientBoosting with its defaults on the training part; return metrics by part and `seconds`.

    Categories stay categories up to 255 values (its limit); beyond, their codes are taken as numbers.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    start = time.perf_counter()
    kind = HistGradientBoostingClassifier if task.is_classification else HistGradientBoostingRegressor
    model = kind(categorical_features="from_dtype", random_state=seed)
    model.fit(_limited(raw["train"][0]), raw["train"][1])
    found: dict[str, Any] = {}
    for part in ("val", "test"):
        if part in raw:
            x, y = _limited(raw[part][0]), raw[part][1]
            found[part] = scores(
                task, y, _all_classes(model, x, task) if task.is_classification else model.predict(x)
            )
    found["seconds"] = time.perf_counter() - start
    return found


def _all_classes(model: Any, x: pd.DataFrame, task: Task) -> np.ndarray[Any, Any]:
    """Return probabilities of every class of the task, also of those without a training row."""
    probabilities = np.zeros((len(x), len(task.classes)))
    probabilities[:, model.classes_] = model.predict_proba(x)
    return probabilities


def _limited(frame: pd.DataFrame) -> pd.DataFrame:
    """Replace categories beyond the limit by their codes (missing is NaN)."""
    import pandas as pd

    out = {}
    for name in frame.columns:
        column = frame[name]
        if isinstance(column.dtype, pd.CategoricalDtype) and len(column.cat.categories) > MAX_CATEGORIES:
            codes = column.cat.codes.to_numpy().astype(float)
            column = pd.Series(np.where(codes < 0, np.nan, codes), index=column.index)
        out[name] = column
    return pd.DataFrame(out)
