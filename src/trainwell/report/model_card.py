"""A model card: what a network is for, how well it does, and what was found, as Markdown beside the exported files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainwell.report import words
from trainwell.values.finding import title_of

CARD = "MODEL_CARD.md"


def model_card(about: Mapping[str, Any], findings: Sequence[str] = (), notes: Sequence[str] = ()) -> str:
    """Return the card of an exported network.

    Args:
        about: what `model.json` holds: recipe, task, scores, baseline, seed, fingerprint.
        findings: ailments that ask for a change.
        notes: what was found in the data, a sentence each.

    Source: Mitchell et al. 2019, arXiv:1810.03993, for the parts of a card.
    """
    return "\n".join([*_head(about), *_scores(about), *_cautions(findings, notes), *_origin(about)]) + "\n"


def _head(about: Mapping[str, Any]) -> Iterator[str]:
    task, model = about.get("task") or {}, (about.get("recipe") or {}).get("model") or {}
    target = (about.get("transform") or {}).get("target")
    yield from ("# Model card", "", "## What it does", "")
    of = f" of {_text(target)}" if target else ""
    kind = _text(task.get("kind") or "a task of its own")
    yield f"A network of the family {_text(model.get('family'))} for {kind}{of}."
    classes = [_text(c) for c in task.get("classes") or ()]
    if classes:
        yield f"Classes: {words.joined(classes, 12)}."


def _scores(about: Mapping[str, Any]) -> Iterator[str]:
    scores, base = about.get("scores") or {}, about.get("baseline") or {}
    if not scores:
        return
    yield from (
        "",
        "## How well it does",
        "",
        "| part | metric | this network | boosting |",
        "|---|---|---|---|",
    )
    for part, values in scores.items():
        for metric, value in values.items():
            theirs = (base.get(part) or {}).get(metric)
            yield f"| {part} | {_text(metric)} | {words.number(value)} | {words.number(theirs)} |"
    yield from ("", "The test part was not used by any decision; the validation part chose the best epoch.")


def _cautions(findings: Sequence[str], notes: Sequence[str]) -> Iterator[str]:
    yield from ("", "## What to beware of", "")
    yield "It is measured on rows like those it was trained on. Whether it may be used for people was not examined."
    yield from (f"- finding: {_text(title_of(name))}" for name in findings)
    yield from (f"- data: {_text(note)}" for note in notes)


def _origin(about: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", "## Where it comes from", "")
    yield f"trainwell {_text(about.get('trainwell'))}, seed {about.get('seed')}, data {_text(about.get('fingerprint'))}."
    yield "Recipe, task and transform stand in model.json."


def _text(value: Any) -> str:
    """Return text from data as Markdown that shows it and does nothing else."""
    shown = " ".join(words.visible(str(value)).split())
    return re.sub(r"([\\`*_{}\[\]()#+!|<>&~])", lambda m: f"&#{ord(m[1])};", shown)
