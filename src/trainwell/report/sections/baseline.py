"""The scores beside those of gradient boosting on the same split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainwell.report import words
from trainwell.report.blocks import Block, Chart, Grid, Text
from trainwell.report.saved import Saved
from trainwell.report.section import Section
from trainwell.report.sections.summary import PARTS, against_baseline, against_constant, constant, interval


class Baseline(Section):
    name, title, place = "baseline", "Scores, and the baseline", 50

    def blocks(self, saved: Saved) -> Sequence[Block]:
        results = saved.part("results")
        scores, base = results.get("scores") or {}, results.get("baseline") or {}
        rows = []
        for part, values in scores.items():
            for metric, value in values.items():
                theirs = (base.get(part) or {}).get(metric)
                rows.append(
                    (part, words.metric_name(metric), words.score(value, metric), words.score(theirs, metric))
                )
        if not rows:
            return []
        told = against_constant(saved) + against_baseline(saved)
        head = ("part", "metric", "this run", "boosting")
        shown = len(head) if base else len(head) - 1
        whose = "Boosting is scikit-learn's HistGradientBoosting with its defaults, fitted on the same rows."
        return [
            *([Text(told)] if told else []),
            *_picture(saved),
            Grid(head[:shown], [row[:shown] for row in rows]),
            *([Text(whose)] if base else []),
        ]


def _picture(saved: Saved) -> Iterator[Block]:
    bounds, score = interval(saved), saved.score
    if bounds is None or score is None:
        return
    items = [{"name": "this run", "low": bounds[0], "mid": score, "high": bounds[1]}]
    if saved.baseline is not None:
        items.append(
            {"name": "boosting", "low": saved.baseline, "mid": saved.baseline, "high": saved.baseline}
        )
    one = constant(saved)
    if one is not None:
        items.append({"name": f"always {one[0]}", "low": one[1], "mid": one[1], "high": one[1]})
    label = f"{words.metric_name(saved.metric)}, {PARTS[saved.scored_part]} part"
    data = {"items": items, "label": label, "percent": saved.metric in words.SHARES}
    yield Chart(
        "intervals",
        f"{words.capital(label)}",
        data,
        "The line is the 95 % interval of the run's score, from the spread over the rows.",
    )
