"""A search over recipes: the four numbers of an honest winner, history, parallel coordinates, importance."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainwell.report import words
from trainwell.report.blocks import Block, Chart, Grid, Text, Tile, Tiles
from trainwell.report.saved import Saved
from trainwell.report.section import Section
from trainwell.report.sections.trials import gain
from trainwell.report.thin import plain

SHOWN_PARAMETERS, SHOWN_TRIALS = 8, 300
LOSSES = ("rmse", "mae", "log_loss", "val_loss")
"""Metrics of which less is better, so that a study's loss is the metric itself."""


class TuningSection(Section):
    name, title, place = "tuning", "Tuning", 16

    def blocks(self, saved: Saved) -> Sequence[Block]:
        tuning, trials = saved.part("tuning"), _trials(saved)
        found: list[Block] = []
        if tuning:
            found += [*_verdict(tuning), Tiles([*_numbers(tuning)]), *_flags(tuning)]
        found += [*_history(trials, _metric(tuning)), *_parallel(saved, trials, tuning), *_importance(tuning)]
        if tuning.get("config"):
            rows = [(str(k), words.number(v)) for k, v in tuning["config"].items()]
            found.append(Grid(("parameter of the winner", "value"), rows))
        return found


def _metric(tuning: Mapping[str, Any]) -> str:
    return str(tuning.get("metric", "val_loss"))


def _shown(loss: float, metric: str) -> float:
    return loss if metric in LOSSES else -loss


def _trials(saved: Saved) -> list[dict[str, Any]]:
    """Return the trials of a study in the order in which they were asked."""
    configs: dict[int, Mapping[str, Any]] = {}
    told: dict[int, dict[str, Any]] = {}
    for event in saved.study:
        if event.get("event") == "asked":
            configs |= {int(event["first"]) + i: c for i, c in enumerate(event.get("configs") or ())}
        elif event.get("event") == "told" and "number" in event:
            told[int(event["number"])] = dict(event)
    return [{"number": n, "config": configs[n], **told.get(n, {})} for n in sorted(configs)]


def keeps_default(tuning: Mapping[str, Any]) -> bool:
    """Return whether the winner is the default itself."""
    finalists: Sequence[Any] = tuning.get("finalists") or ()
    return bool(finalists) and finalists[0].get("config") == tuning.get("config")


def _verdict(tuning: Mapping[str, Any]) -> Iterator[Block]:
    metric, bounds = _metric(tuning), tuning.get("gain_interval") or (None, None)
    told = (
        f"{gain(tuning.get('gain_over_default'), metric)} (95 % interval {gain(bounds[0], metric)} to "
        f"{gain(bounds[1], metric)})"
    )
    if keeps_default(tuning):
        judged = len(tuning["finalists"]) - 1
        others = (
            "no other was judged" if not judged else f"none of the {judged} others that were judged is better"
        )
        others = "the other one that was judged is not better" if judged == 1 else others
        yield Text(f"The default is kept: {others} on fresh seeds and splits.")
    elif tuning.get("beats_default"):
        yield Text(f"The winner beats the default by {told}, on fresh seeds and splits.", "good")
    elif tuning.get("decided") is False:
        repeats = int(tuning.get("repeats") or 0)
        yield Text(
            f"Not decided: {repeats} fresh seeds and splits are too few for a claim. The gain is {told}."
        )
    else:
        yield Text(f"The default is not beaten for certain: the gain is {told} on fresh seeds and splits.")


def _numbers(tuning: Mapping[str, Any]) -> Iterator[Tile]:
    metric = _metric(tuning)
    low, high = tuning.get("confirmed_interval") or (None, None)
    between = f"{words.score(low, metric)} to {words.score(high, metric)}"
    optimism: Any = tuning.get("optimism")
    yield Tile("Best of the search", words.score(tuning.get("best_seen"), metric), "one seed, one split")
    yield Tile("Confirmed", words.score(tuning.get("confirmed"), metric), between)
    told = "nothing was confirmed"
    if words.is_number(optimism):
        told = (
            "by which the search flattered its best"
            if optimism > 0
            else "the search did not flatter its best"
        )
    yield Tile("Optimism", gain(optimism, metric), told)
    test = (tuning.get("test") or {}).get(metric)
    yield Tile("Test part", words.score(test, metric), "opened once")


def _flags(tuning: Mapping[str, Any]) -> Iterator[Block]:
    yield from (Text(str(flag), "warning") for flag in tuning.get("flags") or ())


