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

from trainwell.app.awaited import Awaited
from trainwell.app.cli import averaging, proving, reporting, telling, training, tuning, using, watching
from trainwell.app.cli.output import complain, emit_error
from trainwell.values.errors import Interrupted, TrainwellError, UsageError, did_you_mean
from trainwell.values.spoken import on_command_line
from trainwell.values.version import version

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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the first sentence of every verb, whole."""
        first = [(name, str(verb.help).partition(".\n")[0].strip()) for name, verb in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl([(name, " ".join(said.rstrip(".").split()) + ".") for name, said in first])


def _tell_version(ctx: click.Context, _option: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        click.echo(f"trainwell {version()}")
        ctx.exit()


SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(cls=_InOrder, context_settings=SETTINGS, epilog=EPILOG)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_tell_version, help="Tell the version."
)  # fmt: skip
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
    Awaited("torch", lambda: None).start()  # it is loaded in less time so
    sys.exit(run_command(sys.argv[1:]))


def _on_sigterm(number: int, _frame: FrameType | None) -> None:
    """End in order, temporary files removed; a training in progress has its own handler."""
    raise Interrupted("stopped by SIGTERM; no training was in progress.", number)


def run_command(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; nothing is raised but what TRAINWELL_DEBUG asks to see."""
    try:
        with on_command_line():
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
        return _fail(UsageError(_usage(error)), as_json)
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


def _usage(error: click.ClickException) -> str:
    """Return in one line what is wrong with the command line, and where to read more."""
    context: click.Context | None = getattr(error, "ctx", None)
    params = context.command.params if context is not None else []
    options = [name for param in params for name in param.opts if name.startswith("--")]
    match error:
        case click.NoSuchOption():
            said = f"there is no option {error.option_name}.{did_you_mean(error.option_name, options)}"
        case click.MissingParameter(param=click.Parameter() as param):
            named = param.opts[0] if param.opts[0].startswith("-") else param.human_readable_name
            said = f"{named} is missing."
        case click.BadOptionUsage():
            said = f"{error.option_name} " + (
                "needs a value" if "requires" in error.message else "takes no value"
            )
        case click.BadParameter(param=click.Parameter() as param):
            said = f"{param.opts[0]}: {error.message}"
        case _:
            said = error.format_message()
            said = said[0].lower() + said[1:]
            said = said.replace("no such command", "there is no verb").replace(
                "got unexpected", "there is an"
            )
    more = f" See `{context.command_path} --help`." if context is not None else ""
    return f"{said}{'' if said.endswith(('.', '?')) else '.'}{more}"


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
