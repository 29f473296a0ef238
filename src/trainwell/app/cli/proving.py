"""The verbs of trials: prove, treat, ablate."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from trainwell.app.cli.data import check_data, data_options, of_data
from trainwell.app.cli.output import emit, json_option, quiet_option, several
from trainwell.app.cli.training import backbone_options, recipe_of, settings_of
from trainwell.app.console import Console
from trainwell.values.errors import UsageError

seeds_option = click.option(
    "--seeds", type=int, default=8, show_default=True, help="Pairs of trainings at most."
)
budget_option = click.option(
    "--budget", metavar="TEXT", help="Time after which no group of seeds begins, e.g. 5m; epochs of each run, 20ep."
)  # fmt: skip
out_option = click.option(
    "--out", metavar="FOLDER", help="Folder of the trial; a new one in trials/ without it. A broken-off one goes on."
)  # fmt: skip
smallest_option = click.option(
    "--smallest", type=float, default=0.0, help="Gain that a change must exceed, in the unit of the metric [0]."
)  # fmt: skip


metric_option = click.option("--metric", metavar="NAME", help="What decides; that of the task without it.")


@click.command()
@click.argument("data")
@click.option("--target", metavar="COLUMN", help="Column to predict; needed for a table.")
@several(
    "--against", "CHANGE", "Change to try: dropout:rate=0.3, lr=0.01, -ema to take away, or several with +."
)
@click.option("--recipe", "recipe_file", metavar="FILE", help="Recipe of the base, e.g. RUN/recipe.json.")
@click.option("--preset", default="balanced", show_default=True, metavar="NAME", help="Preset of the base.")
@several("--set", "FIELD=VALUE", "Field of the base: lr=3e-4, model.width=128.")
@several("--with", "TECHNIQUE", "Add a technique to the base.")
@several("--without", "NAME", "Take a technique from the base.")
@metric_option
@seeds_option
@click.option("--look-every", type=int, metavar="N", help="Pairs before each look [8, or 4 under a budget].")
@budget_option
@smallest_option
@data_options
@click.option("--backbone", metavar="NAME",
              help="Compare heads on its cached features; with --set model=NAME its fine-tuning.")  # fmt: skip
@click.option("--weights", metavar="FILE", help="Weights of the backbone: a .safetensors file of yours.")
@click.option(
    "--allow-pickle", is_flag=True, help="Let --weights be a .pt file; read in a process of its own."
)
@click.option("--device", metavar="NAME", help="cpu, cuda, mps ...; an accelerator where there is one.")
@out_option
@quiet_option
@json_option
def prove(data: str, target: str | None, quiet: bool, as_json: bool, **options: Any) -> None:
    """Try changes of a recipe on DATA with paired seeds, and say which are proved.

    Both sides of a pair share the validation rows, the first weights and the order of the rows. Seeds are added in
    groups until every change is decided; looking often costs no false proof.
    """
    if not options["against"]:
        raise UsageError("--against is needed: which change is to be tried? E.g. --against dropout:rate=0.3.")
    check_data({"data": data, "target": target, **options})
    _check_names(options["against"])
    from trainwell.app.evidence_lines import evidence_lines
    from trainwell.app.proving import prove as conduct

    evidence = conduct(
        data, target, change=list(options["against"]), base=recipe_of(options["recipe_file"]),
        preset=options["preset"], settings_=settings_of(options["set"]), with_=options["with"],
        without=options["without"], metric=options["metric"], seeds=options["seeds"], look_every=options["look_every"],
        budget=options["budget"], smallest=options["smallest"],
        device=options["device"], out=options["out"], console=_console(quiet),
        **backbone_options(options), **of_data(options),
    )  # fmt: skip
    emit(evidence.to_dict(), evidence_lines(evidence), as_json)


@click.command()
@click.argument("run")
@metric_option
@seeds_option
@budget_option
@out_option
@quiet_option
@json_option
def ablate(run: str, quiet: bool, as_json: bool, **options: Any) -> None:
    """Say what each technique of RUN is worth on its data: the recipe against itself without each of them."""
    _check(run)
    from trainwell.app.ablating import ablate as leave_out
    from trainwell.app.ablating import ablation_lines

    evidence = leave_out(run, console=_console(quiet), **options)
    emit(evidence.to_dict(), ablation_lines(evidence), as_json)


@click.command()
@click.argument("run")
@metric_option
@seeds_option
@budget_option
@smallest_option
@click.option("--out", metavar="FOLDER", help="Folder of the treated run; a new one in runs/ without it.")
@quiet_option
@json_option
def treat(run: str, quiet: bool, as_json: bool, **options: Any) -> None:
    """Try what the doctor prescribes for RUN in a trial, keep what is proved, and train with it.

    The treated run is a new folder; its treatment.json says what was kept, refused and left undecided.
    """
    _check(run)
    from trainwell.app.treating import treat as give
    from trainwell.app.treating import treatment_lines

    case = give(run, console=_console(quiet), **options)
    emit(case.to_dict(), treatment_lines(case), as_json)


COMMANDS = (prove, treat, ablate)


def _check(run: str) -> None:
    """Tell a mistyped name before torch is imported."""
    from trainwell.values.runfolder import RunFolder

    RunFolder.open(Path(run))


def _console(quiet: bool) -> Console:
    return Console.silent() if quiet else Console.stderr()


def _check_names(changes: Iterable[str]) -> None:
    """Refuse the name of a technique that there is not, before the table is described."""
    import trainwell.techniques  # noqa: F401  (fills the registry)
    from trainwell.values.technique import technique

    for head in (change.partition(":")[0].strip() for change in changes):
        if head.isidentifier():
            technique(head, "--against")
