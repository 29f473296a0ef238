"""A space: the parameters that are searched, as a value that is printed, changed in one line and kept in a file."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainwell.search.parameter import Parameter
from trainwell.values.errors import UsageError, did_you_mean

Config = dict[str, Any]
"""The values of the parameters that count, by name; one whose condition does not hold is left out."""

_RANGE = re.compile(
    r"(?:\{(?P<off>[^}]+)\}\s*\+\s*)?(?:\[(?P<low>[^,]+),(?P<high>[^\]]+)\])?\s*(?P<kind>(?:log|whole|range|\s)*)"
)
_WHEN = re.compile(r"(?P<right>.*\S)\s+when\s+(?P<name>[\w.]+)\s*(?:=|\s+is\s+)\s*(?P<values>\S.*)")


@dataclasses.dataclass(frozen=True)
class Space:
    """What is searched. A parameter with a condition stands after the one that it depends on.

    Raises:
        UsageError: two parameters of one name, or a condition on one that does not come before.
    """

    parameters: tuple[Parameter, ...]

    def __post_init__(self) -> None:
        seen: dict[str, Parameter] = {}
        for p in self.parameters:
            if p.name in seen:
                raise UsageError(f"space: '{p.name}' is there twice.")
            if p.when is not None and p.when[0] not in seen:
                raise UsageError(
                    f"space: '{p.name}' depends on '{p.when[0]}', which does not stand before it."
                )
            seen[p.name] = p

    def __len__(self) -> int:
        return len(self.parameters)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    def __getitem__(self, name: str) -> Parameter:
        for p in self.parameters:
            if p.name == name:
                return p
        names = [p.name for p in self.parameters]
        raise UsageError(
            f"space: there is no '{name}' (there are: {', '.join(names)}).{did_you_mean(name, names)}"
        )

    @property
    def size(self) -> float:
        """How many configurations there are at most; infinite where a real number is searched."""
        return math.prod(p.size for p in self.parameters)

    def active(self, values: Mapping[str, Any]) -> Config:
        """Return the values of the parameters that count: those whose conditions hold."""
        found: Config = {}
        for p in self.parameters:
            if p.name in values and (p.when is None or found.get(p.when[0]) in p.when[1]):
                found[p.name] = values[p.name]
        return found

    def draw(self, shares: Sequence[float] | npt.NDArray[np.float64]) -> Config:
        """Return the configuration at a point of the unit cube, one share per parameter."""
        return self.active({p.name: p.draw(float(u)) for p, u in zip(self.parameters, shares, strict=True)})

    def default(self) -> Config:
        """Return the configuration of the recipe that is searched around."""
        return self.active({p.name: p.default for p in self.parameters if p.default is not None})

    def check(self, config: Mapping[str, Any]) -> Config:
        """Return the configuration if it lies in the space.

        Raises:
            UsageError: a value is outside, missing, or of a parameter that does not count here.
        """
        wanted = self.active({p.name: config.get(p.name) for p in self.parameters})
        for name in config:
            if name not in wanted:
                self[name]
                raise UsageError(f"space: '{name}' does not count where {self[name].when}.")
        for name, value in wanted.items():
            self[name].check(value)
        return dict(config)

    def with_(self, *parameters: Parameter) -> Space:
        """Return a space with these parameters; one of the same name is replaced."""
        names = {p.name: p for p in parameters}
        kept = tuple(names.pop(p.name, p) for p in self.parameters)
        return Space((*kept, *names.values()))

    def without(self, *names: str) -> Space:
        """Return a space without these; what depends on them goes too."""
        gone = {self[n].name for n in names}
        kept = []
        for p in self.parameters:
            if p.name in gone or (p.when is not None and p.when[0] in gone):
                gone.add(p.name)
            else:
                kept.append(p)
        return Space(tuple(kept))

    def changed(self, *lines: str) -> Space:
        """Return a space with changes of one line each.

        `lr=[1e-4, 1e-1] log`, `dropout.rate={0} + [0.05, 0.6]`, `l1.rate={0} + log` (its own range, with off),
        `model.activation=relu|tanh`, `lr=0.01` (one value, no longer searched), `-dropout.rate` (left as the recipe has
        it), `optimizer.momentum=[0, 0.99] when optimizer=sgd|lion` (it counts only there).
        """
        space = self
        for line in lines:
            text = line.strip()
            if text.startswith("-"):
                space = space.without(text[1:].strip())
                continue
            name, equals, right = (part.strip() for part in text.partition("="))
            if not equals or not right:
                raise UsageError(f"--space {line}: expected NAME=[low, high], NAME=a|b|c or -NAME.")
            known = next((p for p in space if p.name == name), Parameter(name, options=(None,)))
            condition = _WHEN.fullmatch(right)
            made = _parsed(known, condition["right"] if condition else right, line)
            if condition:
                made = dataclasses.replace(
                    made, when=space._condition(condition["name"], condition["values"])
                )
            space = space.with_(made)
        return space

    def _condition(self, name: str, values: str) -> tuple[str, tuple[Any, ...]]:
        """Return a condition as a line tells it: `sgd|lion`, or `sgd or lion` as it is printed."""
        parent = self[name]
        return name, tuple(parent.check(_value(v)) for v in re.split(r"\||\s+or\s+", values))

    def lines(self) -> Iterator[str]:
        """Yield the space as aligned lines, with the default of each parameter."""
        width = max((len(p.name) for p in self.parameters), default=0)
        for p in self.parameters:
            now = (
                ""
                if p.default is None
                else f"  now {p.default:.4g}"
                if isinstance(p.default, float)
                else f"  now {p.default}"
            )
            yield f"{p.name:{width}s}  {p}{now}"

    def to_dict(self) -> dict[str, Any]:
        return {"format": 1, "parameters": [p.to_dict() for p in self.parameters]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Space:
        return cls(tuple(Parameter.from_dict(p) for p in data["parameters"]))

    @classmethod
    def read(cls, path: str | Path, known: Space | None = None) -> Space:
        """Read a space file: the JSON of `to_dict`, or one change of `known` a line (`#` begins a comment).

        Raises:
            UsageError: it cannot be read, or a line is wrong.
        """
        try:
            text = Path(path).read_text()
        except OSError as error:
            raise UsageError(f"--space {path}: {error.strerror}.") from error
        if text.lstrip().startswith("{"):
            try:
                return cls.from_dict(json.loads(text))
            except (ValueError, KeyError, TypeError) as error:
                raise UsageError(f"--space {path}: not a space: {error}.") from error
        lines = [line.split("#")[0].strip() for line in text.splitlines()]
        return (known or cls(())).changed(*filter(None, lines))


def same(config: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return a configuration as something that equals that of an equal configuration and can stand in a set."""
    return tuple(sorted(config.items()))


