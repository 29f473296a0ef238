"""Kinds of data whose rows are no cells: images, text, sound. One file each; importing this package registers them."""

from __future__ import annotations

import importlib
import pkgutil

from trainwell.data.samples.kind import KINDS, Kind, SampleData, Transform, kind_of, transform_of

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["KINDS", "Kind", "SampleData", "Transform", "kind_of", "transform_of"]
