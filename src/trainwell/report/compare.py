"""Several runs side by side: what differs in their recipes, their scores, and their curves over one another."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainwell.report import words
from trainwell.report.blocks import Block, Chart, Grid, Text
from trainwell.report.page import page
from trainwell.report.saved import Saved, read_saved
from trainwell.report.sections.trials import gain
from trainwell.report.thin import plain
from trainwell.values.errors import UsageError
from trainwell.values.finding import title_of

# the 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom
T975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Pairing:
    """The difference of two recipes over the seeds that both were trained with, on the same data.

    Args:
        first, second: names of the recipes.
        seeds: those that both have.
        differences: score of the second less that of the first, a positive number where the second is better.
        metric: of the scores.
    """

    first: str
    second: str
    seeds: tuple[int, ...]
    differences: tuple[float, ...]
    metric: str = ""

    @property
    def mean(self) -> float:
        return sum(self.differences) / len(self.differences)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean by Student's t; None for fewer than two seeds."""
        n = len(self.differences)
        if n < 2:
            return None
        spread = math.sqrt(sum((d - self.mean) ** 2 for d in self.differences) / (n - 1) / n)
        half = (T975[n - 2] if n - 2 < len(T975) else 1.96) * spread
        return self.mean - half, self.mean + half

    def to_dict(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "mean": self.mean, "interval": self.interval}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Runs that are held against one another."""

    runs: Sequence[Saved]

    @property
    def metric(self) -> str:
        """The metric that all have; empty where they differ."""
        found = {run.metric for run in self.runs}
        return found.pop() if len(found) == 1 else ""

    @property
    def caution(self) -> str:
        """Why the scores may not be held against one another; empty where they may."""
        unknown = [n for n, run in zip(names(self.runs), self.runs, strict=True) if not run.part("data")]
        if unknown:
            said = (
                f"What {words.joined(unknown, 6)} learned is not known, for data.json is missing or damaged"
            )
            return f"{said}: only the recipes can be compared."
        aims = {(run.metric, str(run.task.get("kind", ""))) for run in self.runs}
        if len(aims) > 1:
            what = [f"{name} {_aim(run)}" for name, run in zip(names(self.runs), self.runs, strict=True)]
            return f"These runs learned different things ({words.joined(what, 6)}): only their recipes can be compared."
        same: dict[str, list[str]] = {}
        for name, run in zip(names(self.runs), self.runs, strict=True):
            same.setdefault(str(run.part("data").get("fingerprint")), []).append(name)
        if len(same) < 2:
            return ""
        shared = [words.joined(group, 4) for group in same.values() if len(group) > 1]
        but = f", except among {'; among '.join(shared)}" if shared else ""
        return f"These runs are not on the same data and split: their scores are not comparable{but}."

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as `--json` prints them."""
        return {
            "metric": self.metric,
            "caution": self.caution,
            "runs": [_about(run) for run in self.runs],
            "differences": differences(self.runs),
            "pairs": [p.to_dict() for p in pairings(self.runs)],
        }


def read_comparison(paths: Sequence[Path]) -> Comparison:
    """Read the runs to compare.

    Raises:
        UsageError: there are fewer than two, or one is a trial or a study.
    """
    if len(set(paths)) < 2:
        raise UsageError("compare needs two different runs or more, e.g. `trainwell compare runs/a runs/b`.")
    for path in paths:
        for kind, file in (("trial", "trial.json"), ("study", "study.jsonl")):
            if (path / file).is_file():
                raise UsageError(
                    f"{path} is a {kind}, and no run: see `trainwell report {shlex.quote(str(path))}`."
                )
    return Comparison([read_saved(path) for path in paths])


def _aim(run: Saved) -> str:
    return (
        " by ".join(filter(None, (run.task.get("kind"), words.metric_name(run.metric))))
        or "a loss of your own"
    )


def _about(run: Saved) -> dict[str, Any]:
    return {
        "run": str(run.path), "metric": run.metric, "part": run.scored_part, "score": run.score,
        "baseline": run.baseline, "best_epoch": run.best_epoch, "epochs": len(run.rows),
        "seconds": run.part("results").get("seconds"), "seed": run.part("data").get("seed"),
        "fingerprint": run.part("data").get("fingerprint"), "recipe_hash": run.part("results").get("recipe_hash"),
        "findings": [f["ailment"] for f in run.findings if f.get("severity") != "information"],
    }  # fmt: skip