def _history(trials: Sequence[Mapping[str, Any]], metric: str) -> Iterator[Block]:
    ended = [t for t in trials if words.is_number(t.get("value"))]
    if len(ended) < 2:
        return
    points, best, line = [], None, []
    for t in ended:
        y = _shown(float(t["value"]), metric)
        points.append(
            {"x": t["number"] + 1, "y": plain([y])[0], "name": f"trial {t['number']} ({t.get('state', '')})"}
        )
        if t.get("state") == "complete":
            best = y if best is None or (y < best) == (metric in LOSSES) else best
        if best is not None:
            line.append({"x": t["number"] + 1, "y": plain([best])[0]})
    data = {
        "points": points, "x": "trial", "y": words.metric_name(metric), "best": line,
        "percent_y": metric in words.SHARES,
    }  # fmt: skip
    counts = {
        s: sum(t.get("state") == s for t in trials) for s in ("complete", "stopped", "diverged", "error")
    }
    told = ", ".join(f"{n} {s}" for s, n in counts.items() if n)
    yield Chart(
        "points",
        "History of the search",
        data,
        f"The line is the best complete trial so far. Of {len(trials)} trials: {told}.",
    )


def _parallel(
    saved: Saved, trials: Sequence[Mapping[str, Any]], tuning: Mapping[str, Any]
) -> Iterator[Block]:
    space = next((e.get("space") or {} for e in saved.study if e.get("event") == "study"), {})
    metric = _metric(tuning)
    ended = [t for t in trials if words.is_number(t.get("value"))][-SHOWN_TRIALS:]
    order = {
        str(i.get("name", i.get("parameter"))): -float(_share(i)) for i in tuning.get("importance") or ()
    }
    names = [str(p["name"]) for p in space.get("parameters") or ()]
    kept = sorted(names, key=lambda n: order.get(n, 0.0))[:SHOWN_PARAMETERS]
    if len(ended) < 2 or len(kept) < 2:
        return
    dims = [_dimension(name, space["parameters"], ended) for name in kept]
    best = min(ended, key=lambda t: float(t["value"]))
    rows = []
    for t in ended:
        values = [_value(d, t["config"].get(d["name"])) for d in dims]
        shown = plain([_shown(float(t["value"]), metric)])[0]
        rows.append({"values": values, "score": shown, "best": t is best})
    data: dict[str, Any] = {"dims": dims, "trials": rows, "label": words.metric_name(metric)}
    note = (
        "One line a trial, through the values of its most important parameters; the thick line is the best."
    )
    cut = _cut([float(t["value"]) for t in ended])
    if cut is not None:
        data["domain"] = sorted((_shown(cut, metric), _shown(float(best["value"]), metric)))
        note += f" All that are worse than {words.score(_shown(cut, metric), metric)} have one colour."
    yield Chart("parallel", "Trials by their parameters", data, note)


def _dimension(
    name: str, parameters: Sequence[Mapping[str, Any]], trials: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    about = next(p for p in parameters if p["name"] == name)
    values = [t["config"].get(name) for t in trials]
    if about.get("options"):
        return {"name": name, "options": [str(o) for o in about["options"]]}
    off = about.get("off")
    numbers = [float(v) for v in values if words.is_number(v) and v != off]
    low, high = (min(numbers), max(numbers)) if numbers else (0.0, 1.0)
    found = {"name": name, "low": low, "high": high, "log": bool(about.get("log")) and low > 0}
    return found | ({"off": off} if off in values and numbers else {})


def _cut(losses: Sequence[float]) -> float | None:
    """Return the loss beyond which all are alike: else one bad trial leaves the others a single colour.

    None where no trial lies so far out.
    """
    least, middle, most = min(losses), statistics.median(losses), max(losses)
    cut = middle + 2 * (middle - least)
    return cut if least < cut < most else None


def _value(dimension: Mapping[str, Any], value: Any) -> Any:
    if "options" in dimension:
        return str(value) if str(value) in dimension["options"] else None
    return plain([value])[0] if words.is_number(value) else None


def _share(importance: Mapping[str, Any]) -> float:
    found = importance.get("share", importance.get("main", importance.get("value", 0.0)))
    return float(found) if words.is_number(found) else 0.0


def _importance(tuning: Mapping[str, Any]) -> Iterator[Block]:
    found = [
        (str(i.get("name", i.get("parameter"))), _share(i), _between(i))
        for i in tuning.get("importance") or ()
    ]
    items = [
        {"name": n, "value": plain([v], 3)[0], "text": f"{v:.0%}{between}"}
        for n, v, between in sorted(found, key=lambda x: -x[1])[:SHOWN_PARAMETERS]
        if v > 0
    ]
    if items:
        note = (
            "Share of the variance of the scores that goes when a parameter is fixed, in brackets its 90 % interval. "
            "Parameters that act together are counted in each, so the shares may add up to more than all."
        )
        yield Chart(
            "bars", "What mattered", {"items": items, "label": "share of the variance", "percent": True}, note
        )


def _between(importance: Mapping[str, Any]) -> str:
    low, high = importance.get("low"), importance.get("high")
    return f" ({low:.0%} to {high:.0%})" if words.is_number(low) and words.is_number(high) else ""
