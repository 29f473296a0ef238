"""Runs a script as Python would, under the watcher."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.machinery
import importlib.util
import io
import os
import signal
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from trainwell.app.awaited import Awaited
from trainwell.values.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from trainwell.watch.finder import Finder, Found, Say, Tell


@dataclasses.dataclass(frozen=True)
class Script:
    """What is to be run, and what Python would tell it of itself.

    Args:
        name: as the user gave it; becomes `sys.argv[0]` of a file.
        file: the source file.
        first_path: what stands first in `sys.path`.
        spec: of a module that is run by its name (`python -m`) or in a folder, else None.
    """

    name: str
    file: str
    first_path: str
    spec: importlib.machinery.ModuleSpec | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a script.

    Args:
        exit_code: what Python would have ended with.
        trainings: what was found in it.
        error: what ended it, `SystemExit` included; None where it came to its end.
    """

    exit_code: int
    trainings: Sequence[Found]
    error: BaseException | None


def find_script(name: str, *, module: bool = False) -> Script:
    """Find a file, a folder with a `__main__.py`, or, with `module`, a module by its name.

    Raises:
        UsageError: there is none.
    """
    if module:
        return _find_module(name)
    path = Path(name)
    if path.is_dir():
        if not (path / "__main__.py").is_file():
            raise UsageError(f"{name} is a folder without a __main__.py; give the script to run.")
        folder = str(path.absolute())
        spec = importlib.machinery.PathFinder.find_spec("__main__", [folder])
        return Script(name, os.path.join(folder, "__main__.py"), folder, spec)
    if not path.is_file():
        beside = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise UsageError(f"there is no script {name}.{did_you_mean(path.name, beside)}")
    return Script(name, str(path.absolute()), str(path.resolve().parent))


def _find_module(name: str) -> Script:
    sys.path.insert(0, os.getcwd())
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__")
    except ImportError as error:
        raise UsageError(f"-m {name}: {error}.") from error
    finally:
        sys.path.pop(0)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise UsageError(f"-m {name}: there is no such module with a source file, seen from {os.getcwd()}.")
    return Script(spec.origin, spec.origin, os.getcwd(), spec)


def run_script(
    script: Script, arguments: Sequence[str], folder: Callable[[int], Path | None], tell: Tell, say: Say
) -> Outcome:
    """Run a script unchanged under the watcher, to its end, its crash or its interruption.

    What it computes is, bit for bit, what it computes alone: the watcher measures on a copy of the model and gives
    every random stream back. An error of the watcher's own ends the watching with one line.

    Args:
        folder, tell, say: see `Finder`.
    """
    watching = _Watching(folder, tell, say)
    main = _main_module(script)
    sys.modules["__main__"] = main  # it stays: pickles and functions at exit look for it
    sys.argv = [script.name, *arguments]
    if not sys.flags.safe_path:
        sys.path[0] = script.first_path
    signal.signal(signal.SIGTERM, _end_by_signal)
    error: BaseException | None = None
    try:
        with io.open_code(script.file) as file:
            code = compile(file.read(), script.file, "exec", dont_inherit=True)
        if int(os.environ.get("RANK") or 0) == 0:  # of several processes the first is watched
            watching.start()
        exec(code, main.__dict__)  # noqa: S102
    except BaseException as raised:
        error = raised
    exit_code = _end_of(error)
    _flush()
    crash = None if isinstance(error, SystemExit) and exit_code == 0 else error
    try:
        trainings = watching.stop(crash)
    except KeyboardInterrupt:  # a second one: leave at once
        trainings, exit_code = watching.trainings, 128 + signal.SIGINT
    return Outcome(exit_code, trainings, error)


class _Watching:
    """The finder of trainings, from the moment that the script imports torch."""

    def __init__(self, folder: Callable[[int], Path | None], tell: Tell, say: Say) -> None:
        self._made_of, self._say = (folder, tell, say), say
        self._finder: Finder | None = None
        self._awaited = Awaited("torch", self._begin)

    @property
    def trainings(self) -> Sequence[Found]:
        return self._finder.trainings if self._finder is not None else ()

    def start(self) -> None:
        self._awaited.start()

    def stop(self, error: BaseException | None) -> Sequence[Found]:
        self._awaited.stop()
        return self._finder.stop(error) if self._finder is not None else ()

    def _begin(self) -> None:
        try:
            from trainwell.watch.finder import Finder

            self._finder = Finder(*self._made_of)
            self._finder.start()
        except Exception as error:
            finder, self._finder = self._finder, None
            if finder is not None:
                with contextlib.suppress(Exception):
                    finder.stop()
            self._say(
                f"trainwell: the watcher did not start, the script goes on ({type(error).__name__}: {error})"
            )


def _main_module(script: Script) -> types.ModuleType:
    main = types.ModuleType("__main__")
    loader = importlib.machinery.SourceFileLoader("__main__", script.file)
    about = {"__file__": script.file, "__loader__": loader, "__cached__": None, "__spec__": script.spec}
    package = script.spec.parent if script.spec is not None else None
    main.__dict__.update(about, __builtins__=__builtins__, __annotations__={}, __package__=package)
    return main


def _end_by_signal(number: int, _frame: Any) -> None:
    """End the script in order; unlike an Exception it is not taken for an error that could be borne."""
    raise SystemExit(128 + number)


def _end_of(error: BaseException | None) -> int:
    """Print what Python prints when a script ends so, and return its exit code."""
    if error is None:
        return 0
    if isinstance(error, SystemExit):
        if error.code is None or isinstance(error.code, int):
            return (error.code or 0) & 0xFF
        print(error.code, file=sys.stderr)
        return 1
    sys.excepthook(type(error), error.with_traceback(_own_part(error.__traceback__)), error.__traceback__)
    return 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1


def _own_part(trace: TracebackType | None) -> TracebackType | None:
    """Return the part of a traceback that begins in the script."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or its reader went away
            stream.flush()
