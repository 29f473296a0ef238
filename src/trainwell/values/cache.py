"""Where things lie that were costly to make and can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def folder() -> Path:
    """Return the cache folder: `$TRAINWELL_CACHE`, or `~/.cache/trainwell`."""
    named = os.environ.get("TRAINWELL_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(named) if named else Path(base) / "trainwell"
