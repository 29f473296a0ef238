"""Pre-trained networks; one file each. Importing this package registers them all."""

from __future__ import annotations

import importlib
import pkgutil

from trainwell.models.backbones.base import BACKBONES, Backbone, found_again, keep_companions, resolve

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["BACKBONES", "Backbone", "found_again", "keep_companions", "resolve"]
