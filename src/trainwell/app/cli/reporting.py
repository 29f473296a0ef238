"""The verbs that show: report, compare, serve."""

from __future__ import annotations

from pathlib import Path

import click

from trainwell.app.cli.output import emit, json_option
from trainwell.values.errors import UsageError


@click.command()
@click.argument("run")
@click.option("--out", metavar="FILE", help="File to write; report.html in the folder of RUN without it.")
@click.option(
    "--no-errors", is_flag=True, help="Do not score the rows of RUN again for the section on errors."
)
@json_option
def report(run: str, out: str | None, no_errors: bool, as_json: bool) -> None:
    """Write the report of RUN as one HTML file.

    RUN is what `fit` or `watch` wrote: a folder, its name in runs/, or `latest`. The file opens without a network.
    """
    from trainwell.app.reporting import write_report

    path = write_report(run, out, errors=not no_errors)
    emit({"run": run, "report": str(path), "bytes": path.stat().st_size}, [str(path)], as_json)


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@click.option("--out", metavar="FILE", help="Also the curves over one another, as one HTML file.")
@json_option
def compare(runs: tuple[str, ...], out: str | None, as_json: bool) -> None:
    """Hold runs against one another.

    Their scores, what differs in their recipes, and, where two recipes were trained with the same seeds on the same
    data, the difference with its interval.
    """
    from trainwell.report.compare import compare_html, lines, read_comparison
    from trainwell.report.saved import find_folder
    from trainwell.values.atomic import atomic_write_text

    found = read_comparison([find_folder(run) for run in runs])
    if out is not None:
        try:
            atomic_write_text(Path(out), compare_html(found))
        except OSError as error:
            raise UsageError(f"--out {out} cannot be written: {error.strerror}.") from error
    emit({**found.to_dict(), "out": out}, [*lines(found), *([out] if out else [])], as_json)


@click.command()
@click.argument("folder", default="runs", required=False)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="NUMBER",
    help="Port to listen on; a free one without it.",
)
def serve(folder: str, port: int) -> None:
    """Show all runs of FOLDER [runs] in the browser, and follow those that train.

    Prints the address, with the token that it needs. It listens on this machine only, until it is interrupted.
    """
    from trainwell.app.serving import serve as serve_runs

    serve_runs(Path(folder), port, lambda line: click.echo(line))


COMMANDS = (report, compare, serve)
