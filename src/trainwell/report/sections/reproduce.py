"""How to have the run again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainwell.report import words
from trainwell.report.blocks import Block, Code, Grid, Text
from trainwell.report.saved import Saved
from trainwell.report.section import Section
from trainwell.report.sections.summary import command

TOLD = {"data": "data", "fingerprint": "fingerprint", "planned": "seeds at most"}
"""What is told of a trial."""
ENGINES = {"lanes": "many networks at once, in one program", "plain": "one network after the other"}


class Reproduce(Section):
    name, title, place = "reproduce", "How to reproduce it", 95

    def blocks(self, saved: Saved) -> Sequence[Block]:
        data, recipe, script = saved.part("data"), saved.part("recipe"), saved.part("script")
        found: list[Block] = []
        if recipe:
            told = command(saved, f"--seed {data.get('seed', 0)}")
            if "data" not in (data.get("source") or {}):
                found.append(
                    Text("The data were passed from Python; pass the same again with this recipe and seed.")
                )
            found += [Code(told), Code(json.dumps(recipe, indent=1), "The recipe")]
        elif script:
            arguments = " ".join(map(str, script.get("arguments") or ()))
            found.append(Code(f"trainwell watch {script.get('script')} {arguments}".rstrip()))
        evidence, tuning = saved.part("evidence"), saved.part("tuning")
        if evidence and not recipe:
            found.append(
                Text("The same command with --out and this folder goes on with the trial, or adds seeds.")
            )
            found.append(Code(json.dumps(evidence.get("base"), indent=1), "The recipe of the base"))
        if tuning.get("recipe"):
            found.append(Code(json.dumps(tuning["recipe"], indent=1), "The recipe of the winner"))
        facts = [
            (k.replace("_", " "), words.number(v) if v is not None else "-")
            for k, v in saved.part("environment").items()
        ]
        if data:
            facts += [
                ("seed", str(data.get("seed"))),
                ("fingerprint of the data", str(data.get("fingerprint"))),
            ]
        if evidence:
            facts += _of_trial(evidence)
        results = saved.part("results")
        if results.get("recipe_hash"):
            facts.append(("hash of the recipe", str(results["recipe_hash"])))
        return [*found, Grid(("", ""), facts)] if facts else found


def _of_trial(evidence: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is told of a trial."""
    for key, told in TOLD.items():
        if evidence.get(key) is not None:
            yield told, words.number(evidence[key])
    yield "split", "redrawn for each seed" if evidence.get("split") == "redrawn" else "as given"
    yield "time", words.seconds(evidence.get("seconds"))
    for line in evidence.get("engine") or ():
        yield "trained", ENGINES.get(str(line), str(line))
