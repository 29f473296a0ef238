"""The verbs of the doctor: watch, diagnose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from trainwell.app.cli.output import complain, emit, json_option, quiet_option, several
from trainwell.app.console import Console
from trainwell.values.errors import GateError

if TYPE_CHECKING:
    from trainwell.app.findings import Diagnosis

gate_option = several(
    "--fail-on",
    "AILMENT",
    "End with exit code 5 on this finding: an ailment, `critical`, `warning` or `any`.",
)
PASSED_ON = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command(context_settings=PASSED_ON)
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("-m", "module", is_flag=True, help="SCRIPT is the name of a module, as for `python -m`.")
@click.option("--out", metavar="FOLDER", help="Folder of the run; a new one in runs/ without it.")
@gate_option
@quiet_option
def watch(
    script: str,
    arguments: tuple[str, ...],
    module: bool,
    out: str | None,
    fail_on: tuple[str, ...],
    quiet: bool,
) -> int:
    """Run SCRIPT unchanged, with its ARGUMENTS, and say what ails its training.

    What it computes stays the same bit for bit. Findings go to standard error while it runs and at its end, and with
    the traces into a run folder that `trainwell diagnose` reads. Options of trainwell stand before SCRIPT. The exit
    code is that of the script, or 5 where --fail-on was not met.
    """
    from trainwell.app.findings import parse_gates

    gates = parse_gates(fail_on)
    from trainwell.app.session import Session
    from trainwell.watch.script import find_script, run_script

    found = find_script(script, module=module)
    session = Session(found, arguments, out, Console.silent() if quiet else Console.stderr())
    outcome = run_script(found, arguments, session.traces, session.tell, Console.stderr().say)
    session.finish(outcome)
    return outcome.exit_code or close_gate(session.diagnoses, gates)


@click.command()
@click.argument("run")
@gate_option
@json_option
def diagnose(run: str, fail_on: tuple[str, ...], as_json: bool) -> int:
    """Say what ails RUN, with the numbers that show it and what to do.

    RUN is what `fit` or `watch` wrote: a folder, its name in runs/, or `latest`. Its traces are judged anew, which
    needs no data and no torch.
    """
    from trainwell.app.findings import diagnosis_lines, document, parse_gates, read_diagnoses

    gates = parse_gates(fail_on)
    folder, diagnoses = read_diagnoses(run)
    emit({"run": str(folder), **document(diagnoses)}, diagnosis_lines(diagnoses), as_json)
    return close_gate(diagnoses, gates)


COMMANDS = (watch, diagnose)


def close_gate(diagnoses: Sequence[Diagnosis], gates: tuple[str, ...]) -> int:
    """Return 5 and say why if a finding closes a gate, else 0."""
    from trainwell.app.findings import unmet

    names = unmet(diagnoses, gates)
    if names:
        complain(f"gate: --fail-on {' '.join(gates)} was not met: {', '.join(dict.fromkeys(names))}")
    return GateError.exit_code if names else 0
