"""The verbs of the doctor: watch, diagnose, probe."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from trainwell.app.cli.data import check_data, data_options, typed_again
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
    from trainwell.app.script import find_script, run_script
    from trainwell.app.session import Session

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


@click.command()
@click.argument("data")
@click.option("--target", metavar="COLUMN", help="Column to predict; needed for a table.")
@click.option(
    "--preset", default="balanced", show_default=True, metavar="NAME", help="quick, balanced or best."
)
@click.option("--recipe", "recipe_file", metavar="FILE", help="Recipe to probe, e.g. RUN/recipe.json.")
@several("--set", "FIELD=VALUE", "Field of the recipe: batch_size=64, model.width=128.")
@several("--with", "TECHNIQUE", "Add a technique: dropout:rate=0.2.")
@several("--without", "NAME", "Take a technique away.")
@data_options
@click.option("--steps", type=int, default=24, show_default=True, help="Steps of a short run at its rate.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all that is drawn.")
@click.option("--device", metavar="NAME", help="cpu, cuda, mps ...; an accelerator where there is one.")
@json_option
def probe(
    data: str,
    target: str | None,
    recipe_file: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Find a learning rate and a batch size for DATA by short runs, before anything is trained.

    Every run starts from the same weights and takes the steps that `fit` would take, each at its own rate. Nothing is
    written.
    """
    from trainwell.app.cli.training import recipe_of, settings_of
    from trainwell.app.probing import probe as ask

    check_data({"data": data, "target": target, **options})
    wanted = settings_of(options.pop("set"))
    recipe, added = recipe_of(recipe_file), options.pop("with")
    found = ask(data, target, recipe=recipe, settings_=wanted, with_=added, **options)
    changes = [word for name, value in found.changes.items() for word in ("--set", f"{name}={value:g}")]
    command = shlex.join(
        ["trainwell", "fit", data, *typed_again(("steps", "as_json"), found.changes), *changes]
    )
    emit(found.to_dict(), [*found.lines(), f"next        {command}"], as_json)


COMMANDS = (watch, diagnose, probe)


def close_gate(diagnoses: Sequence[Diagnosis], gates: tuple[str, ...]) -> int:
    """Return 5 and say why if a finding closes a gate, else 0."""
    from trainwell.app.findings import unmet

    names = unmet(diagnoses, gates)
    if names:
        complain(f"gate: --fail-on {' '.join(gates)} was not met: {', '.join(dict.fromkeys(names))}")
    return GateError.exit_code if names else 0
