"""The errors of a trained run, row by row: what the report draws of them, as plain data."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainwell.app.outcome import load_run
from trainwell.app.predictor import Predictor
from trainwell.app.scoring import Z95, scores, wilson
from trainwell.app.scoring import interval as closed
from trainwell.app.sources import Prepared, prepare
from trainwell.values.errors import RunError
from trainwell.values.task import Task

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]

SEED, RESAMPLES, MAX_ROWS = 20260131, 400, 200_000
SHOWN_CLASSES, BINS, DRAWN, WORST, SHOWN_FEATURES = 20, 10, 1500, 12, 6
SMALLEST_SLICE, SHOWN_SLICES, ALPHA = 30, 12, 0.05


@dataclasses.dataclass(frozen=True)
class Scored:
    """The rows of a part with their predictions.

    Shapes: truth: (N,) classes or numbers in the unit of the target; outputs: (N, C) probabilities or (N,) numbers.
    """

    task: Task
    truth: Array
    outputs: Array

    @property
    def called(self) -> Array:
        """The class that was given, or the number, (N,)."""
        return self.outputs.argmax(1) if self.task.is_classification else self.outputs

    @property
    def right(self) -> Array:
        return np.asarray(self.called == self.truth)

    @property
    def error(self) -> Array:
        """How far each row is off: the negative log probability of the truth, or the absolute residual."""
        if self.task.is_classification:
            return -np.log(np.maximum(self.outputs[np.arange(len(self.truth)), self.truth], 1e-12))
        return np.abs(self.truth - self.outputs)


def mistakes(folder: Path, part: str) -> dict[str, Any]:
    """Score a part of a run again and return its errors.

    Raises:
        TrainwellError: the data are no longer those of the run, or it trained a module of the user's.
    """
    run = load_run(folder)
    assert run.task is not None
    prepared = _again(folder, run.fingerprint)
    data = prepared.parts.get(part)
    if not isinstance(data, tuple):
        raise RunError(f"{folder}: the rows of the {part} part come from a loader and are not scored again.")
    x, y = data
    outputs = Predictor(run.model, run.task).scored(x)
    truth = y.numpy()
    if not run.task.is_classification:
        truth = (truth.astype(np.float64) * run.task.scale + run.task.mean).reshape(-1)
    scored = Scored(run.task, truth, np.asarray(outputs))
    frame = prepared.table.raw[part][0] if prepared.table is not None else None
    places = prepared.table.splits[part].index if prepared.table is not None else np.arange(len(truth))
    rows = worst(scored, frame, places)
    if prepared.samples is not None:
        from trainwell.app.shown import show_samples

        show_samples(rows, prepared, folder, part)
    return {
        "part": part,
        "rows": len(truth),
        "constant": constant(scored),
        **_whole(scored),
        **_parts(scored, frame),
        "worst": rows,
    }


def constant(scored: Scored) -> dict[str, Any]:
    """Return what answering the same for every row would score: the commonest class of the training part, the mean."""
    task, rows = scored.task, len(scored.truth)
    if task.is_classification:
        held = task.class_counts or np.bincount(scored.truth, minlength=len(task.classes)).tolist()
        counts = np.asarray(held, float) + 1e-9
        outputs = np.broadcast_to(counts / counts.sum(), (rows, len(counts)))
        answer = str(task.classes[int(counts.argmax())])
    else:
        outputs, answer = np.full(rows, task.mean, float), f"{task.mean:.4g}"
    found = scores(task, scored.truth, np.array(outputs)).get(task.metric, math.nan)
    return {"answer": answer, "score": found} if math.isfinite(found) else {}


def _again(folder: Path, fingerprint: str) -> Prepared:
    """Prepare the data of a run again."""
    from trainwell.values.runfolder import RunFolder

    source = RunFolder(folder).read_json("data")["source"]
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in source["options"].items()}
    prepared = prepare(source["data"], source.get("target"), own_model=False, loss=None, options=options)
    if prepared.fingerprint != fingerprint:
        raise RunError(f"{source['data']} is no longer the data of this run (its fingerprint differs).")
    return prepared


def _whole(scored: Scored) -> dict[str, Any]:
    low, high = interval(scored)
    found: dict[str, Any] = {"interval": [low, high] if math.isfinite(low) else None}
    if scored.task.is_classification:
        return found | {"confusion": confusion(scored), "calibration": calibration(scored)}
    return found | {"residuals": residuals(scored)}


def interval(scored: Scored) -> tuple[float, float]:
    """Return the 95 % interval of the primary metric; where it has no closed form by resampling rows (seeded)."""
    n, metric = len(scored.truth), scored.task.metric
    known = closed(scored.task, scored.truth, scored.outputs)
    if known is not None:
        return known
    if n > MAX_ROWS:
        return math.nan, math.nan
    times = max(60, min(RESAMPLES, 2_000_000 // max(1, n)))
    return _resampled(
        n,
        lambda rows: scores(scored.task, scored.truth[rows], scored.outputs[rows]).get(metric, math.nan),
        times,
    )


def _resampled(n: int, measure: Any, times: int = RESAMPLES) -> tuple[float, float]:
    draws = np.random.default_rng(SEED)
    found = [measure(draws.integers(0, n, n)) for _ in range(times)]
    kept = [v for v in found if math.isfinite(v)]
    if len(kept) < times // 2:
        return math.nan, math.nan
    low, high = np.quantile(kept, (0.025, 0.975))
    return float(low), float(high)


def confusion(scored: Scored) -> dict[str, Any]:
    """Return the counts of truth against what was called, of the classes with most errors where there are many."""
    number = len(scored.task.classes)
    counts = np.zeros((number, number), np.int64)
    np.add.at(counts, (scored.truth, scored.called), 1)
    kept = np.arange(number)
    if number > SHOWN_CLASSES:
        wrong = counts.sum(0) + counts.sum(1) - 2 * np.diag(counts)
        kept = np.sort(np.argsort(-wrong, kind="stable")[:SHOWN_CLASSES])
    names = [str(scored.task.classes[i]) for i in kept]
    return {"classes": names, "counts": counts[np.ix_(kept, kept)].tolist(), "left_out": number - len(kept)}


def calibration(scored: Scored) -> list[dict[str, float]]:
    """Return bins of equal size: how sure the network was, and how often it was right."""
    sure, right = scored.outputs.max(1), scored.right
    order = np.argsort(sure, kind="stable")
    bins = []
    for rows in np.array_split(order, min(BINS, max(1, len(order) // 20))):
        if len(rows):
            low, high = wilson(int(right[rows].sum()), len(rows))
            about = {"confidence": float(sure[rows].mean()), "right": float(right[rows].mean())}
            bins.append({**about, "low": low, "high": high, "rows": len(rows)})
    return bins


def residuals(scored: Scored) -> dict[str, Any]:
    """Return predictions and residuals of rows drawn at random, and the quantiles over all rows."""
    rest = scored.truth - scored.outputs
    rows = np.random.default_rng(SEED).permutation(len(rest))[:DRAWN]
    shares = {"1 %": 0.01, "10 %": 0.1, "median": 0.5, "90 %": 0.9, "99 %": 0.99}
    told = {name: float(np.quantile(rest, share)) for name, share in shares.items()}
    predicted, residual = ([float(f"{v:.5g}") for v in values[rows]] for values in (scored.outputs, rest))
    return {"predicted": predicted, "residual": residual, "quantiles": told}


# ---------------------------------------------------------------------- parts of the table


def _parts(scored: Scored, frame: pd.DataFrame | None) -> dict[str, Any]:
    if frame is None:
        return {}
    good = (
        scored.right.astype(float) if scored.task.is_classification else np.abs(scored.truth - scored.outputs)
    )
    measure = "accuracy" if scored.task.is_classification else "mae"
    return {
        "slice_measure": measure,
        "slice_whole": float(good.mean()),
        "slices": worse_slices(good, frame, measure),
    }


def worse_slices(values: Array, frame: pd.DataFrame, measure: str) -> list[dict[str, Any]]:
    """Return the values of single columns whose rows do worse than the rest, beyond noise.

    Welch's z of each part against the rest; those that Holm's correction keeps at 5 % are returned, the worst first.

    Source: Holm 1979 for the correction.
    """
    sign = -1.0 if measure == "accuracy" else 1.0
    found: list[tuple[float, dict[str, Any]]] = []
    looked = 0
    for name, inside in _slices(frame):
        n = int(inside.sum())
        if n < SMALLEST_SLICE or len(values) - n < SMALLEST_SLICE:
            continue
        looked += 1
        here, rest = values[inside], values[~inside]
        error = math.sqrt(here.var() / n + rest.var() / len(rest)) or 1e-12
        z = sign * (here.mean() - rest.mean()) / error
        half = Z95 * float(here.std()) / math.sqrt(n)
        mean = float(here.mean())
        low, high = wilson(int(here.sum()), n) if measure == "accuracy" else (mean - half, mean + half)
        found.append((math.erfc(z / math.sqrt(2)) / 2, {
            "slice": name, "rows": n, "value": mean, "rest": float(rest.mean()), "low": low, "high": high,
        }))  # fmt: skip
    found.sort(key=lambda item: item[0])
    kept = []
    for rank, (p, part) in enumerate(found):
        if p > ALPHA / (looked - rank):
            break
        kept.append(part)
    return sorted(kept, key=lambda part: sign * (part["rest"] - part["value"]))[:SHOWN_SLICES]


def _slices(frame: pd.DataFrame) -> Iterator[tuple[str, Array]]:
    """Yield the parts of a table that one column makes: each category, each fifth of a number, what is missing."""
    for column in frame.columns:
        cells = frame[column]
        missing = cells.isna().to_numpy()
        if missing.any():
            yield f"{column} is {_gap(cells)}", missing
        if hasattr(cells.dtype, "categories"):
            codes = cells.cat.codes.to_numpy()
            for code, label in enumerate(cells.cat.categories[:200]):
                yield f"{column} = {label}", codes == code
            continue
        numbers = cells.to_numpy(dtype=float, na_value=np.nan)
        if not (~missing).any():
            continue
        edges = np.unique(np.nanquantile(numbers, np.linspace(0, 1, 6)))
        for low, high in itertools.pairwise(edges):
            last = high == edges[-1]
            inside = (numbers >= low) & ((numbers <= high) if last else (numbers < high))
            yield f"{column} {low:.4g} to {high:.4g}", inside


def worst(scored: Scored, frame: pd.DataFrame | None, places: Array) -> list[dict[str, Any]]:
    """Return the rows with the largest errors, with their place in the source and a few features."""
    order = np.argsort(-scored.error, kind="stable")[:WORST]
    task, rows = scored.task, []
    for i in order:
        truth, called = scored.truth[i], scored.called[i]
        if task.is_classification:
            shown = {"truth": str(task.classes[int(truth)]), "prediction": str(task.classes[int(called)])}
            measure, error = "probability of the truth", float(scored.outputs[i, int(truth)])
        else:
            shown = {"truth": float(truth), "prediction": float(called)}  # type: ignore[dict-item]
            measure, error = "error", float(scored.error[i])
        features = {} if frame is None else _features(frame, int(i))
        rows.append(
            {"row": int(places[i]), **shown, "error": error, "measure": measure, "features": features}
        )
    return rows


def _features(frame: pd.DataFrame, row: int) -> dict[str, Any]:
    return {
        str(name): _plain(frame[name].iloc[row], _gap(frame[name])) for name in frame.columns[:SHOWN_FEATURES]
    }


def _gap(column: pd.Series) -> str:
    """Return what an empty cell is: categories that the training part does not have are empty here as well."""
    return "missing or new" if hasattr(column.dtype, "categories") else "missing"


def _plain(value: Any, gap: str) -> float | str:
    if not isinstance(value, int | float | np.number):
        return str(value) if isinstance(value, str) else gap
    return float(value) if math.isfinite(value) else gap