def _parsed(known: Parameter, right: str, line: str) -> Parameter:
    """Return a parameter with another range, other options or one value."""
    match = _RANGE.fullmatch(right)
    likely = known.likely
    if match is not None and match["low"] is None and known.options:
        raise UsageError(f"--space {line}: there is no range to keep; give one: {known.name}=[low, high].")
    if match is None:
        options = tuple(_value(word) for word in right.split("|"))
        numbers = len(options) > 1 and all(
            isinstance(o, int | float) and not isinstance(o, bool) for o in options
        )
        if numbers:
            options = tuple(sorted(options))
        log = known.log and numbers and options[0] > 0
        return dataclasses.replace(known, options=options, ordered=numbers, log=log, likely=None)
    try:
        low, high = (float(match[k]) if match["low"] else getattr(known, k) for k in ("low", "high"))
        off = known.off if match["off"] is None else float(match["off"])
    except ValueError:
        raise UsageError(f"--space {line}: expected numbers in [low, high].") from None
    kinds = match["kind"].split()
    fresh = bool(known.options)
    counts = fresh and all(isinstance(o, int) and not isinstance(o, bool) for o in known.options)
    log = "log" in kinds or (not fresh and known.log)
    integer = "whole" in kinds or counts or (not fresh and known.integer)
    if likely is not None:
        inside = max(low, likely[0]), min(high, likely[1])
        likely = inside if inside[0] < inside[1] else None
    return dataclasses.replace(
        known,
        low=low,
        high=high,
        off=off,
        log=log and low > 0,
        integer=integer,
        options=(),
        ordered=False,
        likely=likely,
    )


def _value(word: str) -> Any:
    word = word.strip()
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(word.lower(), word)


def unique(configs: Iterable[Config]) -> list[Config]:
    """Return the configurations without repetitions, in their order."""
    return list({same(c): c for c in configs}.values())
