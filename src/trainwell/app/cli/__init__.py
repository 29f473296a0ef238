"""The command `trainwell`: one file per group of verbs; torch is imported only by the verbs that need it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

SIGINT_CODE = 130


def main() -> None:
    """Run the command line; the exit code tells what happened."""
    try:
        from trainwell.app.cli.entry import main as run
    except KeyboardInterrupt:  # before anything could be done
        sys.exit(SIGINT_CODE)
    run()


def run_command(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; nothing is raised but what TRAINWELL_DEBUG asks to see."""
    from trainwell.app.cli.entry import run_command as run

    return run(arguments)
