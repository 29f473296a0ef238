"""The base of all rules: from the traces of a run to a finding or none.

A rule is one file with one class; it uses numpy only, so that saved runs can be read again without torch.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import ClassVar

from trainwell.rules.view import View
from trainwell.values.errors import UsageError
from trainwell.values.finding import AILMENTS, Finding

REGISTRY: dict[str, type[Rule]] = {}
"""Every rule by the name of its ailment; filled when the classes are made."""


class Rule:
    """One ailment and how it shows.

    Class attributes:
        ailment: its name, one of `values.finding.AILMENTS`.
        needs: the signals it reads; only what some rule needs is measured.
        explains: ailments that follow from this one and are folded under it.
        source: where it comes from.
    """

    ailment: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()
    explains: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        assert cls.ailment in AILMENTS, cls
        other = REGISTRY.get(cls.ailment)
        if other is not None and other.__module__ != cls.__module__:
            raise UsageError(f"two rules answer '{cls.ailment}': {other.__module__} and {cls.__module__}.")
        REGISTRY[cls.ailment] = cls

    def diagnose(self, view: View) -> Finding | None:
        """Return the finding that the traces show, or None."""
        raise NotImplementedError


def load_rules() -> Mapping[str, type[Rule]]:
    """Import every file of this folder and return the registry."""
    import trainwell.rules as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return REGISTRY


def needed_signals() -> frozenset[str]:
    """Return the names of all signals that some rule reads."""
    return frozenset(name for rule in load_rules().values() for name in rule.needs)
