"""A run is a folder: recipe, environment, data, journal, traces and checkpoints, readable without torch.

runs/2026-01-31-093000-adult-3f9a/
    recipe.json  environment.json  data.json      what was trained, with what, on what
    journal.jsonl  traces/*.npy                   what happened
    best/  last/                                  checkpoints (engine/checkpoint.py)
    lock                                          held while a process trains into the folder
runs/latest                                       a link to the newest
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import io
import os
import re
import secrets
import shlex
import time
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from trainwell.values.atomic import atomic_write_bytes, atomic_write_text, temporary_beside
from trainwell.values.errors import RunError, UsageError, did_you_mean
from trainwell.values.journal import Journal, dumps, loads, read_journal
from trainwell.values.lock import locked

if TYPE_CHECKING:
    import numpy as np

RUNS = Path("runs")
"""Where runs are made when no folder is given."""

MAX_NAME_BYTES = 200
"""File systems allow 255 bytes in a name; the rest is for suffixes and temporary names."""


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """One run on disk.

    Args:
        path: the folder itself, absolute, without links.
    """

    path: Path

    @classmethod
    def create(cls, out: Path | None, name_hint: str, runs: Path = RUNS) -> RunFolder:
        """Make the folder of a new run; one inside `runs` becomes `runs/latest`.

        Args:
            out: the folder to make; `None` for `runs/<date>-<time>-<hint>-<4 hexadecimal digits>`.
            name_hint: what the run is about, in any characters, e.g. the name of the data file.

        Raises:
            UsageError: `out` holds something already or cannot be made.
        """
        path = _new_path(runs, name_hint) if out is None else Path(out).expanduser()
        cls.check_new(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"the folder {path} cannot be made: {error.strerror}.") from error
        path = path.resolve()
        if path.parent == runs.resolve():
            _point_latest(path)
        return cls(path)

    @staticmethod
    def check_new(path: Path) -> None:
        """Refuse a folder that holds something already, or a place where none can be made.

        Raises:
            UsageError: says what is there.
        """
        path = path.expanduser()
        try:
            held = _held_by(path)
        except OSError as error:
            held = f"the folder {path} cannot be made: {error.strerror}."
        if held:
            raise UsageError(held)

    @classmethod
    def open(cls, spec: str | Path, runs: Path = RUNS) -> RunFolder:
        """Find a run that is there.

        Args:
            spec: its folder, its name inside `runs`, or `latest`.

        Raises:
            RunError: it is not there or is no run; the message names the nearest.
        """
        given = Path(spec).expanduser()
        for path in (given, runs / given):
            if (path / "recipe.json").is_file():
                return cls(path.resolve())
        root = given.parent if given.parent.name else runs
        if given.name == "latest":
            made = runs_in(root)
            if not made:
                raise RunError(f"there is no run in {root}/ yet; `trainwell fit` makes one.")
            return cls(made[-1].resolve())  # the link was lost, or the file system has none
        raise RunError(_why_no_run(given, root))

    @functools.cached_property
    def journal(self) -> Journal:
        """The journal, opened for appending when it is first used."""
        return Journal(self.path / "journal.jsonl")

    def read_journal(self) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the events and what is wrong with the journal, see `values.journal.read_journal`."""
        return read_journal(self.path / "journal.jsonl")

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write `<name>.json` (recipe, environment, data); numbers are exact."""
        atomic_write_text(self.path / f"{name}.json", dumps(value, indent=2) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Return what `write_json` wrote.

        Raises:
            RunError: the file is missing or not JSON.
        """
        path = self.path / f"{name}.json"
        try:
            value = loads(path.read_bytes())
        except FileNotFoundError:
            raise RunError(f"{path} is missing: the run is incomplete.") from None
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}.") from error
        except ValueError as error:
            raise RunError(f"{path} is damaged or was edited: it is not JSON ({error}).") from error
        if not isinstance(value, dict):
            raise RunError(f"{path} must hold an object, got {type(value).__name__}.")
        return value

    def save_trace(self, name: str, values: np.ndarray) -> None:
        """Write the series of one signal as `traces/<name>.npy`, little-endian; replaces the one before."""
        import numpy as np

        array = np.asarray(values)
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        memory = io.BytesIO()
        np.lib.format.write_array(memory, array, allow_pickle=False)
        path = self.path / "traces" / _trace_file(name)
        path.parent.mkdir(exist_ok=True)
        atomic_write_bytes(path, memory.getvalue(), durable=False)

    def load_trace(self, name: str) -> np.ndarray:
        """Return the series that `save_trace` wrote.

        Raises:
            RunError: there is none of this name, or its file is damaged; the message names the nearest.
        """
        import numpy as np

        path = self.path / "traces" / _trace_file(name)
        try:
            with open(path, "rb") as file:
                array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        except FileNotFoundError:
            near = did_you_mean(name, self.trace_names())
            raise RunError(f"{self.path} has no trace '{name}'.{near}") from None
        except Exception as error:  # a damaged header makes numpy's parser raise errors of many kinds
            raise RunError(f"{path} is damaged: {error}") from error
        return array

    def trace_names(self) -> list[str]:
        """Return the names of the saved traces, sorted."""
        return sorted(unquote(p.stem) for p in (self.path / "traces").glob("[!.]*.npy"))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for training, so that no second process trains into it; clear leftovers.

        Raises:
            RunError: another process holds it; the message says which.
        """
        with locked(self.path / "lock", f"{self.path} is being trained"):
            for path in [*self.path.glob(".*.tmp-*"), *self.path.glob("traces/.*.tmp-*")]:
                if path.is_file():  # a folder may be the newest whole checkpoint
                    path.unlink(missing_ok=True)
            yield


def runs_in(root: Path) -> list[Path]:
    """Return the run folders in a folder, the oldest first as far as their names carry the date."""
    found = root.glob("*/recipe.json")
    return sorted({p.parent for p in found if not p.parent.is_symlink()}, key=lambda p: p.name)


def safe_name(text: str, fallback: str = "run") -> str:
    """Return the letters, digits, `.`, `_` and `-` of a text, at most 40 of them, for a file's name."""
    plain = re.sub(r"[^\w.]+", "-", unicodedata.normalize("NFKC", text))
    return re.sub(r"\.{2,}", ".", plain)[:40].strip("-._") or fallback


