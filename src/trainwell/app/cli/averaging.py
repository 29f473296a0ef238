"""The verb that averages: soup."""

from __future__ import annotations

import dataclasses

import click

from trainwell.app.cli.output import emit, json_option


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@click.option("--out", metavar="FOLDER", help="New folder to write, which `predict` and `evaluate` take.")
@click.option(
    "--uniform", is_flag=True, help="Take all runs; without it a run is taken where it does no harm."
)
@json_option
def soup(runs: tuple[str, ...], out: str | None, uniform: bool, as_json: bool) -> None:
    """Average the weights of runs that began from the same weights.

    For fine-tunings of one pre-trained network, e.g. with several rates or techniques. Chosen on the validation part.
    """
    from trainwell.app.soup import soup as averaged

    made = averaged(runs, way="uniform" if uniform else "greedy", out=out)
    about = {k: v for k, v in dataclasses.asdict(dataclasses.replace(made, run=None)).items() if k != "run"}  # type: ignore[arg-type]
    scores = {part: dict(values) for part, values in made.run.scores.items()}
    emit({"runs": list(runs), "out": out, **about, "scores": scores}, made.lines(), as_json)


COMMANDS = (soup,)
