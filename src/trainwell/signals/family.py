"""The base of all signal families: what they measure, and when the watcher asks them.

A family is one file with one class. The watcher makes only those of which some rule needs a signal.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from trainwell.values.errors import UsageError
from trainwell.values.signal import Signal

if TYPE_CHECKING:
    from trainwell.signals.scene import Look, Scene, Validation

Record = Callable[..., None]
"""`record(signal, value, layer=None)`: value is a number, an array or a tensor that may stay on its device."""

REGISTRY: dict[str, type[Family]] = {}
"""Every family by the name of each of its signals; filled when the classes are made."""


class Family:
    """Signals that are measured together.

    Class attributes:
        signals: what it can measure.
        is_late: whether it closes after the others, for it depends on how well the run went.
    """

    signals: ClassVar[tuple[Signal, ...]] = ()
    is_late: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for signal in cls.signals:
            other = REGISTRY.get(signal.name)
            if other is not None and other.__module__ != cls.__module__:
                raise UsageError(
                    f"two families measure '{signal.name}': {other.__module__} and {cls.__module__}."
                )
            REGISTRY[signal.name] = cls

    def start(self, scene: Scene, record: Record) -> None:
        """Measure what is known before the first step."""

    def prepare(self, scene: Scene) -> None:
        """Hang what a look needs into the copy, before its first forward."""

    def look(self, look: Look, record: Record) -> None:
        """Measure a sampled step, after the copy has repeated its forward and backward."""

    def validation(self, phase: Validation, record: Record) -> None:
        """Measure a validation that has just ended."""

    def close(self, scene: Scene, record: Record) -> None:
        """Measure what the whole run shows."""


def families(needed: Iterable[str]) -> list[Family]:
    """Make the families that measure the needed signals, each once."""
    import trainwell.signals as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    kinds: dict[type[Family], Any] = {REGISTRY[name]: None for name in sorted(needed) if name in REGISTRY}
    return sorted((kind() for kind in kinds), key=lambda family: family.is_late)
