"""The verbs that show: report."""

from __future__ import annotations

import click

from trainwell.app.cli.output import emit, json_option


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


COMMANDS = (report,)
