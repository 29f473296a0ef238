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
        evidence, found = evidence_of(saved), comparisons(saved)
        if not found:
            return []
        metric = str(evidence.get("metric", ""))
        return [
            *_treatment(saved.part("treatment"), metric),
            *_verdicts(evidence, found),
            *_lost(found),
            _forest(found, metric),
            _seeds(evidence, found, metric),
            *_claims(found),
            *_costs(found),
            *_confirmed(found, metric),
        ]


def evidence_of(saved: Saved) -> Mapping[str, Any]:
    """Return what a trial has shown: its own, or that of the treatment that the run came from."""
    return saved.part("evidence") or saved.part("treatment").get("evidence") or {}


def comparisons(saved: Saved) -> list[Mapping[str, Any]]:
    """Return what was compared with the base of the trial, one entry per change."""
    found = [c for c in evidence_of(saved).get("comparisons") or () if isinstance(c, Mapping)]
    return [{**c, "name": words.change(c.get("name"))} for c in found]


def gain(value: Any, metric: str) -> str:
    """Return a difference of scores: shares in points of per cent."""
    if not words.is_number(value):
        return "unbounded" if str(value).lstrip("+-") == "inf" else words.number(value)
    return f"{100 * value:+.2f} points" if metric in words.SHARES else f"{value:+.4g}"


def _treatment(treatment: Mapping[str, Any], metric: str) -> Iterator[Block]:
    """What a treatment set out from, and what came of it."""
    if not treatment:
        return
    yield Text(
        f"This run treats {treatment.get('of')}: {words.joined(list(map(str, treatment.get('findings') or ())))}. "
        "Each change below was tried against the untreated recipe; what was proved is in the recipe of this run."
    )
    before, after = treatment.get("before") or {}, treatment.get("after") or {}
    rows = [
        (part, words.score(before[part].get(metric), metric), words.score(after[part].get(metric), metric))
        for part in before
        if part in after
    ]
    if rows:
        yield Grid((words.metric_name(metric), "before", "after"), rows)


def _verdicts(evidence: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    for verdict in ("proved", "refuted", "undecided"):
        names = [str(c.get("name")) for c in found if c.get("verdict") == verdict]
        if names:
            yield Text(f"{words.capital(verdict)}: {words.joined(names, 12)}.", TONES.get(verdict, ""))
    alpha: Any = evidence.get("alpha")
    error = (
        f" A change that does nothing is called proved in at most {100 * alpha / 2:.3g} % of such trials."
        if words.is_number(alpha)
        else ""
    )
    split = (
        "each seed with its own validation rows"
        if evidence.get("split") == "redrawn"
        else "all on the same split"
    )
    yield Text(
        f"{len(evidence.get('seeds') or ())} seeds of at most {evidence.get('planned')}, {split}; "
        f"{evidence.get('stopped')}.{error}"
    )


def _lost(found: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    """Yield how many runs of each arm diverged, which the picture of the gains cannot show."""
    arms = {"the base": found[0].get("base") or ()} | {str(c["name"]): c.get("change") or () for c in found}
    lost = {name: (sum(not words.is_number(v) for v in scores), len(scores)) for name, scores in arms.items()}
    some = [f"{count} of {runs} of {name}" for name, (count, runs) in lost.items() if count]
    if not some:
        return
    told = words.joined(some, 12)
    unbounded = [str(c.get("name")) for c in found if not words.is_number(c.get("effect"))]
    hidden = (
        f" The gain of {words.joined(unbounded, 12)} has no number, and is not in the picture."
        if unbounded
        else ""
    )
    yield Text(f"Runs that diverged: {told}. They count as worse than any other.{hidden}", "warning")


def _forest(found: Sequence[Mapping[str, Any]], metric: str) -> Block:
    items, rows = [], []
    for c in sorted(found, key=lambda c: -_finite(c.get("effect"))):
        low, mid, high = (words.is_number(c.get(k)) for k in ("low", "effect", "high"))
        if mid:
            about = {
                "low": c["low"] if low else None,
                "mid": c["effect"],
                "high": c["high"] if high else None,
                "tone": TONES.get(str(c.get("verdict")), ""),
            }
            items.append({"name": str(c.get("name")), "note": str(c.get("verdict")), **about})
        bounds = f"{gain(c.get('low'), metric)} to {gain(c.get('high'), metric)}"
        bounds = "none: judged by ranks" if "unbounded" in bounds else bounds
        p_value = words.number(c.get("adjusted"), 2)
        rows.append(
            (str(c.get("name")), gain(c.get("effect"), metric), bounds, p_value, str(c.get("verdict")))
        )
    label = f"gain in {words.metric_name(metric)}"
    note = (
        "Mean gain over the seeds, paired, with an interval that stays valid whenever the trial stopped. Right of the "
        "line the change is better."
    )
    head = ("change", "gain", "interval", "p, corrected", "verdict")
    if not items:
        return Grid(head, rows)
    numbers = Grid(head, rows, "Numbers")
    return Chart(
        "intervals", "Effect of each change",
        {"items": items, "label": label, "zero": 0, "percent": metric in words.SHARES}, note, numbers,
    )  # fmt: skip


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
            _ratio(cost.get("step_ratio")),
            _ratio(cost.get("memory_ratio")),
        )
        for c in found
        if (cost := c.get("cost"))
    ]
    if rows:
        yield Heading("What the changes cost")
        yield Grid(("change", "time of a step", "memory"), rows)


def _ratio(value: Any) -> str:
    """Return a cost against that of the base."""
    if not words.is_number(value):
        return "-"
    return "the same" if abs(value - 1) < 0.005 else f"{100 * (value - 1):+.1f} %"


def _confirmed(found: Sequence[Mapping[str, Any]], metric: str) -> Iterator[Block]:
    items = []
    for c in sorted(found, key=lambda c: -_finite(c.get("effect"))):
        seen = c.get("confirmation") or {}
        if all(words.is_number(seen.get(k)) for k in ("low", "effect", "high")):
            items.append(
                {
                    "name": str(c.get("name")),
                    "low": seen["low"],
                    "mid": seen["effect"],
                    "high": seen["high"],
                    "tone": TONES.get(str(c.get("verdict")), ""),
                }
            )
    if items:
        note = "The same comparison on rows that no decision has seen."
        label = f"gain in {words.metric_name(metric)}"
        data = {"items": items, "label": label, "zero": 0, "percent": metric in words.SHARES}
        yield Chart("intervals", "Effect on the test part, looked at once", data, note)
