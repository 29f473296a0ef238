"""The base of all sections of a report: from what was saved to blocks, or none.

A section is one file with one class; it uses numpy only, so that a report needs no torch and no data.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from typing import ClassVar

from trainwell.report.blocks import Block
from trainwell.report.saved import Saved
from trainwell.values.errors import UsageError

REGISTRY: dict[str, type[Section]] = {}
"""Every section by its name; filled when the classes are made."""


class Section:
    """One part of the report.

    Class attributes:
        name: its anchor in the page.
        title: its heading.
        place: where it stands among the others, the smallest first.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    place: ClassVar[int] = 50

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        assert cls.name and cls.title, cls
        other = REGISTRY.get(cls.name)
        if other is not None and other.__module__ != cls.__module__:
            raise UsageError(
                f"two sections are called '{cls.name}': {other.__module__} and {cls.__module__}."
            )
        REGISTRY[cls.name] = cls

    def blocks(self, saved: Saved) -> Sequence[Block]:
        """Return what the section shows of a run; nothing where the run has nothing for it."""
        raise NotImplementedError


def load_sections() -> list[type[Section]]:
    """Import every file of `sections` and return the sections in their order."""
    import trainwell.report.sections as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return sorted(REGISTRY.values(), key=lambda kind: (kind.place, kind.name))
