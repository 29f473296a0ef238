"""A run folder as the report reads it: whatever is there, and a line for what is not."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainwell.values.errors import RunError, did_you_mean
from trainwell.values.journal import epochs, read_journal
from trainwell.values.runfolder import RUNS, RunFolder
from trainwell.values.signal import Array, Traces

PARTS = (
    "recipe", "data", "environment", "results", "findings", "errors", "script", "evidence", "treatment", "tuning",
)  # fmt: skip
"""The JSON files of a folder that a report reads; every one may be missing."""

TRIALS = "trials"
"""Where trials lie beside the folder of the runs."""


@dataclasses.dataclass(frozen=True)
class Saved:
    """What a run folder holds.

    Args:
        path: the folder.
        parts: the JSON files of PARTS that are there.
        events: the journal.
        traces: the watched trainings of the run, by folder.
        losses: the loss of every step, (T,); empty where it was not saved.
        catalogue: what is known of each technique by name: summary, source, sites, treats.
        problems: what could not be read, a line each.
        study: the journal of a search.
        evidence: comparisons of trials on the same data, each with the metric of its trial.
    """

    path: Path
    parts: Mapping[str, Mapping[str, Any]]
    events: Sequence[Mapping[str, Any]] = ()
    traces: Mapping[str, Traces] = dataclasses.field(default_factory=dict)
    losses: Array = dataclasses.field(default_factory=lambda: np.zeros(0))
    catalogue: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    problems: tuple[str, ...] = ()
    study: Sequence[Mapping[str, Any]] = ()
    evidence: Sequence[Mapping[str, Any]] = ()

    def part(self, name: str) -> Mapping[str, Any]:
        """Return one JSON file; empty where it is not there."""
        assert name in PARTS, name
        return self.parts.get(name, {})

    @functools.cached_property
    def rows(self) -> list[dict[str, Any]]:
        """One row per epoch, as the journal has them."""
        return epochs(self.events)

    @property
    def task(self) -> Mapping[str, Any]:
        """The task; empty where the run has none of ours."""
        return self.part("data").get("task") or {}

    @property
    def metric(self) -> str:
        return str(self.task.get("metric", ""))

    @property
    def sign(self) -> int:
        """+1 when a larger score is better."""
        return int(self.task.get("metric_sign", 1))

    @property
    def scored_part(self) -> str:
        """The part that the score is of: `test`, or `val` where there is none; empty for no score."""
        scores = self.part("results").get("scores") or {}
        return next((p for p in ("test", "val") if self.metric in (scores.get(p) or {})), "")

    @property
    def score(self) -> float | None:
        """The primary metric on the scored part."""
        part = self.scored_part
        return float(self.part("results")["scores"][part][self.metric]) if part else None

    @property
    def baseline(self) -> float | None:
        """What boosting reaches on the same part; None where it was not fitted."""
        found = (self.part("results").get("baseline") or {}).get(self.scored_part) or {}
        return float(found[self.metric]) if self.metric in found else None

    @property
    def best_epoch(self) -> int:
        told = self.part("results").get("best_epoch")
        return int(told) if told else max((r["epoch"] for r in self.rows if r.get("best")), default=0)

    @property
    def trainings(self) -> list[Mapping[str, Any]]:
        """One entry per watched training, with its findings."""
        return list(self.part("findings").get("trainings", ()))

    @property
    def findings(self) -> list[Mapping[str, Any]]:
        """All findings, the gravest of each training first."""
        return [f for t in self.trainings for f in t.get("findings", ())]

    @property
    def watch(self) -> Traces:
        """The traces of the first watched training; empty ones where there was none."""
        return next(iter(self.traces.values()), Traces())


def find_folder(spec: str | Path) -> Path:
    """Return the folder of a run, a study or a trial: its path, its name in `runs/`, or `latest`.

    Raises:
        RunError: there is none, or it holds nothing that a report reads.
    """
    given = Path(spec).expanduser()
    for path in (given, RUNS / given):
        if not path.is_dir():
            continue
        files = [f"{name}.json" for name in PARTS]
        if any((path / f).is_file() for f in [*files, "journal.jsonl", "study.jsonl"]) or any(
            path.glob("watch*/traces.json")
        ):
            return path.resolve()
        raise RunError(f"{path} is not a run: it has no recipe.json, no traces and no findings.")
    if given.name == "latest":
        return RunFolder.open(given).path
    root = given.parent if given.parent.name else RUNS
    names = sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    have = f" There are: {', '.join(names[-5:])}." if names else " There are no runs yet."
    raise RunError(f"there is no run {given}.{did_you_mean(given.name, names) or have}")


def evidence_beside(root: Path, fingerprint: str) -> list[dict[str, Any]]:
    """Return the comparisons of all trials in a folder that were made on the data of this fingerprint."""
    found: list[dict[str, Any]] = []
    for path in sorted(root.glob("*/evidence.json")) if root.is_dir() and fingerprint else ():
        try:
            evidence = RunFolder(path.parent).read_json("evidence")
        except RunError:
            continue  # a trial that is being written, or was damaged, tells nothing
        if evidence.get("fingerprint") == fingerprint and not path.parent.is_symlink():
            rows = [c for c in evidence.get("comparisons") or () if isinstance(c, Mapping)]
            found += [{**c, "metric": evidence.get("metric", "")} for c in rows]
    return found


def read_saved(path: Path, catalogue: Mapping[str, Mapping[str, Any]] | None = None) -> Saved:
    """Read a folder; what is damaged becomes a line in `problems` and the rest is read all the same."""
    folder, problems = RunFolder(path), []
    parts: dict[str, Mapping[str, Any]] = {}
    for name in PARTS:
        if (path / f"{name}.json").is_file():
            try:
                parts[name] = folder.read_json(name)
            except RunError as error:
                problems.append(str(error))
    events: Sequence[Mapping[str, Any]] = ()
    if (path / "journal.jsonl").is_file():
        events, warnings = read_journal(path / "journal.jsonl")
        problems += warnings
    traces = {}
    for found in sorted(path.glob("watch*/traces.json"), key=lambda p: (len(p.parent.name), p.parent.name)):
        try:
            traces[found.parent.name] = Traces.load(found.parent)
        except RunError as error:
            problems.append(str(error))
    losses = np.zeros(0)
    if (path / "traces" / "train_loss.npy").is_file():
        try:
            losses = folder.load_trace("train_loss")
        except RunError as error:
            problems.append(str(error))
    study: Sequence[Mapping[str, Any]] = ()
    if (path / "study.jsonl").is_file():
        study, warnings = read_journal(path / "study.jsonl")
        problems += warnings
    fingerprint = str((parts.get("data") or {}).get("fingerprint") or "")
    evidence = evidence_beside(path.parent.parent / TRIALS, fingerprint)
    return Saved(path, parts, events, traces, losses, catalogue or {}, tuple(problems), study, evidence)
