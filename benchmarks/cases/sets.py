"""The sets of cases that are ours, by the options of `faultbench.py` that choose them; each module registers its cases.

Of the blind sets the labels and repairs were fixed before the doctor was asked; see `docs/log-doctor.md`.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

REGISTERS = {
    "blind2": "blind2_first",
    "blind3": "blind3_parts",
    "blind4": "blind4_parts",
    "blind5": "blind5_parts",
    "blind6": "blind6_parts",
    "blind7": "blind7_parts",
    "blind8": "blind8_parts",
}
"""The module that keeps both halves of a blind set; all modules whose names begin as the set's add cases to them."""


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
    for name, register in REGISTERS.items():
        half = getattr(args, name)
        if half:
            for path in sorted(Path(__file__).parent.glob(f"{name}_*.py")):
                _module(path.stem)
            halves = _module(register).HALVES
            return [case for each in (("A", "B") if half == "all" else (half,)) for case in halves[each]]
    return None


def _module(name: str) -> Any:
    return importlib.import_module(f"benchmarks.cases.{name}")
