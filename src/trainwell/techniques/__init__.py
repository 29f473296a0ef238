"""One file per technique; importing this package registers them all (and imports no torch)."""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import entry_points

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
for _entry in entry_points(group="trainwell.techniques"):
    _entry.load()
