"""The techniques in use, with their doses and sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainwell.report import words
from trainwell.report.blocks import Block, Grid
from trainwell.report.saved import Saved
from trainwell.report.section import Section


class Techniques(Section):
    name, title, place = "techniques", "Techniques in use", 55

    def blocks(self, saved: Saved) -> Sequence[Block]:
        recipe = saved.part("recipe")
        if not recipe:
            return []
        rows = [_row(saved, t) for t in _all(recipe)]
        fields = [
            (k.replace("_", " "), words.number(recipe.get(k)))
            for k in ("lr", "batch_size", "epochs", "seconds", "monitor")
        ]
        model = recipe.get("model") or {}
        params = ", ".join(f"{k}={_short(v)}" for k, v in model.items() if k != "family")
        return [
            Grid(("technique", "dose", "what it does", "acts at", "source"), rows),
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
    return name, dose or "-", str(known.get("summary", "")), sites, str(known.get("source", ""))


def _short(value: Any) -> str:
    return (
        str(list(value))
        if isinstance(value, list | tuple)
        else words.number(value)
        if words.is_number(value)
        else str(value)
    )
