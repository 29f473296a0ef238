"""Where the command begins and ends: the verbs, and what every error becomes."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import click

from trainwell.app.cli import averaging, proving, reporting, telling, training, tuning, using, watching
from trainwell.app.cli.output import complain, emit_error
from trainwell.values.errors import Interrupted, TrainwellError, UsageError

BROKEN_PIPE = 141
"""128 + SIGPIPE: whoever read the output went away, as every command of a pipe says it."""

EPILOG = (
    "Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 internal error, "
    "2 usage, 3 the data are at fault, 4 the training failed, 5 a gate was not met, 130/143 interrupted with the "
    "state saved."
)


class _InOrder(click.Group):
    """Lists its verbs in the order of the work, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(cls=_InOrder, context_settings=SETTINGS, epilog=EPILOG)
@click.version_option(package_name="trainwell", message="%(prog)s %(version)s")
def cli() -> None:
    """Train neural networks well."""


for _command in (
    *training.COMMANDS,
    *tuning.COMMANDS,
    *watching.COMMANDS,
    *proving.COMMANDS,
    *averaging.COMMANDS,
    *using.COMMANDS,
    *reporting.COMMANDS,
    *telling.COMMANDS,
):
    cli.add_command(_command)


def main() -> None:
    """Run the command line; the exit code tells what happened."""
    signal.signal(signal.SIGTERM, _on_sigterm)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a name in another encoding must not end the command
    sys.exit(run_command(sys.argv[1:]))


def _on_sigterm(number: int, _frame: FrameType | None) -> None:
    """End in order, temporary files removed; a training in progress has its own handler."""
    raise Interrupted("stopped by SIGTERM; no training was in progress.", number)


def run_command(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; nothing is raised but what TRAINWELL_DEBUG asks to see."""
    try:
        code = _run(list(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
        return BROKEN_PIPE
    return code


def _run(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    try:
        result = cli.main(arguments, prog_name="trainwell", standalone_mode=False)
    except click.exceptions.Abort:  # SIGINT outside a training
        return _fail(Interrupted("interrupted; no training was in progress."), as_json)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        error.show()
        if as_json:
            emit_error(UsageError(error.format_message()))
        return error.exit_code
    except TrainwellError as error:
        return _fail(error, as_json)
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get("TRAINWELL_DEBUG"):
            raise
        complain(
            f"internal error: {type(error).__name__}: {error}; run with TRAINWELL_DEBUG=1 for the traceback"
        )
        if as_json:
            emit_error(error)
        return 1
    return result if isinstance(result, int) else 0


def _fail(error: TrainwellError, as_json: bool) -> int:
    complain(f"error: {error}")
    run = getattr(error, "run", None)
    if run is not None and run.path is not None:
        kept = (
            f"the weights of epoch {run.best_epoch}"
            if run.best_epoch
            else "the weights before the first epoch"
        )
        complain(f"kept: {kept}, in {run.path}")
    if as_json:
        emit_error(error)
    return error.exit_code


def _forget_stdout() -> None:
    """Point standard output nowhere, so that the interpreter does not complain when it flushes at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
