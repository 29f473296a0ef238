"""Model families: one file each; importing this package registers them all."""

from __future__ import annotations

import importlib
import pkgutil

from trainwell.models.family import FAMILIES, Family, build_model, check_family

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["FAMILIES", "Family", "build_model", "check_family"]