def names(runs: Sequence[Saved]) -> list[str]:
    """Return a name for each run: its folder, numbered where two are called alike."""
    plain_names = [run.path.name for run in runs]
    return [f"{n} ({i})" if plain_names.count(n) > 1 else n for i, n in enumerate(plain_names, 1)]


def differences(runs: Sequence[Saved]) -> dict[str, list[Any]]:
    """Return what is not the same in all recipes, by the path of the field, in the order of the runs."""
    flat = [dict(_flat(run.part("recipe"))) for run in runs]
    keys = dict.fromkeys(key for one in flat for key in one)
    found = {key: [one.get(key) for one in flat] for key in keys}
    return {k: v for k, v in found.items() if any(value != v[0] for value in v)}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif path == "techniques" and isinstance(value, list):
        for one in value:
            yield str(one.get("name")), words.dose_words(one) or "on"
    else:
        yield path, value


def pairings(runs: Sequence[Saved]) -> list[Pairing]:
    """Return for every recipe after the first its difference from the first, over the seeds that pair.

    Runs pair that have the same data, split and seed.
    """
    by_recipe: dict[str, dict[tuple[str, int], Saved]] = {}
    for run in runs:
        if run.score is None or not run.metric:
            continue
        key = str(run.part("results").get("recipe_hash") or json.dumps(run.part("recipe"), sort_keys=True))
        place = (str(run.part("data").get("fingerprint")), int(run.part("data").get("seed", 0)))
        by_recipe.setdefault(key, {})[place] = run
    arms = list(by_recipe.values())
    made = []
    for arm in arms[1:]:
        both = [place for place in arms[0] if place in arm and arms[0][place].metric == arm[place].metric]
        if both:
            gains = [_gain(arms[0][place], arm[place]) for place in both]
            metric = arm[both[0]].metric
            first, second = (next(iter(a.values())).path.name for a in (arms[0], arm))
            made.append(Pairing(first, second, tuple(seed for _, seed in both), tuple(gains), metric))
    return made


def _gain(first: Saved, second: Saved) -> float:
    assert first.score is not None and second.score is not None
    return (second.score - first.score) * first.sign


