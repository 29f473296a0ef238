"""A study: a space, a searcher and its trials, in an append-only journal that survives a kill at any instant.

Lines, each sealed by a checksum as those of a run's journal: `study` (once; again where trials came from elsewhere),
`asked` (the configurations of some trials, and the searcher's state), `told` (what became of a trial). One process
writes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from trainwell.search.searcher import Searcher, Told, make_searcher
from trainwell.search.space import Config, Space, same
from trainwell.values.errors import RunError, UsageError
from trainwell.values.journal import Journal, from_plain, read_journal, unseal
from trainwell.values.lock import locked

RUNNING, COMPLETE, STOPPED, DIVERGED, ERROR = "running", "complete", "stopped", "diverged", "error"
ENDED = (COMPLETE, STOPPED, DIVERGED, ERROR)
"""States of a trial that was told. A stopped one can go on and be told again."""

FORMAT = 1


@dataclasses.dataclass(slots=True)
class Trial:
    """One configuration and what became of it.

    Args:
        value: what is minimised; what is expected of its end for a stopped one; NaN if it diverged or failed.
        about: whatever the caller told beside it: the learning curve, the `spread` of what is expected.
    """

    number: int
    config: Config
    state: str = RUNNING
    value: float = math.nan
    about: dict[str, Any] = dataclasses.field(default_factory=dict)

    def told(self) -> Told:
        if self.state == RUNNING:
            return Told(self.number, self.config)
        return Told(self.number, self.config, self.value, float(self.about.get("spread", 0.0)))


class Study:
    """Hands out trials and keeps what became of them.

    The proposals of a generation know the results of the generations before it and nothing else, so that they do not
    depend on when a study was killed and resumed, or on how many trials are asked for at a time.

    Args:
        searcher: name of the searcher.
        batch: trials of a generation; None for the searcher's own.
        first: configurations of the first trials, e.g. the default.
        path: the journal; None keeps the study in memory.
        about: what else a resume has to agree with, e.g. the fingerprint of the data.

    Attributes:
        trials: all of them, by number.
        header: what the study was begun with, as it stands in the journal.
        notes: what had to be mended in the journal.
        exhausted: whether the searcher has nothing more to propose.

    Raises:
        RunError: another process writes it, or it is of another space, searcher or seed.
    """

    def __init__(
        self,
        space: Space,
        searcher: str = "gp",
        *,
        seed: int = 0,
        batch: int | None = None,
        first: Sequence[Config] = (),
        path: Path | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.space, self.first = space, [space.check(c) for c in first]
        self.searcher: Searcher = make_searcher(searcher, space, seed, batch)
        self.trials: list[Trial] = []
        self.notes: list[str] = []
        self._orphans: list[int] = []
        self._best: Trial | None = None
        self._generation: tuple[int, list[Config]] = (-1, [])
        self.exhausted = False
        self.header = {
            "format": FORMAT, "space": space.to_dict(), "searcher": searcher, "seed": seed,
            "batch": self.searcher.batch, "first": list(first), "about": dict(about or {}),
        }  # fmt: skip
        self._journal: Journal | None = None
        self._held = contextlib.ExitStack()
        self.path = None if path is None else Path(path)
        if self.path is not None:
            self._open(self.path)

    def _open(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._held.enter_context(locked(path.with_suffix(".lock"), f"{path} is being written"))
        events, warnings = _events(path) if path.exists() else ([], [])
        self.notes += warnings
        self._journal = Journal(path)
        if not events:
            self._write("study", self.header)
            return
        found = {k: events[0].get(k) for k in self.header}
        for key, mine in self.header.items():
            if _plain(found[key]) != _plain(mine):
                self.close()
                raise RunError(
                    f"{path}: the study has another {key}: {found[key]}, not {mine}. Use a new folder."
                )
        self._replay(events[1:])

    def _replay(self, events: Iterable[Mapping[str, Any]]) -> None:
        state: Mapping[str, Any] = {}
        for e in events:
            if e["event"] == "study":
                self.first = [self.space.check(c) for c in e["first"]]
            elif e["event"] == "asked":
                if e["first"] != len(self.trials):  # a damaged line: what followed is asked for again
                    break
                self.trials += [Trial(e["first"] + i, c) for i, c in enumerate(e["configs"])]
                state = e["state"]
            elif e["number"] < len(self.trials):
                self._take(e["number"], e["state"], e["value"], e.get("about", {}))
        self.searcher.restore(state)
        self._orphans = [t.number for t in self.trials if t.state == RUNNING]

    def ask(self, count: int = 1, *, eager: bool = False) -> list[Trial]:
        """Return trials to run: first those whose worker died, then new ones.

        Fewer, perhaps none, where the space is `exhausted`, or where a generation waits for the end of the one before.

        Args:
            eager: do not wait: the running trials count as what is expected of them. What is proposed then depends on
                which trials ended first.
        """
        found = [self.trials[n] for n in self._orphans[:count]]
        del self._orphans[:count]
        while len(found) < count and not self.exhausted and (eager or not self._waits()):
            new = self._propose(count - len(found))
            self.exhausted = not new
            found += new
        return found

    def begin_with(self, configs: Sequence[Config]) -> None:
        """Put configurations before those that the study begins with; it must be fresh."""
        assert not self.trials, "only a fresh study takes trials from elsewhere"
        known = {same(c) for c in configs}
        self.first = [*map(self.space.check, configs), *(c for c in self.first if same(c) not in known)]
        self._write("study", {**self.header, "first": self.first})

    def _waits(self) -> bool:
        """Whether the next trial begins a generation while one before it still runs."""
        number = len(self.trials)
        return number % self.searcher.batch == 0 and any(t.state == RUNNING for t in self.trials)

    def _propose(self, count: int) -> list[Trial]:
        """Make up to `count` trials of the generation in hand, which is proposed at once: it costs as much as one."""
        number, size = len(self.trials), self.searcher.batch
        start = number // size * size
        if self._generation[0] != start:
            self._generation = start, self._proposed(start, size)
        configs = self._generation[1][number - start : number - start + count]
        if not configs:
            return []
        self._write("asked", {"first": number, "configs": configs, "state": self.searcher.state})
        new = [Trial(number + i, c) for i, c in enumerate(configs)]
        self.trials += new
        return new

    def _proposed(self, start: int, size: int) -> list[Config]:
        told = [t.told() for t in self.trials[:start]]
        fixed = self.first[start : start + size]
        waiting = [Told(start + i, c) for i, c in enumerate(fixed)]
        wanted = size - len(fixed)
        return [*fixed, *(self.searcher.propose([*told, *waiting], start, wanted) if wanted else [])]

    def tell(self, number: int, value: float, state: str = COMPLETE, **about: Any) -> bool:
        """Keep what became of a trial; return False for an answer that came after another one had counted."""
        if not 0 <= number < len(self.trials):
            raise UsageError(f"the study has no trial {number}; there are {len(self.trials)}.")
        if state not in ENDED:
            raise UsageError(f"a trial ends as one of {', '.join(ENDED)}, got '{state}'.")
        if self.trials[number].state not in (RUNNING, STOPPED):
            return False
        if state == COMPLETE and not math.isfinite(value):
            state = DIVERGED
        line: dict[str, Any] = {"number": number, "value": float(value), "state": state}
        self._write("told", {**line, "about": about} if about else line)
        self._take(number, state, float(value), about)
        return True

    def _take(self, number: int, state: str, value: float, about: dict[str, Any]) -> None:
        trial = self.trials[number]
        trial.state, trial.value, trial.about = state, value, about
        if state == COMPLETE and (self._best is None or value < self._best.value):
            self._best = trial
        if number in self._orphans:
            self._orphans.remove(number)

    def reissue(self, number: int) -> None:
        """Hand a trial out again, because its worker died; if it answers after all, the first answer counts."""
        if self.trials[number].state == RUNNING and number not in self._orphans:
            self._orphans.append(number)

    @property
    def best(self) -> Trial | None:
        """The complete trial of the least value."""
        return self._best

    def _write(self, event: str, fields: Mapping[str, Any]) -> None:
        if self._journal is not None and not self._journal.append(event, **fields):
            raise RunError(f"{self._journal.path}: a trial could not be written: {self._journal.failure}.")

    def close(self) -> None:
        """Let go of the journal."""
        if self._journal is not None:
            self._journal.close()
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _events(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what `read_journal` returns; four times as fast where every line is whole."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return read_journal(path)
    if lines.pop() or not all(map(_is_whole, lines)):
        return read_journal(path)
    found = json.loads(b"[" + b",".join(lines) + b"]")
    for i, line in enumerate(lines):
        if b'nan"' in line or b'inf"' in line:  # words that stand for numbers, or begin with backslashes
            found[i] = from_plain(found[i])
    return found, []


def _is_whole(line: bytes) -> bool:
    """Whether a line is as `seal` made it."""
    try:
        return line[-20:-10] == b', "crc": "' and int(line[-10:-2], 16) == zlib.crc32(line[:-20])
    except ValueError:
        return False


def read_study(path: Path) -> Study:
    """Open the study of a journal, whatever its space.

    Raises:
        RunError: there is none.
    """
    head = header_of(path)
    return Study(
        Space.from_dict(head["space"]), head["searcher"], seed=head["seed"], batch=head["batch"],
        first=head["first"], path=path, about=head["about"],
    )  # fmt: skip


def header_of(path: Path) -> dict[str, Any]:
    """Return what a study was begun with: space, searcher, seed, batch, first configurations, and what else.

    Raises:
        RunError: there is none.
    """
    try:
        with path.open("rb") as file:
            head = unseal(file.readline().rstrip(b"\n"))
    except (OSError, ValueError):
        head = {}
    if head.get("event") != "study":
        raise RunError(f"{path}: no study was kept here.")
    return head


def _plain(value: Any) -> Any:
    """Return a value with its tuples as lists, as it comes back from a file."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
