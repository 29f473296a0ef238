"""The command `trainwell`: one file per group of verbs; torch is imported only by the verbs that need it."""

from trainwell.app.cli.entry import main as main
from trainwell.app.cli.entry import run_command as run_command