def lines(found: Comparison) -> Iterator[str]:
    """Yield the comparison as aligned lines."""
    head = ["run", found.metric or "score", "part", "boosting", "best epoch", "time", "findings"]
    rows = [head, *map(list, _rows(found))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for row in rows:
        yield "  ".join(f"{c:{w}}" for c, w in zip(row, widths, strict=True)).rstrip()
    if found.caution:
        yield f"caution   {found.caution}"
    for field, values in differences(found.runs).items():
        yield f"differs   {field}: {' | '.join(map(_setting, values))}"
    for pair in pairings(found.runs):
        yield f"paired    {told(pair)}"


def _setting(value: Any) -> str:
    return words.number(value, 6) if words.is_number(value) else "-" if value is None else str(value)


def told(pair: Pairing) -> str:
    """Return a pairing as a sentence."""
    seeds, bounds = len(pair.seeds), pair.interval
    whose = f"the recipe of {pair.second} against that of {pair.first}"
    if bounds is None:
        return f"{whose}: {gain(pair.mean, pair.metric)} on one seed; one pair tells no interval."
    verdict = "better" if bounds[0] > 0 else "worse" if bounds[1] < 0 else "not told apart"
    return (
        f"{whose}: {gain(pair.mean, pair.metric)} on {seeds} paired seeds (95 % interval "
        f"{gain(bounds[0], pair.metric)} to {gain(bounds[1], pair.metric)}; above 0 is better): {verdict}."
    )


def _forest(pairs: Sequence[Pairing], metric: str) -> Iterator[Chart]:
    """Yield the differences as a picture, where there are intervals."""
    items = []
    for pair in pairs:
        bounds = pair.interval
        if bounds is not None:
            tone = "good" if bounds[0] > 0 else "critical" if bounds[1] < 0 else ""
            name = f"{pair.second} against {pair.first}"
            items.append({"name": name, "low": bounds[0], "mid": pair.mean, "high": bounds[1], "tone": tone})
    if items:
        data = {
            "items": items, "label": f"gain in {words.metric_name(metric)}", "zero": 0,
            "percent": metric in words.SHARES,
        }  # fmt: skip
        note = (
            "Mean difference over the seeds that pair, with its 95 % interval. Right of the line is better."
        )
        yield Chart("intervals", "Recipes against the first, paired by seed", data, note)


def _rows(found: Comparison) -> Iterator[tuple[str, ...]]:
    def unit(value: float | None, run: Saved) -> str:
        told = words.score(value, run.metric)
        return told if found.metric or value is None else f"{told} {words.metric_name(run.metric)}"

    for name, run in zip(names(found.runs), found.runs, strict=True):
        alarms = [title_of(f["ailment"]) for f in run.findings if f.get("severity") != "information"]
        yield (
            name, unit(run.score, run), run.scored_part or "-", unit(run.baseline, run),
            f"{run.best_epoch} of {len(run.rows)}", words.seconds(run.part("results").get("seconds")),
            words.joined(alarms, 3) if alarms else "none" if run.trainings else "not watched",
        )  # fmt: skip


def compare_html(found: Comparison) -> str:
    """Return the comparison as one HTML page."""
    head = (
        "run",
        words.metric_name(found.metric) if found.metric else "score",
        "part",
        "boosting",
        "best epoch",
        "time",
        "findings",
    )
    kept = [i for i in range(len(head)) if i != 3 or any(run.baseline is not None for run in found.runs)]
    table = [[row[i] for i in kept] for row in _rows(found)]
    scores: list[Block] = [Grid([head[i] for i in kept], table)]
    if found.caution:
        scores.insert(0, Text(found.caution, "warning"))
    pairs = pairings(found.runs)
    paired: list[Block] = [*(Text(words.capital(told(p))) for p in pairs), *_forest(pairs, found.metric)]
    changed = differences(found.runs)
    rows = [(k, *map(_setting, values)) for k, values in changed.items()]
    recipes: list[Block] = (
        [Grid(("field", *names(found.runs)), rows)] if rows else [Text("The recipes are the same.")]
    )
    sections: list[tuple[str, str, list[Block]]] = [
        ("scores", "Scores", [*scores, *paired]),
        ("curves", "Learning curves", list(curves(found.runs))),
        ("recipes", "What differs in the recipes", recipes),
    ]
    return page(
        f"{len(found.runs)} runs compared", [s for s in sections if s[2]], words.joined(names(found.runs), 8)
    )


def _colors(runs: Sequence[Saved]) -> list[int]:
    """Return a number per run: one for each recipe where recipes repeat, else one for each run."""
    hashes = [str(run.part("results").get("recipe_hash") or run.path) for run in runs]
    order = list(dict.fromkeys(hashes))
    return [order.index(h) for h in hashes]


def curves(runs: Sequence[Saved]) -> Iterator[Chart]:
    """Yield the curves of the runs over one another."""
    kinds = (
        ("val_metric", "Validation score by epoch"),
        ("val_loss", "Validation loss by epoch"),
        ("train_loss", "Training loss by epoch"),
    )
    if len({(run.metric, run.task.get("kind")) for run in runs}) > 1:
        return  # losses and scores of different tasks have no common axis
    for key, title in kinds:
        series = []
        colors = _colors(runs)
        for i, (name, run) in enumerate(zip(names(runs), runs, strict=True)):
            rows = [r for r in run.rows if words.is_number(r.get(key))]
            if rows:
                series.append(
                    {
                        "name": name,
                        "x": [r["epoch"] for r in rows],
                        "y": plain(r[key] for r in rows),
                        "color": colors[i],
                    }
                )
        if series:
            metric = runs[0].metric
            label = words.metric_name(metric) if key == "val_metric" and metric else key.replace("_", " ")
            percent = key == "val_metric" and metric in words.SHARES
            yield Chart(
                "lines", title, {"series": series, "x": "epoch", "y": label, "fit": True, "percent": percent}
            )
