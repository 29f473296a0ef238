"""Evidence: what a trial with paired seeds has shown of each change, from the scores of every seed to the verdict."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainwell.values.atomic import atomic_write_text
from trainwell.values.errors import RunError
from trainwell.values.journal import dumps, loads

FORMAT = 1
"""Version of the saved form; a reader refuses a newer one."""

EVIDENCE_FILE = "evidence.json"
VERDICTS = ("proved", "refuted", "undecided")
NOT_MEASURED = "not measured"


@dataclasses.dataclass(frozen=True)
class Claim:
    """One thing that a change was said to do, and what came of it.

    Args:
        signal: what moves, e.g. `val_loss`. sign: the way it was said to move, `+` or `-`.
        verdict: `proved`, `refuted`, `undecided` or `not measured`.
        effect, low, high: mean difference (change - base) and its interval; NaN where nothing was measured.
    """

    signal: str
    sign: str
    verdict: str
    effect: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")


@dataclasses.dataclass(frozen=True)
class Confirmation:
    """The same comparison on the test part, which no decision has seen: one look, each pair once.

    Args:
        base, change: scores by seed. effect: mean gain, positive where the change is better; low, high: its interval.
    """

    base: tuple[float, ...]
    change: tuple[float, ...]
    effect: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a change costs, measured by steps taken in turn with the base.

    Args:
        step_ratio: time of a step over that of the base, the median of pairs. low, high: the middle half of them.
        memory_ratio: bytes of weights, gradients and states over those of the base.
    """

    step_ratio: float
    low: float
    high: float
    memory_ratio: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One change against the base.

    Args:
        name: the change, in the form of the command line.
        recipe: the recipe with the change, plain data. differences: its lines of `Recipe.diff`.
        base, change: the scores by seed, in the order of `Evidence.seeds`; nan for a run that diverged.
        gains: by seed, how much better the change did; infinite where one of the two diverged.
        effect, low, high: mean gain and its interval, which is valid whenever the trial stopped.
        p_value: over all looks; adjusted: after the correction for several changes.
        benefit: probability that the change gains at all.
        method: `t`, or `ranks` where runs diverged or nothing varied.
    """

    name: str
    recipe: Mapping[str, Any]
    differences: tuple[str, ...]
    base: tuple[float, ...]
    change: tuple[float, ...]
    gains: tuple[float, ...]
    verdict: str
    effect: float
    low: float
    high: float
    p_value: float
    adjusted: float
    benefit: float
    method: str
    claims: tuple[Claim, ...] = ()
    confirmation: Confirmation | None = None
    cost: Cost | None = None

    def __repr__(self) -> str:
        return f"<Comparison {self.name}: {self.verdict}, gain {self.effect:+.4g} ({self.low:+.4g} to {self.high:+.4g})>"

    @property
    def wins(self) -> int:
        """Seeds on which the change is better."""
        return sum(gain > 0 for gain in self.gains)

    @property
    def ties(self) -> int:
        """Seeds on which neither is better."""
        return sum(gain == 0 for gain in self.gains)


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What a trial has shown.

    Args:
        data: what was trained on, in words. fingerprint: of the data.
        metric: the primary metric, on validation rows. sign: 1 where more of it is better, -1 where less is.
        base: the recipe of the base, plain data.
        comparisons: one for each change, in the order they were given.
        seeds: in the order in which they were added. looks: pairs at each look.
        planned: pairs at most.
        alpha, smallest: error of the whole trial; the gain that a change must exceed.
        split: `redrawn` where each seed has its own validation rows, else `given`.
        stopped: why no more seeds were added.
        detectable: gain that this trial would have proved four times in five, in standard deviations of the gains.
        seconds: of the whole trial. engine: how the networks were trained, and why.
        path: the folder of the trial; None if nothing was written.
    """

    data: str
    fingerprint: str
    metric: str
    sign: int
    base: Mapping[str, Any]
    comparisons: tuple[Comparison, ...]
    seeds: tuple[int, ...]
    looks: tuple[int, ...]
    planned: int
    alpha: float
    smallest: float
    split: str
    stopped: str
    detectable: float
    seconds: float
    engine: tuple[str, ...] = ()
    path: Path | None = dataclasses.field(default=None, compare=False)

    def __repr__(self) -> str:
        told = "; ".join(f"{c.name} {c.verdict}" for c in self.comparisons)
        return f"<Evidence {self.metric} on {len(self.seeds)} paired seeds: {told}>"

    def __str__(self) -> str:
        rows = [
            (
                "change",
                f"gain in {self.metric}",
                f"{100 * (1 - self.alpha):g} % interval",
                "better on",
                "verdict",
            )
        ]
        for c in self.comparisons:
            bounds, wins = f"{c.low:+.4f} to {c.high:+.4f}", f"{c.wins} of {len(c.gains)}"
            rows.append((c.name, f"{c.effect:+.4f}", bounds, wins, c.verdict))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )

    @property
    def verdict(self) -> str:
        """The verdict of the first change; the only one in most trials."""
        return self.comparisons[0].verdict

    def named(self, verdict: str) -> tuple[Comparison, ...]:
        """Return the changes with this verdict."""
        assert verdict in VERDICTS, verdict
        return tuple(c for c in self.comparisons if c.verdict == verdict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"format": FORMAT, **dataclasses.asdict(self), "path": str(self.path) if self.path else None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = EVIDENCE_FILE) -> Evidence:
        """Make the evidence that `to_dict` described.

        Raises:
            RunError: it was written by a newer trainwell, or is none.
        """
        values = dict(data)
        if values.pop("format", FORMAT) > FORMAT:
            raise RunError(f"{where}: written by a newer trainwell; update to read it.")
        try:
            values["comparisons"] = tuple(_comparison(c) for c in values["comparisons"])
            values["path"] = Path(values["path"]) if values.get("path") else None
            return cls(**{k: _tuple(v) for k, v in values.items()})
        except (KeyError, TypeError) as error:
            raise RunError(f"{where}: expected the evidence of a trial, got {error}.") from error

    def save(self, folder: Path) -> None:
        """Write `evidence.json` into the folder of the trial."""
        atomic_write_text(folder / EVIDENCE_FILE, dumps(self.to_dict(), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Evidence:
        """Read what `save` wrote.

        Raises:
            RunError: there is none, or it cannot be read.
        """
        path = Path(folder) / EVIDENCE_FILE
        try:
            data = loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: expected the evidence of a trial, got {error}.") from error
        return cls.from_dict(data, str(path))


def _comparison(data: Mapping[str, Any]) -> Comparison:
    values = {k: _tuple(v) for k, v in data.items()}
    values["claims"] = tuple(Claim(**c) for c in data.get("claims", ()))
    for key, kind in (("confirmation", Confirmation), ("cost", Cost)):
        held = data.get(key)
        values[key] = None if held is None else kind(**{k: _tuple(v) for k, v in held.items()})
    return Comparison(**values)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