def _new_path(runs: Path, hint: str) -> Path:
    """Return a path in a folder that no other run has, be it begun in the same second."""
    hint = re.sub(r"\.(csv|tsv)$", "", hint)  # of a name like table.csv.gz
    while True:
        path = runs / f"{time.strftime('%Y-%m-%d-%H%M%S')}-{safe_name(hint)}-{secrets.token_hex(2)}"
        if not os.path.lexists(path):
            return path


def _held_by(path: Path) -> str:
    """Return why no run can be made here, or the empty string."""
    if not path.is_dir():
        return f"{path} is a file; give the name of a new folder." if path.exists() else ""
    if (path / "recipe.json").exists():
        again = f"trainwell resume {shlex.quote(str(path))}"
        return f"{path} holds a run already; give another folder, or go on with `{again}`."
    # what a program that crashed at once, or the file manager, leaves behind
    names = sorted(p.name for p in path.iterdir() if p.name != "lock" and not p.name.startswith("."))
    if not names:
        return ""
    shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    return f"{path} is not empty (it holds {shown}); give a new or an empty folder for the run."


def _point_latest(path: Path) -> None:
    """Turn the link `latest` beside a run to it; where links are not possible `open` goes by the names."""
    link = path.with_name("latest")
    temporary = temporary_beside(link)
    try:
        temporary.symlink_to(path.name, target_is_directory=True)
        os.replace(temporary, link)
    except OSError:
        temporary.unlink(missing_ok=True)


def _why_no_run(given: Path, root: Path) -> str:
    for parent in given.parents:
        if parent.name and (parent / "recipe.json").is_file():
            return f"{given} is a part of the run {parent}; give that."
    if given.is_dir():
        return f"{given} is not a run{_what_instead(given)}."
    made = [p.name for p in runs_in(root)]
    have = f" Runs in {root}/: {', '.join(made[-5:])}." if made else f" There are no runs in {root}/."
    return f"there is no run {given}.{did_you_mean(given.name, [*made, 'latest']) or have}"


def _what_instead(folder: Path) -> str:
    if (folder / "study.jsonl").is_file():
        best = folder / "best"
        told = f"; its best run is {best}" if (best / "recipe.json").is_file() else ""
        return f" but a study of `trainwell tune`{told}"
    if (folder / "trial.json").is_file():
        return " but a trial of `trainwell prove`"
    if (folder / "model.json").is_file():
        return " but what `trainwell export` wrote, which `predict` and `evaluate` take"
    return ": it has no recipe.json"


def _trace_file(name: str) -> str:
    """Return a file name from which `unquote` gives the trace's name; a very long one ends in its hash."""
    quoted = quote(name, safe=" ")
    quoted = f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted
    if len(quoted) > MAX_NAME_BYTES:
        digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
        quoted = f"{re.sub('%.?$', '', quoted[: MAX_NAME_BYTES - 17])}~{digest}"
    return f"{quoted}.npy"
