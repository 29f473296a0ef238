"""How every verb prints: its result on standard output, once as lines or once as JSON; complaints on standard error."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

from trainwell.app.console import plain
from trainwell.values.errors import TrainwellError
from trainwell.values.journal import dumps

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print exactly one JSON document on standard output."
)
quiet_option = click.option("--quiet", is_flag=True, help="Say nothing on standard error but errors.")


def several(name: str, metavar: str, text: str) -> Callable[[Any], Any]:
    """Return an option that may be given more than once."""
    return click.option(name, multiple=True, metavar=metavar, help=f"{text} [repeat]")


def width(most: int = 110) -> int:
    """Return how wide a line of a table may be: the terminal, and no more than `most` in it and in a pipe."""
    return min(most, shutil.get_terminal_size((most, 24)).columns) if sys.stdout.isatty() else most


def emit(document: Mapping[str, Any] | list[Any], lines: Iterable[str], as_json: bool) -> None:
    """Print a result, as one JSON document or as lines. NaN and infinity become the words nan, inf, -inf."""
    if as_json:
        click.echo(dumps(document, indent=1))
    else:
        for line in lines:
            click.echo(plain(line))


def emit_error(error: Exception) -> None:
    """Print what went wrong as the one JSON document, with the run so far where there is one."""
    run = getattr(error, "run", None)
    code = error.exit_code if isinstance(error, TrainwellError) else 1
    about = {"kind": type(error).__name__, "message": str(error), "exit_code": code}
    click.echo(dumps({**(run.to_dict() if run is not None else {}), "error": about}, indent=1))


def complain(line: str) -> None:
    """Print one line on standard error."""
    click.echo(plain(" ".join(line.splitlines())), err=True)
