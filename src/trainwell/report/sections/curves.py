"""How loss and score went, where the best epoch lies, and where overfitting began."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from trainwell.report import words
from trainwell.report.blocks import Block, Chart, Grid, Text
from trainwell.report.saved import Saved
from trainwell.report.section import Section
from trainwell.report.thin import means, plain, thin
from trainwell.values.signal import Array

Z95 = 1.96
WORTH = 0.01
"""A rise of the validation loss of less than this share of it is not worth a word, however sure it is."""


class Curves(Section):
    name, title, place = "curves", "Learning curves", 20

    def blocks(self, saved: Saved) -> Sequence[Block]:
        return [*_losses(saved), *_scores(saved), *_of_steps(saved), *_rate(saved)]


def noise(saved: Saved) -> Array:
    """Return for each epoch the standard error of its validation loss less that of the best epoch, (T,); or nothing.

    Both are means over the same rows, so that what is hard in all epochs falls out.
    """
    trace = saved.watch.get("val_losses")
    if trace.values.ndim != 2 or len(trace) < 2 or trace.values.shape[1] < 8 or not saved.rows:
        return np.zeros(0)
    values, rows = trace.values, math.sqrt(trace.values.shape[1])
    best = int(np.argmin(values.mean(1)))
    with np.errstate(all="ignore"):
        errors = (values - values[best]).std(1) / rows
    # validations that were not kept lie between those that were
    return np.asarray(np.interp([r["step"] for r in saved.rows], trace.steps, errors))


def overfitting_began(saved: Saved) -> int:
    """Return the epoch from which the validation loss stays above its best by more than noise; 0 for none.

    Two epochs must show it, and the training loss must have fallen meanwhile: else the network got worse altogether.
    """
    errors, rows = noise(saved), saved.rows
    losses = np.array([r["val_loss"] if words.is_number(r.get("val_loss")) else math.nan for r in rows])
    if not errors.size or not np.isfinite(losses).any():
        return 0
    best, began = int(np.nanargmin(losses)), 0
    for i in range(len(rows) - 1, best, -1):
        if not losses[i] - losses[best] > Z95 * errors[i]:
            break
        began = int(rows[i]["epoch"])
    if began and losses[-1] - losses[best] < WORTH * abs(losses[best]):
        return 0
    falls = [r["train_loss"] if words.is_number(r.get("train_loss")) else math.nan for r in rows]
    return began if began and began < rows[-1]["epoch"] and not falls[-1] >= falls[best] else 0


def _losses(saved: Saved) -> Iterator[Block]:
    rows = saved.rows
    if not rows:
        return
    epochs = [r["epoch"] for r in rows]
    series: list[dict[str, Any]] = []
    per_epoch = _steps_per_epoch(saved)
    if len(saved.losses) > 1 and per_epoch:
        at, smooth = means(np.arange(1, len(saved.losses) + 1), saved.losses, 150)
        series.append(
            {"name": "training, steps", "x": plain(at / per_epoch), "y": plain(smooth), "faint": True}
        )
    series.append({"name": "training", "x": epochs, "y": plain(r.get("train_loss") for r in rows)})
    validated = any(words.is_number(r.get("val_loss")) for r in rows)
    if validated:
        series.append({"name": "validation", "x": epochs, "y": plain(r.get("val_loss") for r in rows)})
    began = overfitting_began(saved)
    data = {
        "series": series, "x": "epoch", "y": "loss", "marks": _marks(saved, began), "bands": _band(saved), "fit": True,
        "log": is_wide(series[-1:]),  # rows learned by heart would hide what becomes of the others
    }  # fmt: skip
    yield Chart("lines", "Loss by epoch", data, _how_to_read(saved, began), _numbers(saved))
    if began:
        yield Text(
            f"From epoch {began} on overfitting is beyond doubt: the validation loss stays above its best by more than "
            "the noise of its rows. The weights that were kept are from before.", "warning",
        )  # fmt: skip


def is_wide(series: Sequence[dict[str, Any]], factor: float = 100) -> bool:
    """Whether the values span so much that only a logarithmic axis shows them."""
    values = [v for s in series for v in s["y"] if v is not None]
    return bool(values) and min(values) > 0 and max(values) > factor * min(values)


def _steps_per_epoch(saved: Saved) -> float:
    first = saved.rows[0] if saved.rows else {}
    return float(first["step"]) / float(first["epoch"]) if first.get("epoch") else 0.0


def _marks(saved: Saved, began: int) -> list[dict[str, Any]]:
    marks = [{"x": saved.best_epoch, "label": "best epoch"}] if saved.best_epoch else []
    return marks + ([{"x": began, "label": "beyond doubt", "tone": "warning"}] if began else [])


def _band(saved: Saved) -> list[dict[str, Any]]:
    errors = noise(saved)
    kept = [(r, e) for r, e in zip(saved.rows, errors, strict=False) if words.is_number(r.get("val_loss"))]
    if not kept:
        return []
    low = plain(r["val_loss"] - Z95 * e for r, e in kept)
    high = plain(r["val_loss"] + Z95 * e for r, e in kept)
    return [{"x": [r["epoch"] for r, _ in kept], "low": low, "high": high, "series": "validation"}]


def _how_to_read(saved: Saved, began: int) -> str:
    if not noise(saved).size:
        return ""
    return (
        "The band is the 95 % noise of the difference from the best epoch, over the validation rows: epochs whose "
        "bands reach the best cannot be told from it." + ("" if began else " No overfitting beyond noise.")
    )


def _numbers(saved: Saved) -> Grid:
    keys = [
        k
        for k in ("train_loss", "val_loss", "val_metric")
        if any(words.is_number(r.get(k)) for r in saved.rows)
    ]
    step = max(1, len(saved.rows) // 100)
    rows = [
        (
            r["epoch"],
            *(words.number(r.get(k)) for k in keys),
            "best" if r["epoch"] == saved.best_epoch else "",
        )
        for i, r in enumerate(saved.rows)
        if i % step == 0 or r["epoch"] == saved.best_epoch or i == len(saved.rows) - 1
    ]
    return Grid(("epoch", *(k.replace("_", " ") for k in keys), ""), rows, "Numbers")


def _scores(saved: Saved) -> Iterator[Block]:
    rows = [r for r in saved.rows if words.is_number(r.get("val_metric"))]
    if len(rows) < 2 or not saved.metric:
        return
    name = words.metric_name(saved.metric)
    data: dict[str, Any] = {
        "series": [{"name": "validation", "x": [r["epoch"] for r in rows], "y": plain(r["val_metric"] for r in rows)}],
        "x": "epoch", "y": name, "percent": saved.metric in words.SHARES, "marks": _marks(saved, 0), "levels": [],
        "fit": True,
    }  # fmt: skip
    base = ((saved.part("results").get("baseline") or {}).get("val") or {}).get(saved.metric)
    if words.is_number(base):
        data["levels"] = [{"y": base, "label": "boosting"}]
    yield Chart("lines", f"Validation {name} by epoch", data)


def _of_steps(saved: Saved) -> Iterator[Block]:
    """The loss of every step, where there are no epochs: a watched script."""
    trace = saved.watch.get("train_loss")
    if saved.rows or len(trace) < 2:
        return
    x, y = thin(trace.steps, trace.values)
    series = [{"name": "training", "x": plain(x), "y": plain(y)}]
    val = saved.watch.get("val_loss")
    if len(val):
        series.append({"name": "validation", "x": plain(val.steps), "y": plain(val.values)})
    data = {"series": series, "x": "optimizer step", "y": "loss", "fit": True, "log": is_wide(series[-1:])}
    yield Chart("lines", "Loss by step", data)


def _rate(saved: Saved) -> Iterator[Block]:
    trace = saved.watch.get("lr")
    if len(trace) < 2 or not np.isfinite(trace.values).all():
        return
    x, y = thin(trace.steps, trace.values, 300)
    data = {
        "series": [{"name": "learning rate", "x": plain(x), "y": plain(y)}],
        "x": "optimizer step",
        "y": "learning rate",
        "low": True,
    }
    yield Chart("lines", "Learning rate by step", data)
