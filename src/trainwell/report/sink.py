"""The base of what a training is logged to beside its run folder, and the registry of it.

A sink is one file of `sinks/` with one class; it imports its library when it is opened, and no other file does.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from trainwell.report import words
from trainwell.values.errors import UsageError, did_you_mean

REGISTRY: dict[str, type[Sink]] = {}
"""Every sink by its name; filled when the classes are made."""

MEASURES = {
    "train_loss": "loss/train", "val_loss": "loss/val", "val_metric": "val/{metric}", "epoch_s": "time/epoch_s",
}  # fmt: skip
"""What of the row of an epoch is logged, and under which name."""


class Sink:
    """One place that a training is logged to.

    Class attributes:
        name: what the user writes after `--log`; also the extra that brings its library.
    """

    name: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        assert cls.name, cls
        other = REGISTRY.get(cls.name)
        if other is not None and other.__module__ != cls.__module__:
            raise UsageError(f"two sinks are called '{cls.name}': {other.__module__} and {cls.__module__}.")
        REGISTRY[cls.name] = cls

    def __init__(self) -> None:
        """Import the library; raise ImportError where it is not installed."""

    def begin(self, folder: Path, recipe: Mapping[str, Any]) -> None:
        """Called before the first step, with the folder of the run and its recipe."""
        raise NotImplementedError

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Called after every epoch with its optimizer step and what was measured, all of it finite."""
        raise NotImplementedError

    def end(self, results: Mapping[str, Any]) -> None:
        """Called with what `results.json` holds; not where an unknown error ended the training."""
        raise NotImplementedError

    def close(self) -> None:
        """Called last, whatever ended the training."""


class Sinks:
    """All that one training is logged to; one that fails is told of once and left out, and the training goes on."""

    def __init__(self, sinks: Iterable[Sink]) -> None:
        self._open = list(sinks)

    def __bool__(self) -> bool:
        return bool(self._open)

    def each(self, act: Callable[[Sink], None], say: Callable[[str], None]) -> None:
        """Let every sink act."""
        for sink in list(self._open):
            try:
                act(sink)
            except Exception as error:  # foreign code may raise anything: a server went away, a disk is full
                self._open.remove(sink)
                say(
                    f"warning: --log {sink.name} failed ({type(error).__name__}: {error}); the training goes on."
                )


def load_sinks() -> dict[str, type[Sink]]:
    """Import every file of `sinks` and return the sinks by name."""
    import trainwell.report.sinks as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return REGISTRY


def open_sinks(names: str | Iterable[str]) -> Sinks:
    """Return sinks by their names.

    Raises:
        UsageError: there is none of that name, or its library is not installed.
    """
    return Sinks(_opened(dict.fromkeys([names] if isinstance(names, str) else names)))


def _opened(names: Iterable[str]) -> Iterator[Sink]:
    known = load_sinks()
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise UsageError(f"--log {name}: expected one of {', '.join(sorted(known))}.{hint}")
        try:
            yield known[name]()
        except ImportError as error:
            raise UsageError(
                f"--log {name} needs an extra: pip install 'trainwell[{name}]' ({error})."
            ) from None


def measured(row: Mapping[str, Any], metric: str) -> dict[str, float]:
    """Return what is logged of the row of an epoch, by the names of MEASURES."""
    found = {key: row[key] for key in MEASURES if words.is_number(row.get(key))}
    return {MEASURES[key].format(metric=metric or "metric"): float(value) for key, value in found.items()}


def flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the fields of a recipe by their paths: `model.width`, `dropout.rate`."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flat(inner, f"{path}.{key}" if path else str(key))
    elif path == "techniques" and isinstance(value, list | tuple):
        for one in value:
            yield from flat({k: v for k, v in one.items() if k != "name"} or "on", str(one.get("name")))
    else:
        yield path, str(value)
