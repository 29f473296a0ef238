"""The sets of cases that are ours, by the options of `faultbench.py` that choose them; each module registers its cases.

Of the blind sets the labels and repairs were fixed before the doctor was asked; see `docs/log-doctor.md`.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

HALVES = {
    "blind2": ("first", "first_data", "second", "second_data", "sound"),
    "blind3": ("rates", "layers", "wiring", "rows", "mixed", "sound", "parts"),
    "blind4": ("rates", "layers", "wiring", "rows", "sound", "parts"),
    "blind5": tuple(
        p.stem.removeprefix("blind5_") for p in sorted(Path(__file__).parent.glob("blind5_*.py"))
    ),
}
"""Modules of the blind sets that come in two halves."""
REGISTERS = {"blind2": "first", "blind3": "parts", "blind4": "parts", "blind5": "parts"}


def cases(args: argparse.Namespace) -> list[Any] | None:
    """Return the cases of the set that the options choose, of the names asked for; none where they choose no set."""
    if args.wild:
        return _module("wild").cases(args.wild, args.names)
    if args.mutations:
        return _module("mutations").cases(args.names)
    found = _registered(args)
    return found and [case for case in found if not args.names or case.name in args.names]


def _registered(args: argparse.Namespace) -> list[Any] | None:
    if args.own:
        _module("own_healthy")
        return _module("own_faults").OWN
    if args.blind:
        for name in ("blind_data", "blind_healthy", "blind_wiring"):
            _module(name)
        return _module("blind_faults").BLIND
    for name, modules in HALVES.items():
        half = getattr(args, name)
        if half:
            for module in modules:
                _module(f"{name}_{module}")
            register = _module(f"{name}_{REGISTERS[name]}").HALVES
            return [case for each in (("A", "B") if half == "all" else (half,)) for case in register[each]]
    return None


def _module(name: str) -> Any:
    return importlib.import_module(f"benchmarks.cases.{name}")
