"""trainwell trains neural networks well, finds what ails a training, and proves the cure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainwell.app.fit import fit, resume
    from trainwell.app.outcome import load_run as load
    from trainwell.app.run import Run
    from trainwell.values.recipe import Recipe

_HOMES = {
    "fit": ("trainwell.app.fit", "fit"),
    "resume": ("trainwell.app.fit", "resume"),
    "load": ("trainwell.app.outcome", "load_run"),
    "Run": ("trainwell.app.run", "Run"),
    "Recipe": ("trainwell.app.settings", "Recipe"),
}
__all__ = ["Recipe", "Run", "fit", "load", "resume"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import trainwell` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'trainwell' has no attribute '{name}'")
    import importlib

    home, inner = _HOMES[name]
    return getattr(importlib.import_module(home), inner)
