"""What is kept of a script under the watcher: its run folder, and what was told of it so far."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from trainwell.app.console import Console
from trainwell.app.findings import TRACES, Diagnosis, alarm_lines, diagnosis_lines, write_findings
from trainwell.values.errors import UsageError
from trainwell.values.runfolder import RUNS, RunFolder

if TYPE_CHECKING:
    from trainwell.app.script import Outcome, Script
    from trainwell.watch.finder import Found

LIVE = frozenset((
    "bad_features", "unscaled_inputs", "unscaled_targets", "leakage", "train_val_shift", "class_imbalance",
    "unshuffled_data", "params_not_trained", "missing_zero_grad", "mode_misuse", "batchnorm_misuse",
    "loss_mismatch", "bad_init", "vanishing_gradient", "saturated_units", "dead_units", "exploding_gradient",
    "lr_too_high", "overfitting", "input_bound", "wrong_dtype",
))  # fmt: skip
"""Ailments that a part of the training shows as well as the whole; of the others the end decides."""


class Session:
    """One script that is run under the watcher.

    Args:
        out: the folder to write; None for a new one in `runs/`, made when the first training begins.

    Attributes:
        diagnoses: one for each training; filled by `finish`.

    Raises:
        UsageError: `out` holds something already or cannot be made.
    """

    def __init__(self, script: Script, arguments: tuple[str, ...], out: str | None, console: Console) -> None:
        self.script, self.arguments, self.console = script, arguments, console
        self.directory, self.started = os.getcwd(), time.time()
        self.diagnoses: list[Diagnosis] = []
        self._runs = RUNS.absolute()  # the script may go elsewhere
        self._run = RunFolder.create(Path(out), "", self._runs) if out else None
        self._unwritable = False
        self._told: set[tuple[int, str]] = set()

    def traces(self, number: int) -> Path | None:
        """Return the folder for the traces of a training; None where none can be made."""
        if self._run is None and not self._unwritable:
            try:
                self._run = RunFolder.create(None, Path(self.script.file).stem, self._runs)
            except UsageError as error:
                self._unwritable = True
                self.console.say(f"warning: the findings will not be saved: {error}")
        return self._run.path / _name(number) if self._run is not None else None

    def tell(self, found: Found) -> None:
        """Say the alarms of a training that goes on, each once."""
        for finding in found.findings:
            key = (found.number, finding.ailment)
            if found.over or not finding.is_alarm or finding.ailment not in LIVE or key in self._told:
                continue
            self._told.add(key)
            self.console.say(f"trainwell: {found.name}, after {found.steps:,} steps")
            for line in alarm_lines(len(self._told), finding, None):
                self.console.say(line)

    def finish(self, outcome: Outcome) -> None:
        """Say what was found, and write it down."""
        say = self.console.say
        self.diagnoses = [
            Diagnosis(f.findings, f.steps, f.name, _name(f.number), f.error) for f in outcome.trainings
        ]
        if not self.diagnoses:
            say("trainwell: no training with a torch optimizer was seen in this process")
        for line in diagnosis_lines(self.diagnoses):
            say(line)
        if self._run is None:
            return
        about = {
            "script": self.script.name, "arguments": list(self.arguments), "directory": self.directory,
            "python": sys.version.split()[0], "started": self.started, "seconds": time.time() - self.started,
            "exit_code": outcome.exit_code, "error": repr(outcome.error) if outcome.error else None,
        }  # fmt: skip
        try:
            self._run.write_json("script", about)
            write_findings(self._run.path, self.diagnoses)
        except OSError as error:
            say(f"warning: {self._run.path} cannot be written: {error.strerror}")
        say(f"run       {self._run.path}")


def _name(number: int) -> str:
    return TRACES if number == 1 else f"{TRACES}-{number}"
