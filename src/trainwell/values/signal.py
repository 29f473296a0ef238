"""Signals, their recorded series, and all series of a run with the facts that were measured once.

A run's traces go to disk as `traces.json` (facts, names) and one `.npy` per series; reading them needs no torch.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trainwell.values.atomic import atomic_write_bytes, atomic_write_text
from trainwell.values.errors import RunError

Array = np.ndarray[Any, np.dtype[Any]]

CADENCES = ("once", "step", "look", "epoch")
"""How often a signal is taken: once, at every optimizer step, on sampled steps, at every validation."""

LIMIT = 8192
"""A series longer than this keeps every second, fourth, eighth ... point, and its newest."""


@dataclasses.dataclass(frozen=True)
class Signal:
    """A quantity that can be measured in a run.

    Args:
        name: what rules ask for, e.g. `grad_norm`.
        unit: unit of the values, e.g. `L2 norm`, `share`.
        per_layer: whether there is one series per module.
        cadence: one of `CADENCES`.
        cost: what one value costs, in words.
    """

    name: str
    unit: str
    per_layer: bool = False
    cadence: str = "look"
    cost: str = ""

    def __post_init__(self) -> None:
        assert self.cadence in CADENCES, self.cadence


@dataclasses.dataclass(frozen=True)
class Trace:
    """The recorded series of one signal.

    Shapes: steps: (T,) optimizer steps done when the value was taken; values: (T, ...).
    """

    signal: str
    layer: str | None
    steps: Array
    values: Array

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def last(self) -> float:
        """The last value; NaN when there is none."""
        return float(self.values[-1]) if len(self) else math.nan

    def after(self, share: float) -> Trace:
        """Return the part that lies after this share of the recorded span of steps."""
        if not len(self):
            return self
        start = self.steps[0] + share * (self.steps[-1] - self.steps[0])
        keep = self.steps >= start
        return Trace(self.signal, self.layer, self.steps[keep], self.values[keep])


class Traces:
    """All series of one run, and its facts.

    Attributes:
        facts: what was measured once, plain values by name.
        limits: the length at which a signal's series is thinned, where it is not `LIMIT`.
    """

    def __init__(self, facts: Mapping[str, Any] | None = None) -> None:
        self.facts: dict[str, Any] = dict(facts or {})
        self.limits: dict[str, int] = {}
        self._steps: dict[tuple[str, str | None], list[int]] = {}
        self._values: dict[tuple[str, str | None], list[Any]] = {}
        self._seen: dict[tuple[str, str | None], int] = {}
        self._every: dict[tuple[str, str | None], int] = {}

    def add(self, signal: str, step: int, value: Any, layer: str | None = None) -> None:
        """Append one value."""
        self.extend(signal, (step,), (value,), layer)

    def extend(
        self, signal: str, steps: Iterable[int], values: Iterable[Any], layer: str | None = None
    ) -> None:
        """Append a block of values; a long series is thinned evenly, and its newest value is always kept."""
        key = (signal, layer)
        own_steps, own_values = self._steps.setdefault(key, []), self._values.setdefault(key, [])
        new_steps, new_values = list(steps), list(values)
        assert len(new_steps) == len(new_values), key
        if not new_steps:
            return
        seen, every = self._seen.get(key, 0), self._every.get(key, 1)
        if seen and (seen - 1) % every:  # the newest of before, which lies between those that are kept
            own_steps.pop(), own_values.pop()
        first = -seen % every
        own_steps.extend(new_steps[first::every])
        own_values.extend(new_values[first::every])
        seen += len(new_steps)
        while len(own_steps) > self.limits.get(signal, LIMIT):
            every *= 2
            own_steps[:], own_values[:] = own_steps[::2], own_values[::2]
        if (seen - 1) % every:
            own_steps.append(new_steps[-1])
            own_values.append(new_values[-1])
        self._seen[key], self._every[key] = seen, every

    def get(self, signal: str, layer: str | None = None) -> Trace:
        """Return one series; an empty one when it was not measured."""
        steps, values = self._steps.get((signal, layer), []), self._values.get((signal, layer), [])
        return Trace(signal, layer, np.asarray(steps, np.int64), _stack(values))

    def layers(self, signal: str) -> list[str]:
        """Return the layers that have this signal, in the order of depth where it is known."""
        found = [layer for name, layer in self._steps if name == signal and layer is not None]
        depth = {str(m["name"]): i for i, m in enumerate(self.fact("modules", ()))}
        return sorted(found, key=lambda layer: depth.get(layer, len(depth)))

    def signals(self) -> list[str]:
        """Return the names of all signals that were recorded."""
        return sorted({name for name, _ in self._steps})

    def fact(self, name: str, default: Any = None) -> Any:
        """Return one fact, or the default where it is not known."""
        return self.facts.get(name, default)

    def number(self, name: str, default: float = math.nan) -> float:
        """Return a fact as a number, or the default where it is not known."""
        value = self.facts.get(name)
        return float(value) if isinstance(value, int | float) else default

    def save(self, folder: Path) -> None:
        """Write everything into a folder: `traces.json` and `.npy` files."""
        folder.mkdir(parents=True, exist_ok=True)
        index = []
        for i, (signal, layer) in enumerate(self._steps):
            trace = self.get(signal, layer)
            index.append({"signal": signal, "layer": layer, "file": f"{i:04d}"})
            for suffix, array in (("steps", trace.steps), ("values", trace.values)):
                buffer = io.BytesIO()
                np.save(buffer, array, allow_pickle=False)
                atomic_write_bytes(folder / f"{i:04d}.{suffix}.npy", buffer.getvalue(), durable=False)
        text = json.dumps({"facts": _plain(self.facts), "traces": index}, indent=1)
        atomic_write_text(folder / "traces.json", text + "\n")

    @classmethod
    def load(cls, folder: Path) -> Traces:
        """Read what `save` wrote.

        Raises:
            RunError: the folder holds no readable traces.
        """
        try:
            data = json.loads((folder / "traces.json").read_text(encoding="utf-8"))
            traces = cls(_restored(data["facts"]))
            for entry in data["traces"]:
                key = (entry["signal"], entry["layer"])
                steps, values = (
                    np.load(folder / f"{entry['file']}.{suffix}.npy", allow_pickle=False)
                    for suffix in ("steps", "values")
                )
                traces._steps[key], traces._values[key] = steps.tolist(), list(values)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{folder}: expected the traces of a watched run (traces.json, *.npy), got {error}. "
                "Give the folder that `trainwell fit` or `trainwell watch` wrote."
            ) from error
        return traces


def _stack(values: list[Any]) -> Array:
    arrays = [np.asarray(v, np.float64) for v in values]
    if len({a.shape for a in arrays}) > 1:  # the width changed during the run: keep the newest shape
        arrays = [a if a.shape == arrays[-1].shape else np.full(arrays[-1].shape, np.nan) for a in arrays]
    return np.stack(arrays) if arrays else np.zeros(0)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": repr(value)}
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)


def _restored(value: Any) -> Any:
    if isinstance(value, dict):
        return (
            float(value["number"])
            if value.keys() == {"number"}
            else {k: _restored(v) for k, v in value.items()}
        )
    return [_restored(v) for v in value] if isinstance(value, list) else value
