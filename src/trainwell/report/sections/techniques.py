"""The techniques in use, with their doses and sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainwell.report import words
from trainwell.report.blocks import Block, Grid, Ticked
from trainwell.report.saved import Saved
from trainwell.report.section import Section
from trainwell.report.sections.trials import comparisons, evidence_of, gain

HEAD = ("technique", "dose", "what it does", "acts at", "source", "effect in trials on these data")


class Techniques(Section):
    name, title, place = "techniques", "Techniques in use", 55

    def blocks(self, saved: Saved) -> Sequence[Block]:
        recipe = saved.part("recipe")
        if not recipe:
            return []
        rows = [[*_row(saved, t), _effect(saved, t)] for t in _all(recipe)]
        fields = [
            (k.replace("_", " "), words.number(recipe.get(k)))
            for k in ("lr", "batch_size", "epochs", "seconds", "monitor")
        ]
        model = recipe.get("model") or {}
        params = ", ".join(f"{k}={_short(v)}" for k, v in model.items() if k != "family")
        return [
            Grid(
                HEAD if any(row[-1] for row in rows) else HEAD[:-1],
                [[v or "-" for v in row[: width(rows)]] for row in rows],
            ),
            Grid(("", ""), [("model", f"{model.get('family')} {f'({params})' if params else ''}"), *fields]),
        ]


def _all(recipe: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for role in ("optimizer", "schedule"):
        if isinstance(recipe.get(role), Mapping):
            yield recipe[role]
    yield from recipe.get("techniques") or ()


def _row(saved: Saved, technique: Mapping[str, Any]) -> tuple[str, ...]:
    name = str(technique.get("name"))
    known = saved.catalogue.get(name, {})
    sites = ", ".join(known.get("sites") or ()) or str(known.get("role", ""))
    dose = words.dose_words(dict(technique))
    return name, dose or "-", Ticked(known.get("summary", "")), sites, str(known.get("source", ""))


def width(rows: Sequence[Sequence[str]]) -> int:
    """Return how many columns are shown: the last only where a trial has measured something."""
    return len(HEAD) - (not any(row[-1] for row in rows))


def _effect(saved: Saved, technique: Mapping[str, Any]) -> str:
    """Return what trials on these data have shown of a technique: effect, interval, verdict; empty for none."""
    name, told = str(technique.get("name")), []
    metric = str(evidence_of(saved).get("metric", ""))
    for c, of in [
        *((c, metric) for c in comparisons(saved)),
        *((c, str(c.get("metric", ""))) for c in saved.evidence),
    ]:
        change = str(c.get("name"))
        if change.lstrip("-").partition(":")[0] != name or not words.is_number(c.get("effect")):
            continue
        bounds = f" ({gain(c['low'], of)} to {gain(c['high'], of)})" if words.is_number(c.get("low")) else ""
        told.append(f"{change}: {gain(c['effect'], of)}{bounds}, {c.get('verdict')}")
    return "\n".join(dict.fromkeys(told))


def _short(value: Any) -> str:
    return (
        str(list(value))
        if isinstance(value, list | tuple)
        else words.number(value)
        if words.is_number(value)
        else str(value)
    )
