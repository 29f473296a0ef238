"""The exceptions of trainwell. Whoever catches `TrainwellError` catches every mistake that a user can mend.

TrainwellError                exit code
├── UsageError                2   an option, a recipe, a dose, a run that cannot be read
│   ├── RecipeError
│   │   └── NoPlaceError          a technique finds nothing to act on in these data or this network
│   ├── DoseError
│   └── RunError                  a run folder is missing, unreadable or of another kind
├── DataError                 3   file, row and column of what is wrong
├── TrainingError             4   the training failed
│   └── NonFiniteError            a loss, gradient or weight became NaN or infinite
├── GateError                 5   a gate that was asked for was not met
└── Interrupted             130   SIGINT (143 for SIGTERM); the state is saved
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from trainwell.values.spoken import spoken


class TrainwellError(Exception):
    """A mistake of the user's that the message says how to mend."""

    exit_code = 1

    def __str__(self) -> str:
        """Return the message; it names options as the caller knows them, `--target` or `target=`."""
        return spoken(super().__str__())


class UsageError(TrainwellError):
    """An option, a recipe or a path is wrong."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe names something that does not exist or does not fit together."""


class NoPlaceError(RecipeError):
    """A technique finds nothing to act on: the data are of another kind, or the network has no such layers.

    Attributes:
        technique: its name.
    """

    def __init__(self, technique: str, message: str) -> None:
        super().__init__(message)
        self.technique = technique


class DoseError(UsageError):
    """A number of a technique lies outside its range."""


class RunError(UsageError):
    """A run folder cannot be read or does not fit what is asked of it."""


class DataError(TrainwellError):
    """The data are at fault; the message names the file, the column and the row."""

    exit_code = 3


class TrainingError(TrainwellError):
    """The training could not be carried on."""

    exit_code = 4


class NonFiniteError(TrainingError):
    """A loss, a gradient or a weight became NaN or infinite."""


class GateError(TrainwellError):
    """A gate that was asked for was not met."""

    exit_code = 5


class Interrupted(TrainwellError):
    """The training was interrupted by a signal; its state is saved and can be resumed."""

    exit_code = 130

    def __init__(self, message: str, signal: int = 2) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the nearest of the known names, or the empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.55)
    return f" Did you mean '{near[0]}'?" if near else ""
