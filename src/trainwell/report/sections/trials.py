"""Changes of the recipe that were tried in paired trials: forest plot, seeds, claims, costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainwell.report import words
from trainwell.report.blocks import Block, Chart, Grid, Heading, Text
from trainwell.report.saved import Saved
from trainwell.report.section import Section

TONES = {"proved": "good", "refuted": "critical"}


class Trials(Section):
    name, title, place = "trials", "Trials", 15

    def blocks(self, saved: Saved) -> Sequence[Block]:
        evidence = saved.part("evidence") or saved.part("treatment").get("evidence") or {}
        found = [c for c in evidence.get("comparisons") or () if isinstance(c, Mapping)]
        if not found:
            return []
        metric = str(evidence.get("metric", ""))
        return [
            *_verdicts(evidence, found),
            _forest(found, metric),
            _seeds(evidence, found, metric),
            *_claims(found),
            *_costs(found),
        ]


def _verdicts(evidence: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    for verdict in ("proved", "refuted", "undecided"):
        names = [str(c.get("name")) for c in found if c.get("verdict") == verdict]
        if names:
            yield Text(f"{words.capital(verdict)}: {words.joined(names, 12)}.", TONES.get(verdict, ""))
    split = (
        "each seed with its own validation rows"
        if evidence.get("split") == "redrawn"
        else "all on the same split"
    )
    yield Text(
        f"{len(evidence.get('seeds') or ())} seeds of at most {evidence.get('planned')}, {split}; "
        f"{evidence.get('stopped')}. Error of the whole trial {words.number(evidence.get('alpha'))}."
    )


def _forest(found: Sequence[Mapping[str, Any]], metric: str) -> Chart:
    items, rows = [], []
    for c in sorted(found, key=lambda c: -_finite(c.get("effect"))):
        low, mid, high = (words.is_number(c.get(k)) for k in ("low", "effect", "high"))
        if low and mid and high:
            about = {
                "low": c["low"],
                "mid": c["effect"],
                "high": c["high"],
                "tone": TONES.get(str(c.get("verdict")), ""),
            }
            items.append({"name": str(c.get("name")), "note": str(c.get("verdict")), **about})
        bounds = f"{words.number(c.get('low'))} to {words.number(c.get('high'))}"
        p_value = words.number(c.get("adjusted"), 2)
        rows.append(
            (str(c.get("name")), words.number(c.get("effect")), bounds, p_value, str(c.get("verdict")))
        )
    label = f"gain in {words.metric_name(metric)}"
    note = (
        "Mean gain over the seeds, paired, with an interval that stays valid whenever the trial stopped. Right of the "
        "line the change is better."
    )
    numbers = Grid(("change", "gain", "interval", "p, corrected", "verdict"), rows, "Numbers")
    return Chart(
        "intervals", "Effect of each change", {"items": items, "label": label, "zero": 0}, note, numbers
    )


def _finite(value: Any) -> float:
    return float(value) if words.is_number(value) else -1e300


def _seeds(evidence: Mapping[str, Any], found: Sequence[Mapping[str, Any]], metric: str) -> Grid:
    seeds = [str(s) for s in evidence.get("seeds") or ()]
    rows = [("base", *(words.score(v, metric) for v in found[0].get("base") or ()))]
    rows += [(str(c.get("name")), *(words.score(v, metric) for v in c.get("change") or ())) for c in found]
    width = max(len(row) for row in rows)
    head = ("recipe", *(f"seed {s}" for s in seeds), *[""] * width)[:width]
    return Grid(head, [(*row, *["-"] * (width - len(row))) for row in rows], "The score of every seed")


def _claims(found: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    moved = {"-": "falls", "+": "rises"}
    rows = [
        (str(c.get("name")), f"{claim.get('signal')} {moved.get(str(claim.get('sign')), '')}", str(claim.get("verdict")),
         words.number(claim.get("effect")), f"{words.number(claim.get('low'))} to {words.number(claim.get('high'))}")
        for c in found
        for claim in c.get("claims") or ()
        if claim.get("verdict") != "not measured"
    ]  # fmt: skip
    if rows:
        yield Heading("What the techniques were said to do")
        yield Grid(("change", "claim", "verdict", "moved by", "interval"), rows)


def _costs(found: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    rows = [
        (
            str(c.get("name")),
            f"{words.number(cost.get('step_ratio'), 3)} times",
            f"{words.number(cost.get('memory_ratio'), 3)} times",
        )
        for c in found
        if (cost := c.get("cost"))
    ]
    if rows:
        yield Heading("What the changes cost")
        yield Grid(("change", "time of a step", "memory of weights and states"), rows)
    yield from _confirmed(found)


def _confirmed(found: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    items = []
    for c in found:
        seen = c.get("confirmation") or {}
        if all(words.is_number(seen.get(k)) for k in ("low", "effect", "high")):
            items.append(
                {"name": str(c.get("name")), "low": seen["low"], "mid": seen["effect"], "high": seen["high"]}
            )
    if items:
        note = "The same comparison on rows that no decision has seen."
        data = {"items": items, "label": "gain", "zero": 0}
        yield Chart("intervals", "Effect on the test part, looked at once", data, note)
