"""Findings as a person reads them, and as they stand in the run folder. Needs no torch, and numpy only to judge."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwell.app.prescriptions import prescriptions
from trainwell.values.atomic import atomic_write_text
from trainwell.values.errors import RunError, UsageError, did_you_mean
from trainwell.values.finding import AILMENTS, SEVERITIES, Finding
from trainwell.values.journal import dumps
from trainwell.values.recipe import Recipe
from trainwell.values.runfolder import RUNS, RunFolder

if TYPE_CHECKING:
    from trainwell.values.signal import Traces

TRACES = "watch"
"""The folder of the traces inside a run; a script that trains several networks has `watch-2` and so on."""

GATES = ("any", *SEVERITIES[1:])
"""What `--fail-on` takes besides the names of ailments: any alarm, or alarms of a severity."""

SHOWN_PRESCRIPTIONS = 3


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What ails one training of a run.

    Args:
        name: of its model; empty where it is not known.
        folder: of its traces, inside the run; empty where they were not written.
        steps: optimizer steps.
        recipe: of the run, where it is one of ours.
        findings: the gravest first.
        error: why the watch ended before the training; empty where it did not.
        kind: of the data, e.g. `text`; empty where it is not known.
    """

    findings: Sequence[Finding]
    steps: int = 0
    name: str = ""
    folder: str = ""
    error: str = ""
    recipe: Recipe | None = None
    kind: str = ""

    @classmethod
    def of(cls, traces: Traces, folder: str = "", recipe: Recipe | None = None, kind: str = "") -> Diagnosis:
        """Diagnose traces."""
        from trainwell.rules.diagnosis import diagnose

        steps, name = int(traces.number("steps", 0)), str(traces.fact("model_name") or "")
        error = str(traces.fact("watch_error") or "")
        return cls(diagnose(traces), steps, name, folder, error, recipe, kind)

    def __str__(self) -> str:
        return "\n".join(diagnosis_lines([self]))

    def __repr__(self) -> str:
        told = ", ".join(f"{f.title} ({f.severity})" for f in self.findings) or "no findings"
        return f"<Diagnosis of {self.name or 'a training'} after {self.steps:,} steps: {told}>"

    @property
    def is_script(self) -> bool:
        """Whether the loop is the reader's own, so that remedies are lines of code."""
        return self.recipe is None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as `findings.json` holds them and `--json` prints them."""
        about = {"model": self.name, "steps": self.steps, "folder": self.folder, "error": self.error}
        findings = [
            {**f.to_dict(), "prescriptions": [p.to_dict() for p in prescriptions(f, self.recipe, self.kind)]}
            for f in self.findings
        ]
        return {**about, "findings": findings}


def document(diagnoses: Sequence[Diagnosis]) -> dict[str, Any]:
    """Return what `findings.json` holds and `--json` prints."""
    return {"trainings": [d.to_dict() for d in diagnoses]}


def write_findings(folder: Path, diagnoses: Sequence[Diagnosis]) -> None:
    """Write `findings.json` into a run folder."""
    atomic_write_text(folder / "findings.json", dumps(document(diagnoses), indent=1) + "\n")


def read_findings(folder: Path) -> list[Finding]:
    """Return what `findings.json` holds of a run with one training; nothing where there is no such file."""
    if not (folder / "findings.json").is_file():
        return []
    trainings = RunFolder(folder).read_json("findings").get("trainings", [])
    found = trainings[0]["findings"] if trainings else []
    return [Finding.from_dict({k: v for k, v in f.items() if k != "prescriptions"}) for f in found]


def read_diagnoses(spec: str | Path) -> tuple[Path, list[Diagnosis]]:
    """Diagnose the traces of a run anew; return its folder as well.

    Args:
        spec: the folder of a run, its name in `runs/`, `latest`, or a folder of traces.

    Raises:
        RunError: there is no such folder, or it has no traces.
    """
    from trainwell.values.signal import Traces

    folder = _find(Path(spec).expanduser())
    if (folder / "traces.json").is_file():
        return folder, [Diagnosis.of(Traces.load(folder))]
    found = sorted(folder.glob(f"{TRACES}*/traces.json"), key=lambda p: (len(p.parent.name), p.parent.name))
    if not found:
        raise RunError(
            f"{folder} has no traces of a watched training. `trainwell fit` without --no-watch and "
            "`trainwell watch` write them."
        )
    recipe = None
    if (folder / "recipe.json").is_file():
        import trainwell.techniques  # noqa: F401  (fills the registry)

        recipe = Recipe.from_dict(RunFolder(folder).read_json("recipe"), str(folder / "recipe.json"))
    kind = _kind_of(folder)
    return folder, [Diagnosis.of(Traces.load(p.parent), p.parent.name, recipe, kind) for p in found]


def _kind_of(folder: Path) -> str:
    """Return the kind of the data of a run of ours; empty where it is not known."""
    if not (folder / "data.json").is_file():
        return ""
    return str((RunFolder(folder).read_json("data").get("spec") or {}).get("kind", ""))


def diagnose_run(spec: str | Path) -> Diagnosis:
    """Diagnose the saved traces of a run anew; of a script that trained several networks, the first.

    Args:
        spec: the folder of a run, its name in `runs/`, or `latest`.

    Raises:
        RunError: there is no such folder, or it has no traces.
    """
    return read_diagnoses(spec)[1][0]


def _find(given: Path) -> Path:
    for path in (given, RUNS / given):
        if path.is_dir():
            return path.resolve()
    root = given.parent if given.parent.name else RUNS
    names = [p.name for p in root.iterdir() if p.is_dir()] if root.is_dir() else []
    have = f" There are: {', '.join(sorted(names)[-5:])}." if names else " There are no runs yet."
    raise RunError(f"there is no run {given}.{did_you_mean(given.name, names) or have}")


# ---------------------------------------------------------------------- gates


def parse_gates(names: Iterable[str]) -> tuple[str, ...]:
    """Check the names after `--fail-on`.

    Raises:
        UsageError: one is neither an ailment nor one of GATES.
    """
    known = (*GATES, *AILMENTS)
    for name in names:
        if name not in known:
            raise UsageError(
                f"--fail-on {name}: expected {', '.join(GATES)} or the name of an ailment, e.g. overfitting."
                f"{did_you_mean(name, known)}"
            )
    return tuple(names)


def unmet(diagnoses: Iterable[Diagnosis], gates: Sequence[str]) -> list[str]:
    """Return the ailments that a gate names, the folded consequences too; information never closes one."""
    met = [f for d in diagnoses for f in _whole(d.findings) if f.is_alarm]
    return [f.ailment for f in met if {"any", f.severity, f.ailment} & set(gates)]


def _whole(findings: Iterable[Finding]) -> Iterator[Finding]:
    for finding in findings:
        yield finding
        yield from _whole(finding.consequences)


# ---------------------------------------------------------------------- lines


def diagnosis_lines(diagnoses: Sequence[Diagnosis]) -> Iterator[str]:
    """Yield what a person reads of the trainings of a run: alarms in full, information in a line each."""
    for number, diagnosis in enumerate(diagnoses, 1):
        if len(diagnoses) > 1:
            name = f" ({diagnosis.name})" if diagnosis.name else ""
            yield f"training  {number} of {len(diagnoses)}{name}, {diagnosis.steps:,} steps"
        if diagnosis.error:
            yield f"note      watched only in part: {diagnosis.error}"
        alarms = [f for f in diagnosis.findings if f.is_alarm]
        if not alarms and not diagnosis.error:
            yield "findings  none that asks for a change"
        for i, finding in enumerate(alarms, 1):
            yield from alarm_lines(i, finding, diagnosis.recipe, diagnosis.kind)
        for finding in diagnosis.findings:
            if not finding.is_alarm:
                yield f"note      {finding.title}: {finding.meaning}"


def alarm_lines(number: int, finding: Finding, recipe: Recipe | None, kind: str = "") -> Iterator[str]:
    """Yield one finding, and what may be tried."""
    yield from finding.lines(number)
    found = prescriptions(finding, recipe, kind)
    lines = [(p.options if recipe is not None else p.code, p.why) for p in found]
    for line, why in [(line, why) for line, why in lines if line][:SHOWN_PRESCRIPTIONS]:
        yield f"  try     {line}{f'  ({why})' if why else ''}"
