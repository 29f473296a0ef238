"""What is left of the trainings that an adapter watched: lines for a person, and a folder for `trainwell diagnose`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainwell.values.atomic import atomic_write_text
from trainwell.values.finding import Finding
from trainwell.values.journal import dumps
from trainwell.values.signal import Traces

TRACES = "watch"
"""The folder of the traces inside the run; of a second training it is `watch-2`."""


@dataclasses.dataclass(frozen=True)
class Watched:
    """A training that was watched.

    Args:
        name: of the folder of its traces; empty where they are not written.
        traces: what was measured.
        findings: the gravest first.
    """

    name: str
    traces: Traces
    findings: list[Finding]

    @property
    def steps(self) -> int:
        return int(self.traces.number("steps", 0))


def lines_of(watched: Watched) -> Iterator[str]:
    """Yield what a person reads: alarms with what shows them and what to change, nothing of mere information."""
    alarms = [f for f in watched.findings if f.is_alarm]
    about = f"{watched.traces.fact('model_name') or 'training'}, {watched.steps:,} steps"
    count = (
        f"{len(alarms)} finding{'s' * (len(alarms) != 1)}" if alarms else "no finding that asks for a change"
    )
    yield f"trainwell: {count} ({about})"
    for number, finding in enumerate(alarms, 1):
        yield from finding.lines(number)


def write_outcome(folder: Path, trainings: Sequence[Watched]) -> None:
    """Write the traces of the last of these trainings, and the findings of all, as those of a watched script."""
    trainings[-1].traces.save(folder / trainings[-1].name)
    told = [
        {
            "model": str(w.traces.fact("model_name") or ""), "steps": w.steps, "folder": w.name,
            "error": str(w.traces.fact("watch_error") or ""), "findings": [f.to_dict() for f in w.findings],
        }
        for w in trainings
    ]  # fmt: skip
    atomic_write_text(folder / "findings.json", dumps({"trainings": told}, indent=1) + "\n")
