"""Where the time went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from trainwell.report import words
from trainwell.report.blocks import Block, Chart, Grid
from trainwell.report.saved import Saved
from trainwell.report.section import Section
from trainwell.report.thin import plain


class Spent(Section):
    name, title, place = "time", "Where the time went", 70

    def blocks(self, saved: Saved) -> Sequence[Block]:
        return [*_totals(saved), *_by_epoch(saved)]


def where_time_went(saved: Saved) -> dict[str, float]:
    """Return the seconds by what they were spent on: training steps, waiting for data, validation, watching."""
    rows, watch = saved.rows, saved.watch
    wait, step = watch.get("wait_s").values, watch.get("step_s").values
    found: dict[str, float] = {}
    if rows:
        validation = words.total(r.get("validation_s") for r in rows)
        epochs = words.total(r.get("epoch_s") for r in rows)
        # an epoch's time holds its validation
        training = max(0.0, epochs - validation)
        found = {"training steps": training, "validation": validation}
    elif step.size:
        return _of_loop(saved)
    looked = min(watch.number("watch_s", 0.0), found.get("training steps", 0.0))
    if wait.size and step.size and found:
        share = float(np.nansum(wait) / max(1e-12, np.nansum(wait) + np.nansum(step)))
        data = share * (found["training steps"] - looked)
        found |= {"waiting for data": data, "training steps": found["training steps"] - data}
    if looked > 0:
        found |= {"watching": looked, "training steps": found["training steps"] - looked}
    return {k: v for k, v in found.items() if v > 0}


def _of_loop(saved: Saved) -> dict[str, float]:
    """Return the same of a loop that was only watched, of whose steps some were timed."""
    watch = saved.watch
    steps = watch.number("steps", 0.0) or float(watch.get("step_s").values.size)
    found = {
        name: float(np.nanmean(watch.get(signal).values)) * steps
        for name, signal in (("training steps", "step_s"), ("waiting for data", "wait_s"))
        if np.isfinite(watch.get(signal).values).any()
    }
    found["watching"] = watch.number("watch_s", 0.0)
    found["validation and the rest"] = watch.number("seconds", 0.0) - sum(found.values())
    return {k: v for k, v in found.items() if v > 0}


def _totals(saved: Saved) -> Iterator[Block]:
    found = where_time_went(saved)
    if not found:
        return
    whole = sum(found.values())
    ordered = sorted(found.items(), key=lambda item: -item[1])
    items = [
        {
            "name": name,
            "value": round(value, 4),
            "text": f"{words.seconds(value)} ({100 * value / whole:.0f} %)",
        }
        for name, value in ordered
    ]
    rows = [(name, words.seconds(value), f"{100 * value / whole:.1f} %") for name, value in ordered]
    yield Chart(
        "bars",
        "Seconds of the training",
        {"items": items, "label": "seconds"},
        "",
        Grid(("what", "time", "share"), rows, "Numbers"),
    )


def _by_epoch(saved: Saved) -> Iterator[Block]:
    rows = [r for r in saved.rows if words.is_number(r.get("epoch_s"))]
    if len(rows) < 3:
        return
    size = saved.part("data").get("provenance") or {}
    rows_in = ((size.get("parts") or {}).get("train") or {}).get("rows")
    x = [r["epoch"] for r in rows]
    if rows_in:
        speed = plain((rows_in / max(1e-9, r["epoch_s"] - (r.get("validation_s") or 0)) for r in rows), 4)
        data = {
            "series": [{"name": "speed", "x": x, "y": speed}],
            "x": "epoch",
            "y": "rows per second",
            "low": True,
        }
        yield Chart("lines", "Speed of the training by epoch", data)
    else:
        data = {
            "series": [{"name": "time", "x": x, "y": plain(r["epoch_s"] for r in rows)}],
            "x": "epoch",
            "y": "seconds",
            "low": True,
        }
        yield Chart("lines", "Time of an epoch", data)
